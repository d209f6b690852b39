"""Read a run folder as it is: unfinished, interrupted or from another version.

What cannot be read is left out and named in `notes`, so a report never stops at a half-written
line and never hides one. Only a folder without a readable `run.json` is refused.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Record = dict[str, Any]
PRICES = {"training_backward": 2}  # in forward evaluations
GAP_FILE = "gap.jsonl"  # what `scoreward gap` measured after the run; read instead of its records
SAMPLERS = ("ode", "sde")  # the order in which scores are looked for and shown
NOT_SCORES = (
    "diversity",
    "nearest",
    "palette",
    "drift",
)  # measured beside the scorers, with own limits


@dataclass(frozen=True)
class SavedRun:
    """The contents of one run folder, sorted by round."""

    folder: Path
    about: Record  # run.json
    rounds: list[Record]
    evaluations: list[Record]
    health: list[Record]
    profile: Record  # the last one measured
    samples: Record  # samples/index.json
    summary: Record
    notes: list[str]  # what could not be read, in sentences
    failures: list[Record] = field(default_factory=list)  # metrics of rounds that were refused
    gaps: list[Record] = field(default_factory=list)  # one per noise, grid and round measured
    texts: Record = field(default_factory=dict)  # samples/texts.json

    @property
    def title(self) -> str:
        return str(self.about.get("recipe") or self.folder.resolve().name)

    @property
    def held_out(self) -> list[Record]:
        """What was held out, of each kind; runs of earlier versions do not say."""
        told = self.about.get("held_out")
        return [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []

    @property
    def measured_on(self) -> str:
        """What the prompts that are measured on may be called."""
        unseen = all(one.get("held") for one in self.held_out)
        return "held-out prompts" if unseen else "training prompts"

    @property
    def last_round(self) -> int:
        seen = [int(number(r.get("round")) or 0) for r in self.rounds + self.evaluations]
        return max(seen, default=0)


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def section(record: Record, *keys: str) -> Record:
    """The nested mapping under `keys`, or an empty one."""
    for key in keys:
        inner = record.get(key)
        record = inner if isinstance(inner, dict) else {}
    return record


def items(record: Record, key: str) -> list[Any]:
    """The list under `key`, or an empty one."""
    value = record.get(key)
    return value if isinstance(value, list) else []


def priced(record: Record) -> dict[str, float]:
    """Network evaluations by kind so far; a backward pass costs two forward ones."""
    known = {k: number(v) for k, v in section(record, "evaluations").items()}
    return {k: v * PRICES.get(k, 1) for k, v in known.items() if v is not None}


def total(record: Record) -> float | None:
    """All network evaluations so far."""
    values = priced(record).values()
    return sum(values) if values else None


def samplers(run: SavedRun) -> list[str]:
    """Names of the samplers that were evaluated, the known ones first."""
    sources = [section(run.summary, "before"), section(run.summary, "after"), *run.evaluations]
    found = [
        key
        for source in sources
        for key, value in source.items()
        if isinstance(value, dict) and key not in ("evaluations", "gap", "probes")
    ]
    return [s for s in SAMPLERS if s in found] + sorted(set(found) - set(SAMPLERS))


def scorers(run: SavedRun, sampler: str) -> list[str]:
    """Names of the scores under one sampler: reward, judge, strict, then any other."""
    sources = [*run.evaluations, section(run.summary, "before"), section(run.summary, "after")]
    found = dict.fromkeys(
        key
        for source in sources
        for key, value in section(source, sampler).items()
        if number(value) is not None and key not in NOT_SCORES
    )
    known = [k for k in ("reward", "judge", "strict") if k in found]
    return known + [k for k in found if k not in known]


def series(run: SavedRun, sampler: str, name: str) -> list[float | None]:
    """One score at every evaluation."""
    return [number(section(e, sampler).get(name)) for e in run.evaluations]


def read_run(folder: Path, argument: str = "folder") -> SavedRun:
    """Everything a report needs from `folder`; a folder without run.json is refused."""
    notes: list[str] = []
    about = _about(folder, argument)
    lines = _metrics(folder / "metrics.jsonl", notes)
    later = folder / GAP_FILE
    gaps = _metrics(later, notes) if later.is_file() else lines
    profiles = [line for line in lines if line.get("kind") == "profile"]
    return SavedRun(
        folder=folder,
        about=about,
        rounds=_sorted(lines, "round", "round"),
        evaluations=_sorted(lines, "evaluation", "round"),
        health=_sorted(lines, "health", "round", "check"),
        profile=profiles[-1] if profiles else {},
        samples=_object(folder / "samples" / "index.json", notes),
        summary=_object(folder / "summary.json", notes),
        notes=notes,
        failures=_sorted(lines, "failure", "round"),
        gaps=_sorted(gaps, "gap", "round", "eta", "steps"),
        texts=_object(folder / "samples" / "texts.json", notes),
    )


def _about(folder: Path, argument: str) -> Record:
    path = folder / "run.json"
    if not path.is_file():
        what = "has no run.json" if folder.is_dir() else "does not exist"
        raise ValueError(
            f"`{argument}` must be a run folder, but {folder} {what}; "
            f"give the folder that `scoreward train` wrote"
        )
    notes: list[str] = []
    about = _object(path, notes)
    if notes:
        raise ValueError(
            f"`{argument}` must be a run folder, but {path} is not a JSON object; "
            f"restore it or give another folder"
        )
    return about


def _object(path: Path, notes: list[str]) -> Record:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    notes.append(f"{path.name} is not a JSON object and was left out.")
    return {}


def _metrics(path: Path, notes: list[str]) -> list[Record]:
    """The lines of metrics.jsonl; a line cut off by a kill is left out and noted."""
    if not path.is_file():
        notes.append("There is no metrics.jsonl: the run ended before its first round.")
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    read = [_line(line) for line in lines if line.strip()]
    bad = read.count(None)
    if bad:
        plural = "1 line" if bad == 1 else f"{bad} lines"
        notes.append(f"{plural} of {path.name} could not be read and was left out.")
    return [line for line in read if line is not None]


def _line(text: str) -> Record | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _sorted(lines: Iterable[Record], kind: str, *keys: str) -> list[Record]:
    """Records of one kind in order; where a resumed run wrote a round twice, the later counts."""
    kept = {
        tuple(str(line.get(key)) for key in keys): line
        for line in lines
        if line.get("kind") == kind
    }
    return sorted(kept.values(), key=lambda line: number(line.get("round")) or 0)
