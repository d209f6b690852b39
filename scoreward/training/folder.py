"""The run folder: run.json, metrics.jsonl, samples/, checkpoints/, summary.json.

The folder is the truth about a run; the report reads it and nothing else. Every failure to write is
one sentence that says what is safe.
"""

import json
import math
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from scoreward.records.fields import Fields
from scoreward.records.reading import about_of
from scoreward.records.run import RunAbout
from scoreward.training.evaluations.pictures import Measurement

COLUMNS = 8
LARGEST = 256  # pixels of a side of a kept picture
SAFE = "checkpoints already written are intact, so free space or fix permissions and resume"


class RunFolderError(ValueError):
    """A run folder that cannot be used as asked.

    >>> import scoreward as sw
    >>> try:
    ...     sw.resumed("runs/never_started")
    ... except sw.RunFolderError as error:
    ...     print(str(error).partition(":")[0])
    runs/never_started is not a run folder
    """


class RunFolder:
    """Reading and writing of one run's files."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"

    def create(self, about: Mapping[str, Any]) -> None:
        """Start a new run here.  Raises RunFolderError if the folder already holds one."""
        self.check_free()
        with self._writing("start a run", "free space, fix permissions or choose another folder"):
            (self.path / "samples").mkdir(parents=True, exist_ok=True)
            self.write_json("run.json", about)

    def check_free(self) -> None:
        """Raises RunFolderError if the folder already holds a run."""
        if (self.path / "run.json").exists():
            status = self.about().get("status")
            if status == "finished":
                raise RunFolderError(
                    f"{self.path} already holds a finished run; choose another folder with "
                    f"--folder, or look at it with: scoreward report {self.path}"
                )
            raise RunFolderError(
                f"{self.path} holds an unfinished run ({status}); go on with it by: "
                f"scoreward resume {self.path}, or choose another folder with --folder"
            )

    def about(self) -> dict[str, Any]:
        """run.json.  Raises RunFolderError where there is none, or it is damaged."""
        try:
            about = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
            if not isinstance(about, dict):
                raise ValueError(f"it holds a {type(about).__name__}, expected a JSON object")
            return about
        except FileNotFoundError:
            raise RunFolderError(
                f"{self.path} is not a run folder: it has no run.json; runs are made by "
                "`scoreward train`"
            ) from None
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{self.path / 'run.json'} cannot be read: {error}") from None

    def told(self) -> RunAbout:
        """The same as a record."""
        return about_of(Fields(self.about(), f"{self.path / 'run.json'}"))

    def update(self, **changes: Any) -> None:
        """Change entries of run.json."""
        with self._writing("update run.json"):
            self.write_json("run.json", self.about() | changes)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write aside and rename, so that the file is never half there."""
        aside = self.path / f".{Path(name).name}.writing"
        try:
            aside.write_text(json.dumps(content, indent=1, default=str))
            aside.replace(self.path / name)
        except OSError:
            aside.unlink(missing_ok=True)
            raise

    def append(self, *records: Mapping[str, Any]) -> None:
        """Add lines to metrics.jsonl; numbers that are not finite become null."""
        lines = "".join(json.dumps(_finite(r)) + "\n" for r in records)
        with self._writing("append to metrics.jsonl"), self._metrics.open("a") as stream:
            stream.write(lines)

    def records(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl; a last line cut off by a kill is left out."""
        if not self._metrics.exists():
            return []
        found = []
        for line in self._metrics.read_text().splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return [r for r in found if kind is None or r.get("kind") == kind]

    def rewind(self, round: int) -> None:
        """Forget what was recorded after a round, before resuming from it."""
        kept = [r for r in self.records() if r.get("round", 0) <= round]
        with self._writing("rewind metrics.jsonl"):
            aside = self.path / ".metrics.writing"
            aside.write_text("".join(json.dumps(r) + "\n" for r in kept))
            aside.replace(self._metrics)

    def keep(self, round: int, measured: Measurement) -> None:
        """Whatever of an evaluation is for the eye."""
        if measured.pictures:
            self.keep_pictures(round, measured, list(measured.prompts))
        if measured.texts:
            self.keep_texts(round, measured)

    def keep_texts(self, round: int, measured: Measurement) -> None:
        """What was written for each prompt, and its scores, in samples/texts.json."""
        path = self.path / "samples" / "texts.json"
        index = json.loads(path.read_text()) if path.exists() else {}
        with self._writing("write sample texts"):
            index["prompts"] = list(measured.prompts)
            index.setdefault("texts", {})[str(round)] = list(measured.texts)
            index.setdefault("scores", {})[str(round)] = measured.scores
            self.write_json("samples/texts.json", index)

    def keep_pictures(self, round: int, measured: Measurement, prompts: list[str]) -> None:
        """One PNG per sampler, and what the scorers said of each picture in samples/index.json."""
        path = self.path / "samples" / "index.json"
        index: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        with self._writing("write sample pictures"):
            for name, media in measured.pictures.items():
                media = stills(media)
                if media is None:
                    return  # not pictures: a toy model of vectors
                save_grid(media, self.path / "samples" / f"{round:06d}_{name}.png")
                index["height"], index["tile"] = media.shape[-2:]
            strict = {n: [v > 0.5 for v in s.get("strict", [])] for n, s in measured.scores.items()}
            index["prompts"], index["columns"] = prompts, COLUMNS
            index["rounds"] = sorted({*index.get("rounds", []), round})
            index.setdefault("right", {})[str(round)] = strict
            index.setdefault("scores", {})[str(round)] = measured.scores
            self.write_json("samples/index.json", index)

    def summarise(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json: before and after in a few numbers."""
        with self._writing("write summary.json"):
            self.write_json("summary.json", summary)

    def finish(self, status: str, reason: str | None) -> None:
        """Record how the run ended; a full disk must not hide the first error."""
        with suppress(RunFolderError):
            self.update(status=status, reason=reason)

    @property
    def _metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @contextmanager
    def _writing(self, doing: str, advice: str = SAFE) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise RunFolderError(f"could not {doing} in {self.path}: {reason}; {advice}") from error


def stills(media: Tensor) -> Tensor | None:
    """What a report shows: the middle frame of a video, at most 256 pixels; None of vectors."""
    if media.ndim == 5:
        media = media[:, :, media.shape[2] // 2]
    if media.ndim != 4 or media.shape[1] != 3:
        return None
    shrink = LARGEST / max(media.shape[-2:])
    if shrink >= 1:
        return media
    size = [max(1, round(side * shrink)) for side in media.shape[-2:]]
    return F.interpolate(media.float(), size, mode="bilinear", antialias=True)


def save_grid(media: Tensor, path: Path) -> None:
    """Pictures [n, 3, h, w] in [0, 1] as one PNG of native pixels, eight to a row."""
    rows = math.ceil(len(media) / COLUMNS)
    blank = media.new_ones(rows * COLUMNS - len(media), *media.shape[1:])
    tiles = torch.cat([media, blank]).unflatten(0, (rows, COLUMNS))
    sheet = tiles.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    pixels = (sheet.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    Image.fromarray(pixels).save(path, optimize=True)


def record(kind: str, round: int, seconds: float, evaluations: Any, content: Mapping) -> dict:
    """A line of metrics.jsonl."""
    head = {"kind": kind, "round": round, "evaluations": asdict(evaluations)}
    return head | {"seconds": seconds} | dict(content)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def git_state() -> dict[str, Any] | None:
    """Commit and whether the tree differs from it, or None outside a checkout."""
    root = Path(__file__).parent

    def ask(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
