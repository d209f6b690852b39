"""Which curves the report shows; how they are drawn is in `figures`."""

from dataclasses import dataclass

from markupsafe import Markup

from scoreward.report.figures import NARROW, Level, Line, chart
from scoreward.report.folder import Record, SavedRun, number, section, series, total
from scoreward.report.words import DIVERSITY_LIMIT, NEAREST_LIMIT, label, show

PANELS = 18  # most training curves on one page; ours
_COLOUR = {"reward": "reward", "judge": "judge", "strict": "strict"}
_SPARE = ("judge", "strict", "other", "extra", "muted")
_NOT_METRICS = ("kind", "round", "evaluations", "seconds", "wall")
_TOGETHER = ("ratio", "first/ratio", "clip")  # families that share one chart


@dataclass(frozen=True)
class Figure:
    """A drawn chart with what it shows."""

    title: str
    svg: Markup
    caption: str = ""


def colours(names: list[str]) -> dict[str, str]:
    """One colour per scorer, the known ones always the same."""
    spare = [c for c in _SPARE if c not in {_COLOUR.get(n) for n in names}] or ["muted"]
    rest = [n for n in names if n not in _COLOUR]
    return _COLOUR | {n: spare[i % len(spare)] for i, n in enumerate(rest)}


def rounds(records: list[Record]) -> list[float | None]:
    return [number(r.get("round")) for r in records]


def scores(run: SavedRun, sampler: str, names: list[str]) -> list[Figure]:
    """The scorers against network evaluations and against time, one row of charts per scale."""
    axes = [
        ("network evaluations", total),
        ("seconds of training", lambda r: number(r.get("seconds"))),
    ]
    figures = []
    for together in _by_scale(names):
        title = " and ".join([label(together[0]), *together[1:]]).replace("_", " ")
        for x_label, place in axes:
            lines = _score_lines(run, sampler, together, [place(e) for e in run.evaluations])
            if together[0] == names[0]:
                lines.insert(0, _in_training(run, [place(r) for r in run.rounds]))
            svg = chart(f"{title} against {x_label}", lines, x_label)
            figures.append(Figure(f"{title} against {x_label.split(' of ')[0]}", svg))
    return _drawn(figures)


def _by_scale(names: list[str]) -> list[list[str]]:
    """Reward and judge answer the same question on the same scale, accuracies too."""
    pair = [n for n in names if n in ("reward", "judge")]
    alike = [n for n in names if n.endswith("accuracy")]
    rest = ([n] for n in names if n not in (*pair, *alike))
    return [group for group in (pair, alike, *rest) if group]


def _in_training(run: SavedRun, x: list[float | None]) -> Line:
    return Line("", x, [number(r.get("reward/mean")) for r in run.rounds], "reward", faint=True)


def _score_lines(
    run: SavedRun, sampler: str, names: list[str], x: list[float | None]
) -> list[Line]:
    paint = colours(names)
    return [
        Line(f"{label(n)} {_last(y)}", x, y, paint[n])
        for n in names
        for y in [series(run, sampler, n)]
    ]


def _last(values: list[float | None]) -> str:
    return show(next((v for v in reversed(values) if v is not None), None))


def _drawn(figures: list[Figure]) -> list[Figure]:
    return [f for f in figures if f.svg]


def gap(run: SavedRun, names: list[str]) -> list[Figure]:
    """SDE minus ODE at every evaluation."""
    x, paint = rounds(run.evaluations), colours(names)
    lines = [
        Line(f"{label(n)} {_last(y)}", x, y, paint[n])
        for n in names
        for y in [[number(section(e, "gap").get(n)) for e in run.evaluations]]
    ]
    svg = chart("SDE minus ODE", lines, "round", [Level("no gap", 0.0)])
    return _drawn([Figure("Score under SDE minus score under ODE", svg)])


def guards(run: SavedRun, sampler: str) -> list[Figure]:
    """Diversity, nearest picture and palette, with their limits."""
    x = rounds(run.evaluations)
    rows = [
        ("diversity", "strict", DIVERSITY_LIMIT),
        ("nearest", "other", NEAREST_LIMIT),
        ("palette", "judge", None),
    ]
    figures = []
    for name, colour, limit in rows:
        y = series(run, sampler, name)
        start = next((v for v in y if v is not None), None)
        levels = [Level(f"limit {show(limit * start)}", limit * start)] if limit and start else []
        svg = chart(
            f"{label(name)} by round", [Line(_last(y), x, y, colour)], "round", levels, NARROW
        )
        figures.append(Figure(label(name), svg))
    return _drawn(figures)


def versus(mine: SavedRun, other: SavedRun, sampler: str, names: list[str]) -> list[Figure]:
    """The same measure in two runs, one chart each."""
    figures = []
    for name in names:
        here, there = series(mine, sampler, name), series(other, sampler, name)
        x, x_there = (list(map(total, run.evaluations)) for run in (mine, other))
        lines = [
            Line(f"this run {_last(here)}", x, here, "judge"),
            Line(f"beside {_last(there)}", x_there, there, "alarm", "--"),
        ]
        svg = chart(f"{label(name)}, two runs", lines, "network evaluations")
        figures.append(Figure(label(name), svg))
    return _drawn(figures)


def training(run: SavedRun) -> list[Figure]:
    """Every metric of the rounds; families such as ratio/min, /mean, /max share a chart."""
    keys = dict.fromkeys(
        k
        for r in run.rounds
        for k, v in r.items()
        if k not in _NOT_METRICS and number(v) is not None
    )
    families: dict[str, list[str]] = {}
    for key in keys:
        head = key.rpartition("/")[0]
        families.setdefault(head if head in _TOGETHER else key, []).append(key)
    x = rounds(run.rounds)
    figures = []
    for title, members in list(families.items())[:PANELS]:
        lines = [
            Line(_member(m, members, y), x, y, c)
            for m, c in zip(members, ("judge", "reward", "strict", "other", "extra"), strict=False)
            for y in [[number(r.get(m)) for r in run.rounds]]
        ]
        name = title.replace("_", " ")
        figures.append(Figure(name, chart(f"{name} by round", lines, "round", size=NARROW)))
    return _drawn(figures)


def _member(metric: str, members: list[str], y: list[float | None]) -> str:
    name = metric.split("/")[-1] + " " if len(members) > 1 else ""
    return name + _last(y)
