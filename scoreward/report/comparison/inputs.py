"""What a comparison reads: run folders, and curves.jsonl with one line per method, task and seed.

A run folder becomes such a line (`curve_of`), so both kinds of input are compared alike.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from scoreward.report.folder import Record, SavedRun, number, read_run, section, series, total
from scoreward.report.run.tables import flat

MEASURES = ("reward", "judge", "strict", "drift", "diversity")  # of every line, null if unknown
EXTRA = ("nearest", "palette", "regret")  # kept where a run measured them
OF_ONE_MACHINE = ("folder", "origin")  # settings that say where, not how
NOT_THE_METHOD = (*OF_ONE_MACHINE, "seed", "name", "evaluation", "keeping", "guards")

Points = Float[np.ndarray, "points"]
Numbers = list[float | None]


@dataclass(frozen=True)
class LearningCurve:
    """One run: what each evaluation found; the first is the model before training."""

    task: str
    method: str
    seed: int
    settings: Record
    evaluations: list[float]  # network evaluations, a backward pass counted as two
    seconds: Numbers
    values: dict[str, Numbers]  # by measure
    source: str  # the file and line, or the folder
    run: SavedRun | None = None  # where pictures may be

    @property
    def trained(self) -> bool:
        """A single evaluation is a control without training, for example guidance."""
        return len(self.evaluations) > 1

    @property
    def budget(self) -> float:
        return self.evaluations[-1]

    def points(self, measure: str, axis: str = "evaluations") -> tuple[Points, Points]:
        """(place, value) wherever both are known."""
        places = self.evaluations if axis == "evaluations" else self.seconds
        values = self.seconds if measure == "seconds" else self.values.get(measure, [])
        known = [
            (x, y) for x, y in zip(places, values, strict=False) if x is not None and y is not None
        ]
        x, y = np.asarray(known, dtype=float).reshape(-1, 2).T
        return x, y

    def own_settings(self) -> dict[str, str]:
        """Settings that make the method: not the seed, nor how the run was measured or kept."""
        kept = {k: v for k, v in self.settings.items() if k not in NOT_THE_METHOD}
        return {k: v for k, v in flat(kept) if k}

    def same_run(self, other: "LearningCurve") -> bool:
        """Whether two inputs tell of one run: same name, seed, settings and numbers."""
        mine, theirs = (
            (c.task, c.method, c.seed, c.evaluations, c.values, c.own_settings())
            for c in (self, other)
        )
        return mine == theirs


def curve_of(folder: Path) -> Record:
    """The line of curves.jsonl that a run folder is worth.

    The recipe's name up to its first underscore is the task, the rest is the method. Scores are
    those of the ODE sampler; those of an SDE sampler are kept under "sde".
    """
    return _line_of(read_run(Path(folder)))


def _line_of(run: SavedRun) -> Record:
    costs = [total(e) for e in run.evaluations]
    if not run.evaluations or None in costs:
        raise ValueError(
            f"{run.folder} has no evaluation to compare; give runs that were at least measured "
            "before training"
        )
    task, _, method = run.title.partition("_")
    settings = section(run.about, "settings")
    return {
        "task": task,
        "method": method or task,
        "seed": int(number(run.about.get("seed")) or 0),
        "settings": {k: v for k, v in settings.items() if k not in OF_ONE_MACHINE},
        "evaluations": [round(c) for c in costs if c is not None],
        "seconds": [number(e.get("seconds")) for e in run.evaluations],
        **_scores(run, "ode"),
        **({"sde": _scores(run, "sde")} if any("sde" in e for e in run.evaluations) else {}),
    }


def _scores(run: SavedRun, sampler: str) -> dict[str, Numbers]:
    found = {name: series(run, sampler, name) for name in (*MEASURES, *EXTRA)}
    return {k: v for k, v in found.items() if k in MEASURES or any(x is not None for x in v)}


def read_inputs(paths: Sequence[Path], sampler: str = "ode") -> list[LearningCurve]:
    """Every curve of the given folders and files, each once."""
    if not paths:
        raise ValueError("nothing to compare; give run folders or curves.jsonl files")
    curves: list[LearningCurve] = []
    for path in paths:
        for curve in _read(Path(path), sampler):
            _add(curves, curve)
    return curves


def _add(curves: list[LearningCurve], curve: LearningCurve) -> None:
    """The same run may come as a folder and as a line; the folder has the pictures."""
    for i, other in enumerate(curves):
        if other.same_run(curve):
            curves[i] = other if other.run is not None else curve
            return
    curves.append(curve)


def _read(path: Path, sampler: str) -> list[LearningCurve]:
    if path.is_dir():
        run = read_run(path, "runs")
        return [_curve(_line_of(run), str(path), sampler, run)]
    if not path.is_file():
        raise ValueError(
            f"`runs` must be run folders or curves.jsonl files, but {path} does not exist"
        )
    return [
        _curve(_parsed(text, f"{path}:{number_}"), f"{path}:{number_}", sampler)
        for number_, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if text.strip()
    ]


def _parsed(text: str, source: str) -> Record:
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    if not isinstance(line, dict):
        raise ValueError(
            f"{source} is not a JSON object; expected one line per method, task and seed"
        )
    return line


def _curve(line: Record, source: str, sampler: str, run: SavedRun | None = None) -> LearningCurve:
    missing = [k for k in ("task", "method", "seed", "evaluations", "seconds") if k not in line]
    if missing:
        raise ValueError(f"{source} has no `{missing[0]}`; docs/compare.md lists what a line needs")
    scores = line if sampler == "ode" else line.get(sampler)
    if not isinstance(scores, dict):
        raise ValueError(
            f"{source} has no numbers of the {sampler.upper()} sampler; compare with --sampler ode"
        )
    length = len(line["evaluations"])
    values = {k: _numbers(scores[k], k, length, source) for k in (*MEASURES, *EXTRA) if k in scores}
    return LearningCurve(
        task=str(line["task"]),
        method=str(line["method"]),
        seed=int(number(line["seed"]) or 0),
        settings=section(line, "settings"),
        evaluations=_rising(line["evaluations"], source),
        seconds=_numbers(line["seconds"], "seconds", length, source),
        values={k: v for k, v in values.items() if any(x is not None for x in v)},
        source=source,
        run=run,
    )


def _numbers(values: Any, name: str, length: int, source: str) -> Numbers:
    if not isinstance(values, list) or len(values) != length:
        came = len(values) if isinstance(values, list) else "no list"
        raise ValueError(
            f"{source}: `{name}` must have one value per evaluation, {length}, but has {came}"
        )
    return [number(v) for v in values]


def _rising(values: Any, source: str) -> list[float]:
    """Evaluations only ever add up."""
    known = [number(v) for v in values] if isinstance(values, list) else []
    rising = [v for v in known if v is not None]
    if not rising or len(rising) < len(known) or rising != sorted(rising):
        raise ValueError(
            f"{source}: `evaluations` must be numbers that never fall, from before training on"
        )
    return rising
