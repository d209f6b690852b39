"""The comparison as one HTML page: a section per task, every number with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from scoreward.report import words
from scoreward.report.bands import CROWD, STYLES, Banded, bands, paint
from scoreward.report.comparison import sentences, tables
from scoreward.report.comparison.comparison import MethodRuns, TaskRuns, tasks
from scoreward.report.comparison.inputs import read_inputs
from scoreward.report.comparison.side_by_side import sheet
from scoreward.report.figures import Level, Line
from scoreward.report.run import page
from scoreward.report.run.curves import Figure

HERE = Path(__file__).parents[1]
DRAWN = ("reward", "judge", "diversity")  # curves against evaluations and against time
LONGEST = 19  # letters of a method's name beside its curve, so that the value fits; ours
AXES = (("evaluations", "network evaluations"), ("seconds", "seconds of training"))


@dataclass(frozen=True)
class Asked:
    """What the reader wants to see."""

    sampler: str = "ode"
    levels: Sequence[float] = ()  # besides the shares of the way
    against: str | None = None  # method that ratios are relative to; the best if None


def write_comparison(paths: Sequence[Path], out: Path, asked: Asked = Asked()) -> Path:
    """Compare run folders and curves.jsonl files on one page, and return its path."""
    text = render(tasks(read_inputs(paths, asked.sampler)), asked)
    out = Path(out)
    if out.is_dir() or not out.parent.is_dir():
        raise ValueError(f"`out` must be a file in a folder that exists, got {out}")
    page._replace(out, text)
    return out


def render(found: list[TaskRuns], asked: Asked = Asked()) -> str:
    """The whole page as text."""
    _check(found, asked)
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(show=words.show, plural=words.plural, css_style=STYLES)
    css = "".join((HERE / f).read_text(encoding="utf-8") for f in ("report.css", "comparison.css"))
    return environment.get_template("comparison.html.j2").render(
        css=Markup(css),
        title=sentences.title(found),
        facts=sentences.facts(found, asked.sampler),
        sampler=asked.sampler,
        tasks=[_task(t, asked, _colours(found)) for t in found],
    )


def _colours(found: list[TaskRuns]) -> tables.Colours:
    """The same method looks the same in every task; what was not trained is a quiet level."""
    trained = sorted({m.name for t in found for m in t.trained})
    quiet = {m.name: ("muted", "--") for t in found for m in t.methods}
    return quiet | {name: paint(i) for i, name in enumerate(trained)}


def _check(found: list[TaskRuns], asked: Asked) -> None:
    names = sorted({m.name for t in found for m in t.methods})
    if asked.against is not None and asked.against not in names:
        raise ValueError(
            f"`against` must be one of the compared methods, {', '.join(names)}, "
            f"got {asked.against!r}"
        )
    for task in found:
        if not task.measures():
            raise ValueError(
                f"no run of the task {task.name!r} has {asked.sampler.upper()} numbers to compare; "
                f"a line needs at least `reward`"
            )


def _task(task: TaskRuns, asked: Asked, colours: tables.Colours) -> dict[str, Any]:
    """What the template needs for one task."""
    return {
        "name": task.name,
        "id": "task-" + "".join(c if c.isalnum() else "-" for c in task.name),
        "budget": None if task.budget is None else round(task.budget),
        "headline": sentences.headline(task),
        "found": sentences.found(task),
        "warnings": sentences.warnings(task),
        "equal": tables.numbers(task, task.budget, colours),
        "ends": tables.numbers(task, None, colours) if tables.ends_differ(task) else None,
        "ends_open": sentences.budgets_differ(task),
        "curves": curves(task, colours),
        "crowded": _crowded(task),
        "reach": tables.levels(task, asked.levels, asked.against, colours),
        "drift": drift(task, colours),
        "judged": words.label(tables.judged(task)),
        "at_drift": tables.drifts(task, colours),
        "sheet": sheet(task),
        "inputs": tables.inputs(task),
        "settings": tables.settings(task),
        "notes": sentences.notes(task),
    }


def _crowded(task: TaskRuns) -> bool:
    """Whether the charts need a row of their own each."""
    return len(task.methods) > CROWD


def curves(task: TaskRuns, colours: tables.Colours) -> list[Figure]:
    """Reward, judge and diversity: mean over seeds and band, against evaluations and time."""
    figures = []
    for measure in DRAWN:
        levels = [
            Level(f"{m.name} {words.show(end.mean)}", end.mean)
            for m in task.methods
            if not m.trained and (end := m.at(measure)) is not None
        ]
        for axis, label in AXES:
            title = f"{words.label(measure)} against {label.split(' of ')[0]}"
            lines = [_line(m, measure, axis, colours) for m in task.trained]
            known = [line for line in lines if line is not None]
            svg = bands(f"{task.name}: {title}", known, label, levels, _crowded(task))
            figures.append(Figure(title, svg))
    return [f for f in figures if f.svg]


def _line(method: MethodRuns, measure: str, axis: str, colours: tables.Colours) -> Banded | None:
    found = method.band(measure, axis)
    if found is None or len(found[0]) < 2:
        return None
    x, mean, ends = found
    label = method.name if len(method.name) <= LONGEST else f"{method.name[: LONGEST - 1]}…"
    if axis == "evaluations":  # against time the seeds end at different numbers of evaluations
        label += f" {words.show(float(mean[-1]))}"
    line = Line(label, x.tolist(), mean.tolist(), *colours[method.name])
    low, high = ends if ends is not None else ((), ())
    return Banded(line, [float(v) for v in low], [float(v) for v in high])


def drift(task: TaskRuns, colours: tables.Colours) -> Markup:
    """Mean judge (or reward) over mean drift, both at the same numbers of evaluations."""
    measure = tables.judged(task)
    lines = []
    for method in task.trained:
        there, here = method.band("drift"), method.band(measure)
        if there is None or here is None:
            continue
        inside = (there[0] >= here[0][0]) & (there[0] <= here[0][-1])
        y = [_between(here, x) for x in there[0][inside].tolist()]
        lines.append(Banded(Line(method.name, there[1][inside].tolist(), y, *colours[method.name])))
    title = f"{task.name}: {measure} against drift"
    return bands(title, lines, "drift from the base model", alone=_crowded(task))


def _between(band: tuple[Any, Any, Any], x: float) -> float:
    from numpy import interp

    return float(interp(x, band[0], band[1]))
