"""What a run is made of: the files that were read while it was put together, and their content.

Whoever reads a file of the user's notes it; whoever puts a run together collects what was noted.
Weights are told apart by their size and three samples of their content, all else by all of it.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

SAMPLED = 1 << 20  # bytes read at the start, the middle and the end of a file of weights
WHOLE = 1 << 28  # bytes of a file without weights that is read whole
WEIGHTS = (".safetensors", ".bin", ".gguf", ".ckpt", ".pt", ".pth", ".onnx", ".msgpack")
_ACTIVE: ContextVar[tuple[dict[str, str], ...]] = ContextVar("noted", default=())


@contextmanager
def noting() -> Iterator[dict[str, str]]:
    """What is noted inside: the content of each file or folder, by its absolute path."""
    found: dict[str, str] = {}
    token = _ACTIVE.set((*_ACTIVE.get(), found))
    try:
        yield found
    finally:
        _ACTIVE.reset(token)


def note(path: Path) -> None:
    """A file or a folder that is being read; nothing happens if nobody collects."""
    if collected := _ACTIVE.get():
        where = path.resolve()
        content = next((c[str(where)] for c in collected if str(where) in c), None)
        for one in collected:
            one[str(where)] = content or content_of(where)


def content_of(path: Path) -> str:
    """A short text that is another for another content; of a folder with the names in it."""
    digest = hashlib.sha256()
    inside = sorted(path.rglob("*")) if path.is_dir() else [path]
    for one in inside:
        if one.is_file() and not one.name.startswith("."):
            digest.update(f"{one.relative_to(path)} {one.stat().st_size}".encode())
            add_content(digest, one)
    return digest.hexdigest()[:32]


def add_content(digest: "hashlib._Hash", path: Path) -> None:
    """The content of a file, or of a large one and of weights samples of it."""
    size = path.stat().st_size
    whole = 4 * SAMPLED if path.suffix.lower() in WEIGHTS else WHOLE
    with path.open("rb") as stream:
        if size <= whole:
            while piece := stream.read(SAMPLED):
                digest.update(piece)
            return
        for start in (0, size // 2, size - SAMPLED):
            stream.seek(start)
            digest.update(stream.read(SAMPLED))


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What is not as it was, in words; a file that lies elsewhere with the same content is not."""
    said = [f"{path} has changed" for path in now if before.get(path, now[path]) != now[path]]
    kept, fresh = set(before.values()), set(now.values())
    gone = [p for p in before if p not in now and before[p] not in fresh]
    new = [p for p in now if p not in before and now[p] not in kept]
    said += [f"{path} was read then and is not now" for path in gone]
    return said + [f"{path} is read now and was not then" for path in new]
