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
from scoreward.report.words import label, show
from scoreward.verdict.statistics import Estimate

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
    head = [Cell("Method"), Cell("Seeds"), *(_head(n) for n in names)]
    head += [Cell("Seconds")] if evaluations is not None else [Cell("Evaluations"), Cell("Seconds")]
    best = {n: _best(task, n, evaluations) for n in names if n in BETTER}
    rows = []
    for method in task.methods:
        place = evaluations if method.trained else None
        cells = [Cell(str(len(method.curves)))]
        cells += [_cell(task, method, n, place, best.get(n) == method.name) for n in names]
        if evaluations is None:
            cells.append(_of(method.over_seeds(lambda c: c.budget), whole, method))
        cells.append(_of(method.at("seconds", place), seconds, method))
        note = "" if method.trained else "not trained"
        rows.append(TableRow(method.name, colours[method.name], cells, note))
    return Table(head, rows)


def _head(name: str) -> Cell:
    return Cell(label(name), ("× start",) if name in RELATIVE else ())


def _best(task: TaskRuns, name: str, evaluations: float | None) -> str | None:
    found = {
        m.name: e.mean
        for m in task.methods
        if (e := m.at(name, evaluations if m.trained else None)) is not None
    }
    return max(found, key=lambda n: found[n]) if len(found) > 1 else None


def _cell(
    task: TaskRuns, method: MethodRuns, name: str, evaluations: float | None, best: bool
) -> Cell:
    if name in RELATIVE:
        found = method.relative(name, evaluations, task.start(name))
    else:
        found = method.at(name, evaluations)
    return _of(found, small if name in ("drift", "regret") else show, method, best)


def _of(
    found: Estimate | None, text: Callable[[float], str], method: MethodRuns, best: bool = False
) -> Cell:
    if found is None:
        return Cell("–")
    seeds = len(method.curves)
    some = f"{found.seeds} of {seeds} seeds" if found.seeds < seeds else ""
    same = found.interval is not None and isclose(*found.interval)
    return Cell(text(found.mean), _lines("" if same else span(found, text), some), best)


def _lines(*parts: str) -> tuple[str, ...]:
    return tuple(p for p in parts if p)


def levels(
    task: TaskRuns, asked: Sequence[float], against: str | None, colours: Colours
) -> list[Table]:
    """Evaluations to reach levels of the reward and of the judge, with ratios."""
    names = [n for n in ("reward", "judge") if n in task.measures() and task.trained]
    tables = [_levels(task, n, asked, against, colours) for n in names]
    return [t for t in tables if len(t.head) > 1]


def _levels(
    task: TaskRuns, measure: str, asked: Sequence[float], against: str | None, colours: Colours
) -> Table:
    wanted = task.levels(measure, asked)
    columns = []
    for _, level in wanted:
        reached = {m.name: reach(m, measure, level) for m in task.trained}
        base = reference(reached, against)
        compared = ratios(reached, base)
        columns.append({n: _reached(r, compared.get(n), n == base) for n, r in reached.items()})
    rows = [
        TableRow(m.name, colours[m.name], [column[m.name] for column in columns])
        for m in task.trained
    ]
    head = [
        Cell("Method"),
        *(Cell(f"{label(measure)} {show(x)}", (name,)) for name, x in wanted),
    ]
    return Table(head, rows, f"Network evaluations to reach a {label(measure).lower()}")


def _reached(one: Reach, compared: Estimate | None, base: bool) -> Cell:
    found = one.estimate
    if found is None:
        some = f"{len(one.evaluations)} of {one.seeds} seeds"
        return Cell(some if one.seeds > 1 else "not reached")
    if found.mean == 0:
        return Cell("0", ("from the start",))
    return Cell(whole(found.mean), _lines(span(found, whole), _times(compared, base)), base)


def _times(compared: Estimate | None, base: bool) -> str:
    """The ratio with its interval."""
    if compared is None:
        return "1 ×" if base else ""
    return f"{compared.mean:.2f} × {span(compared, lambda v: f'{v:.2f}')}".rstrip()


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
