"""Which curves the report shows; how they are drawn is in `figures`."""

from collections.abc import Callable, Sequence

from scoreward.records.fields import Series
from scoreward.records.run import RunProgress, SavedRun
from scoreward.report.figures import NARROW, Figure, Level, Line, chart
from scoreward.verdict.decisions import LIMITS
from scoreward.verdict.words import label, show

PANELS = 18  # most training curves on one page; ours
_COLOUR = {"reward": "reward", "judge": "judge", "strict": "strict"}
_SPARE = ("judge", "strict", "other", "extra", "muted")
_MEMBERS = ("judge", "reward", "strict", "other", "extra")  # colours of a family's members
_TOGETHER = ("ratio", "first/ratio", "clip")  # families that share one chart
_GUARDS = {"diversity": "strict", "nearest": "other", "palette": "judge"}
_AXES: tuple[tuple[str, Callable[[RunProgress], float | None]], ...] = (
    ("network evaluations", lambda at: at.total),
    ("seconds of training", lambda at: at.seconds),
)


def _colours(names: list[str]) -> dict[str, str]:
    """One colour per scorer, the known ones always the same."""
    spare = [c for c in _SPARE if c not in {_COLOUR.get(n) for n in names}] or ["muted"]
    rest = [n for n in names if n not in _COLOUR]
    return _COLOUR | {n: spare[i % len(spare)] for i, n in enumerate(rest)}


def _ending(name: str, x: Sequence[float | None], y: Series, colour: str, style: str = "-") -> Line:
    """A curve that says its last value."""
    last = next((v for v in reversed(y) if v is not None), None)
    return Line(f"{name} {show(last)}".lstrip(), x, y, colour, style)


def _drawn(figures: list[Figure]) -> list[Figure]:
    return [f for f in figures if f.svg]


def scores(run: SavedRun, sampler: str, names: list[str]) -> list[Figure]:
    """The scorers against network evaluations and against time, one row of charts per scale.

    Reward and judge answer the same question on the same scale, accuracies too.
    """
    pair = [n for n in names if n in ("reward", "judge")]
    alike = [n for n in names if n.endswith("accuracy")]
    rest = ([n] for n in names if n not in (*pair, *alike))
    figures = []
    for together in (group for group in (pair, alike, *rest) if group):
        title = " and ".join([label(together[0]), *together[1:]]).replace("_", " ")
        colours = _colours(together)
        for x_label, place in _AXES:
            x = [place(e.at) for e in run.evaluations]
            lines = [_ending(label(n), x, run.series(sampler, n), colours[n]) for n in together]
            if together[0] == names[0]:
                there = [place(r.at) for r in run.rounds]
                reward = [r.metrics.get("reward/mean") for r in run.rounds]
                lines.insert(0, Line("", there, reward, "reward", faint=True))
            svg = chart(f"{title} against {x_label}", lines, x_label)
            figures.append(Figure(f"{title} against {x_label.split(' of ')[0]}", svg))
    return _drawn(figures)


def gap(run: SavedRun, names: list[str]) -> list[Figure]:
    """SDE minus ODE at every evaluation."""
    x, paint = [e.at.round for e in run.evaluations], _colours(names)
    each = {n: [e.gap.get(n) for e in run.evaluations] for n in names}
    lines = [_ending(label(n), x, y, paint[n]) for n, y in each.items()]
    svg = chart("SDE minus ODE", lines, "round", [Level("no gap", 0.0)])
    return _drawn([Figure("Score under SDE minus score under ODE", svg)])


def guards(run: SavedRun, sampler: str) -> list[Figure]:
    """Diversity, nearest picture and palette, with their limits."""
    limits = {one.name: one.value for one in LIMITS}
    figures = []
    for name, colour in _GUARDS.items():
        y = run.series(sampler, name)
        start = next((v for v in y if v is not None), None)
        least = limits[name] * start if name in limits and start else None
        levels = [] if least is None else [Level(f"limit {show(least)}", least)]
        lines = [_ending("", [e.at.round for e in run.evaluations], y, colour)]
        svg = chart(f"{label(name)} by round", lines, "round", levels, NARROW)
        figures.append(Figure(label(name), svg))
    return _drawn(figures)


def versus(mine: SavedRun, other: SavedRun, sampler: str, names: list[str]) -> list[Figure]:
    """The same measure in two runs, one chart each."""
    figures = []
    for name in names:
        lines = [
            _ending(who, [e.at.total for e in run.evaluations], run.series(sampler, name), *look)
            for who, run, look in (
                ("this run", mine, ("judge",)),
                ("beside", other, ("alarm", "--")),
            )
        ]
        svg = chart(f"{label(name)}, two runs", lines, "network evaluations")
        figures.append(Figure(label(name), svg))
    return _drawn(figures)


def training(run: SavedRun) -> list[Figure]:
    """Every metric of the rounds; families such as ratio/min, /mean, /max share a chart."""
    families: dict[str, list[str]] = {}
    for key in dict.fromkeys(k for r in run.rounds for k in r.metrics):
        head = key.rpartition("/")[0]
        families.setdefault(head if head in _TOGETHER else key, []).append(key)
    x = [r.at.round for r in run.rounds]
    figures = []
    for title, members in list(families.items())[:PANELS]:
        lines = [
            _ending(
                m.split("/")[-1] if len(members) > 1 else "",
                x,
                [r.metrics.get(m) for r in run.rounds],
                colour,
            )
            for m, colour in zip(members, _MEMBERS, strict=False)
        ]
        name = title.replace("_", " ")
        figures.append(Figure(name, chart(f"{name} by round", lines, "round", size=NARROW)))
    return _drawn(figures)
