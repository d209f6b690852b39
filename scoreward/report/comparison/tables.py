"""The tables of a comparison as plain rows, ready for the template."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isclose

from scoreward.report.comparison.comparison import (
    MethodRuns,
    Reach,
    TaskRuns,
    at_drift,
    differing,
    equal_drift,
    ratios,
    reach,
    reference,
)
from scoreward.verdict.statistics import Estimate
from scoreward.verdict.words import label, show

RELATIVE = ("diversity", "nearest")  # shown as multiples of the same run's start
BETTER = ("reward", "judge", "strict")  # of which the highest is in bold
Colours = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Cell:
    """A value, what stands under it in small type, and whether it is the best of its column."""

    text: str
    under: tuple[str, ...] = ()
    best: bool = False


@dataclass(frozen=True)
class TableRow:
    """One method."""

    name: str
    paint: tuple[str, str]  # colour and line style
    cells: list[Cell]
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Column heads and rows."""

    head: list[Cell]
    rows: list[TableRow]
    caption: str = ""


def judged(task: TaskRuns) -> str:
    """The measure that decides: the judge if there is one."""
    return "judge" if "judge" in task.measures() else "reward"


def small(value: float) -> str:
    """Three significant digits, for drifts far below one."""
    return f"{value:#.3g}".rstrip(".").replace("-", "−") if value else "0"


def seconds(value: float) -> str:
    return whole(value) if value >= 10 else f"{value:.1f}"


def span(found: Estimate, text: Callable[[float], str] = show) -> str:
    """The interval in brackets; nothing for one seed."""
    if found.interval is None:
        return ""
    return f"[{text(found.interval[0])}, {text(found.interval[1])}]"


def whole(value: float) -> str:
    return show(round(value))


def ends_differ(task: TaskRuns) -> bool:
    """Whether some run went further than all of them did."""
    return any(c.budget != task.budget for m in task.trained for c in m.curves)


def numbers(task: TaskRuns, evaluations: float | None, colours: Colours) -> Table:
    """All measures at a number of evaluations, or at each run's own end."""
    names = task.measures()
    places = {m.name: evaluations if m.trained else None for m in task.methods}
    values = {
        m.name: {
            n: m.relative(n, places[m.name], task.start(n)) if n in RELATIVE
            else m.at(n, places[m.name])
            for n in names
        }
        for m in task.methods
    }  # fmt: skip
    best = {}
    for name in (n for n in names if n in BETTER):
        means = {m: e.mean for m, found in values.items() if (e := found[name]) is not None}
        best[name] = max(means, key=lambda m: means[m]) if len(means) > 1 else None
    rows = []
    for method in task.methods:
        cells = [Cell(str(len(method.curves)))]
        for n, value in values[method.name].items():
            text = small if n in ("drift", "regret") else show
            cells.append(_of(value, text, method, best.get(n) == method.name))
        if evaluations is None:
            cells.append(_of(method.over_seeds(lambda c: c.budget), whole, method))
        cells.append(_of(method.at("seconds", places[method.name]), seconds, method))
        note = "" if method.trained else "not trained"
        rows.append(TableRow(method.name, colours[method.name], cells, note))
    measured = [Cell(label(n), ("× start",) if n in RELATIVE else ()) for n in names]
    cost = ["Seconds"] if evaluations is not None else ["Evaluations", "Seconds"]
    return Table([Cell("Method"), Cell("Seeds"), *measured, *map(Cell, cost)], rows)


def _of(
    found: Estimate | None, text: Callable[[float], str], method: MethodRuns, best: bool = False
) -> Cell:
    if found is None:
        return Cell("–")
    seeds = len(method.curves)
    some = f"{found.seeds} of {seeds} seeds" if found.seeds < seeds else ""
    same = found.interval is not None and isclose(*found.interval)
    under = ("" if same else span(found, text), some)
    return Cell(text(found.mean), tuple(filter(None, under)), best)


def levels(
    task: TaskRuns, asked: Sequence[float], against: str | None, colours: Colours
) -> list[Table]:
    """Evaluations to reach levels of the reward and of the judge, with ratios."""
    tables = []
    for measure in (n for n in ("reward", "judge") if n in task.measures() and task.trained):
        wanted, columns = task.levels(measure, asked), []
        for _, level in wanted:
            reached = {m.name: reach(m, measure, level) for m in task.trained}
            base = reference(reached, against)
            compared = ratios(reached, base)
            columns.append({n: _reached(r, compared.get(n), n == base) for n, r in reached.items()})
        rows = [
            TableRow(m.name, colours[m.name], [column[m.name] for column in columns])
            for m in task.trained
        ]
        heads = [Cell(f"{label(measure)} {show(x)}", (name,)) for name, x in wanted]
        caption = f"Network evaluations to reach a {label(measure).lower()}"
        if heads:
            tables.append(Table([Cell("Method"), *heads], rows, caption))
    return tables


def _reached(one: Reach, compared: Estimate | None, base: bool) -> Cell:
    """Evaluations needed, and their ratio to those of the base with its interval."""
    found = one.estimate
    if found is None:
        some = f"{len(one.evaluations)} of {one.seeds} seeds"
        return Cell(some if one.seeds > 1 else "not reached")
    if found.mean == 0:
        return Cell("0", ("from the start",))
    times = "1 ×" if base else ""
    if compared is not None:
        times = f"{compared.mean:.2f} × {span(compared, lambda v: f'{v:.2f}')}".rstrip()
    return Cell(whole(found.mean), tuple(filter(None, (span(found, whole), times))), base)


def drifts(task: TaskRuns, colours: Colours) -> Table | None:
    """Judge, strict judge and reward where every method has drifted equally far."""
    drift = equal_drift(task)
    if drift is None:
        return None
    names = [n for n in ("judge", "strict", "reward", "diversity") if n in task.measures()]
    rows = []
    for method in (m for m in task.trained if m.at("drift") is not None):
        cells = [_of(at_drift(method, n, drift), show, method) for n in names]
        rows.append(TableRow(method.name, colours[method.name], cells))
    head = [Cell("Method"), *(Cell(label(n)) for n in names)]
    return Table(head, rows, f"At a drift of {small(drift)}")


def inputs(task: TaskRuns) -> list[list[str]]:
    """Where each curve came from."""
    return [
        [m.name, str(c.seed), c.source, str(len(c.evaluations)), whole(c.budget)]
        for m in task.methods
        for c in m.curves
    ]


def settings(task: TaskRuns) -> list[tuple[str, list[tuple[str, str]]]]:
    """(method, [(setting, value)]) for runs of one name that were set otherwise."""
    shared: dict[str, list[MethodRuns]] = {}
    for method in task.methods:
        shared.setdefault(method.curves[0].method, []).append(method)
    rows = []
    for methods in (group for group in shared.values() if len(group) > 1):
        own = [m.curves[0].own_settings() for m in methods]
        names = differing(own)
        rows += [
            (m.name, [(n, s.get(n, "absent")) for n in names])
            for m, s in zip(methods, own, strict=True)
        ]
    return rows
