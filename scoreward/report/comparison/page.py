"""The comparison as one HTML page: a section per task, every number with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from scoreward.report import html
from scoreward.report.comparison import sentences, tables
from scoreward.report.comparison.comparison import TaskRuns, tasks
from scoreward.report.comparison.inputs import read_inputs
from scoreward.report.comparison.side_by_side import sheet
from scoreward.report.figures import CROWD, STYLES, WIDE, Figure, Level, Line, alone, chart, paint
from scoreward.verdict import words

DRAWN = ("reward", "judge", "diversity")  # curves against evaluations and against time
LONGEST = 19  # letters of a method's name beside its curve, so that the value fits; ours
AXES = (("evaluations", "network evaluations"), ("seconds", "seconds of training"))


@dataclass(frozen=True)
class Asked:
    """What the reader wants to see."""

    sampler: str = "ode"
    levels: Sequence[float] = ()  # besides the shares of the way
    against: str | None = None  # method that ratios are relative to; the best if None
    tasks: Sequence[str] = ()  # known names, for runs of earlier versions that do not say theirs


def write_comparison(paths: Sequence[Path], out: Path, asked: Asked = Asked()) -> Path:
    """Compare run folders and curves.jsonl files on one page, and return its path."""
    text = render(tasks(read_inputs(paths, asked.sampler, asked.tasks)), asked)
    return html.write(Path(out), text)


def render(found: list[TaskRuns], asked: Asked = Asked()) -> str:
    """The whole page as text."""
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
    # the same method looks the same in every task; what was not trained is a quiet level
    trained = sorted({m.name for t in found for m in t.trained})
    colours = dict.fromkeys(names, ("muted", "--"))
    colours |= {name: paint(i) for i, name in enumerate(trained)}
    content = {
        "title": sentences.title(found),
        "facts": sentences.facts(found, asked.sampler),
        "sampler": asked.sampler,
        "tasks": [_task(t, asked, colours) for t in found],
        "css_style": STYLES,
    }
    return html.page("comparison", content)


def _task(task: TaskRuns, asked: Asked, colours: tables.Colours) -> dict[str, object]:
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
        "crowded": crowded(task),
        "reach": tables.levels(task, asked.levels, asked.against, colours),
        "drift": drift(task, colours),
        "judged": words.label(tables.judged(task)),
        "at_drift": tables.drifts(task, colours),
        "sheet": sheet(task),
        "inputs": tables.inputs(task),
        "settings": tables.settings(task),
        "notes": sentences.notes(task),
    }


def crowded(task: TaskRuns) -> bool:
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
            lines = []
            for method in task.trained:
                found = method.band(measure, axis)
                if found is None or len(found[0]) < 2:
                    continue
                x, mean, ends = found
                long = len(method.name) > LONGEST
                name = f"{method.name[: LONGEST - 1]}…" if long else method.name
                if axis == "evaluations":  # against time the seeds end at other evaluations
                    name += f" {words.show(float(mean[-1]))}"
                low, high = ([], []) if ends is None else (end.tolist() for end in ends)
                look = colours[method.name]
                lines.append(Line(name, x.tolist(), mean.tolist(), *look, low=low, high=high))
            size = alone(len(lines) + len(levels)) if crowded(task) else WIDE
            svg = chart(f"{task.name}: {title}", lines, label, levels, size, means=True)
            figures.append(Figure(title, svg))
    return [f for f in figures if f.svg]


def drift(task: TaskRuns, colours: tables.Colours) -> Markup:
    """Mean judge (or reward) over mean drift, both at the same numbers of evaluations."""
    measure = tables.judged(task)
    lines = []
    for method in task.trained:
        there, here = method.band("drift"), method.band(measure)
        if there is None or here is None:
            continue
        inside = (there[0] >= here[0][0]) & (there[0] <= here[0][-1])
        y = np.interp(there[0][inside], here[0], here[1])
        lines.append(
            Line(method.name, there[1][inside].tolist(), y.tolist(), *colours[method.name])
        )
    title = f"{task.name}: {measure} against drift"
    size = alone(len([line for line in lines if line.x])) if crowded(task) else WIDE
    return chart(title, lines, "drift from the base model", size=size, means=True)
