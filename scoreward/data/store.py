"""What was computed, kept on disk under a name that only the same inputs find.

An entry lies in a folder of its kind under the hash of everything that decides it, so it is never
out of date: what is made of something else has another name, and so has another layout. Files are
written aside and renamed. Nothing is removed by itself; the whole folder may be deleted any time.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


def cache_folder() -> Path:
    """$SCOREWARD_CACHE, or the user's cache folder."""
    given = os.environ.get("SCOREWARD_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scoreward"


def address(folder: Path, content: str | bytes, suffix: str = ".safetensors") -> Path:
    """Where in a folder lies what `content` decides."""
    whole = content.encode() if isinstance(content, str) else content
    name = hashlib.sha256(whole).hexdigest()
    return folder / name[:2] / f"{name}{suffix}"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Where to write a file that then is at `path`, whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        kept = " ($SCOREWARD_CACHE says where)" if path.is_relative_to(cache_folder()) else ""
        raise OSError(f"nothing can be written in {path.parent}{kept}: {error.strerror}") from None
    aside = path.with_name(f".{path.name}.{os.getpid()}.writing")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write(path: Path, tensors: Mapping[str, Tensor], made_of: Mapping[str, str] = {}) -> None:
    """Named tensors, and by name the hashes of what they are made of."""
    with written_whole(path) as aside:
        save_file({n: t.contiguous() for n, t in tensors.items()}, aside, dict(made_of) or None)


def read(path: Path, what: str, made_of: Mapping[str, str] = {}) -> dict[str, Tensor] | None:
    """The tensors of a file; None where there is none.

    Raises ValueError for a file that is damaged or made of something else.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as stored:
            theirs = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is not a readable file of {what} ({error}); delete it") from None
    other = [name for name, value in made_of.items() if theirs.get(name) != value]
    if other:
        raise ValueError(
            f"{path} holds {what} of other {', '.join(other)}; delete it, or name another file"
        )
    return tensors


@dataclass(frozen=True)
class TensorStore:
    """Named tensors by key, in a folder; what is damaged is not there, so it is made again."""

    folder: Path | None  # None keeps nothing
    salt: str  # what besides the key decides the content

    def read(self, key: str) -> dict[str, Tensor] | None:
        if self.folder is None:
            return None
        try:
            return read(self._path(self.folder, key), "tensors")
        except ValueError:  # by a crash or a full disk
            return None

    def write(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        if self.folder is not None:
            write(self._path(self.folder, key), tensors)

    def _path(self, folder: Path, key: str) -> Path:
        return address(folder, f"{self.salt}\n{key}")
