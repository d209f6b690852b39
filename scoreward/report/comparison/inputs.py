"""What a comparison reads: run folders, and curves.jsonl with one line per method, task and seed.

A run folder becomes such a line (`curve_of`), so both kinds of input are compared alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from scoreward.records.fields import Fields, Json, Series, parsed
from scoreward.records.reading import read_run
from scoreward.records.run import SavedRun
from scoreward.report.run.tables import flat

MEASURES = ("reward", "judge", "strict", "drift", "diversity")  # of every line, null if unknown
EXTRA = ("nearest", "palette", "regret")  # kept where a run measured them
OF_ONE_MACHINE = ("folder", "origin")  # settings that say where, not how
NOT_THE_METHOD = (*OF_ONE_MACHINE, "seed", "name", "evaluation", "keeping", "guards")

Points = Float[np.ndarray, "points"]


@dataclass(frozen=True)
class LearningCurve:
    """One run: what each evaluation found; the first is the model before training."""

    task: str
    method: str
    seed: int
    settings: dict[str, Json]
    evaluations: list[float]  # network evaluations, a backward pass counted as two
    seconds: Series
    values: dict[str, Series]  # by measure
    source: str  # the file and line, or the folder
    run: SavedRun | None = None  # where pictures may be
    sampler: str = "ode"  # whose scores these are

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


def curve_of(folder: Path) -> dict[str, Json]:
    """The line of curves.jsonl that a run folder is worth.

    Scores are those of the ODE sampler; those of an SDE sampler are kept under "sde".
    """
    return _line_of(read_run(Path(folder)))


def parts_of(run: SavedRun, tasks: Sequence[str] = ()) -> tuple[str, str]:
    """Task and method, as the run says them.

    Of a run of an earlier version, the longest of the known `tasks` that its name begins with, or
    else the name up to its first underscore.
    """
    if run.about.task:
        return run.about.task, run.about.method or run.title
    known = sorted((t for t in tasks if run.title.startswith(f"{t}_")), key=len)
    task = known[-1] if known else run.title.partition("_")[0]
    return task, run.title.removeprefix(task).removeprefix("_") or task


def _line_of(run: SavedRun, tasks: Sequence[str] = ()) -> dict[str, Json]:
    costs = [e.at.total for e in run.evaluations]
    if not costs or None in costs:
        raise ValueError(
            f"{run.folder} has no evaluation to compare; give runs that were at least measured "
            "before training"
        )
    task, method = parts_of(run, tasks)
    settings = {k: v for k, v in run.about.settings.items() if k not in OF_ONE_MACHINE}
    sde = any("sde" in e.samplers for e in run.evaluations)
    return {
        "task": task,
        "method": method,
        "seed": run.about.seed or 0,
        "settings": settings,
        "evaluations": [round(c) for c in costs if c is not None],
        "seconds": [e.at.seconds for e in run.evaluations],
        **_scores(run, "ode"),
        **({"sde": _scores(run, "sde")} if sde else {}),
    }


def _scores(run: SavedRun, sampler: str) -> dict[str, Json]:
    found = {name: run.series(sampler, name) for name in (*MEASURES, *EXTRA)}
    return {k: [*v] for k, v in found.items() if k in MEASURES or any(x is not None for x in v)}


def read_inputs(
    paths: Sequence[Path], sampler: str = "ode", tasks: Sequence[str] = ()
) -> list[LearningCurve]:
    """Every curve of the given folders and files, each once.

    The same run may come as a folder and as a line; the folder has the pictures.
    """
    if not paths:
        raise ValueError("nothing to compare; give run folders or curves.jsonl files")
    curves: list[LearningCurve] = []
    for curve in (curve for path in paths for curve in _read(Path(path), sampler, tasks)):
        same = next((i for i, other in enumerate(curves) if other.same_run(curve)), None)
        if same is None:
            curves.append(curve)
        elif curves[same].run is None:
            curves[same] = curve
    return curves


def _read(path: Path, sampler: str, tasks: Sequence[str]) -> list[LearningCurve]:
    if path.is_dir():
        run = read_run(path, "runs")
        return [_curve(_line_of(run, tasks), str(path), sampler, run)]
    if not path.is_file():
        raise ValueError(
            f"`runs` must be run folders or curves.jsonl files, but {path} does not exist"
        )
    found = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = parsed(text)
        if line is not None:
            found.append(_curve(line, f"{path}:{number}", sampler))
        elif text.strip():
            raise ValueError(
                f"{path}:{number} is not a JSON object; expected one line per method, task and seed"
            )
    return found


def _curve(
    line: dict[str, Json], source: str, sampler: str, run: SavedRun | None = None
) -> LearningCurve:
    """One line, which is refused as a whole: a comparison with holes would mislead."""
    missing = [k for k in ("task", "method", "seed", "evaluations", "seconds") if k not in line]
    if missing:
        raise ValueError(f"{source} has no `{missing[0]}`; docs/compare.md lists what a line needs")
    scores = line if sampler == "ode" else line.get(sampler)
    if not isinstance(scores, dict):
        raise ValueError(
            f"{source} has no numbers of the {sampler.upper()} sampler; compare with --sampler ode"
        )
    spent = _series(line, "evaluations", None, source)
    rising = [v for v in spent if v is not None]
    values = {k: _series(scores, k, len(spent), source) for k in (*MEASURES, *EXTRA) if k in scores}
    if not rising or len(rising) < len(spent) or rising != sorted(rising):
        raise ValueError(
            f"{source}: `evaluations` must be numbers that never fall, from before training on"
        )
    said = Fields(line, source)
    return LearningCurve(
        task=str(line["task"]),
        method=str(line["method"]),
        seed=said.count("seed") or 0,
        settings=said.inside("settings").held,
        evaluations=rising,
        seconds=_series(line, "seconds", len(spent), source),
        values={k: v for k, v in values.items() if any(x is not None for x in v)},
        source=source,
        run=run,
        sampler=sampler,
    )


def _series(line: dict[str, Json], name: str, length: int | None, source: str) -> Series:
    """One value per evaluation; `evaluations` themselves may be as many as there are."""
    values = line[name]
    if isinstance(values, list) and length in (None, len(values)):
        return Fields(line, source).series(name)
    if length is None:
        return []
    came = len(values) if isinstance(values, list) else "no list"
    raise ValueError(
        f"{source}: `{name}` must have one value per evaluation, {length}, but has {came}"
    )
