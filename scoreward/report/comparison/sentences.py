"""What a comparison says in words: who is ahead, and what makes the comparison weaker."""

from scoreward.report.comparison.comparison import BUDGETS, STARTS, MethodRuns, TaskRuns
from scoreward.report.comparison.tables import judged, span, whole
from scoreward.verdict.decisions import Moved, ends, moves
from scoreward.verdict.outcome import hacked
from scoreward.verdict.statistics import Estimate
from scoreward.verdict.words import label, plural, show

NAMED = 3  # methods listed in a headline; ours
FEW = 5  # seeds from which intervals are not called too narrow; ours


def title(found: list[TaskRuns]) -> str:
    names = ", ".join(t.name for t in found)
    return f"{names}: {plural(len({m.name for t in found for m in t.methods}), 'method')} compared"


def facts(found: list[TaskRuns], sampler: str) -> list[str]:
    """The line under the title."""
    return [
        plural(len(found), "task"),
        plural(len({m.name for t in found for m in t.methods}), "method"),
        plural(sum(len(t.curves) for t in found), "run"),
        f"{sampler.upper()} sampling",
        "95 % bootstrap intervals over seeds",
    ]


def ranked(task: TaskRuns, measure: str) -> list[tuple[MethodRuns, Estimate]]:
    """Trained methods by a measure at equal evaluations, the highest first."""
    found = [(m, m.at(measure, task.budget)) for m in task.trained]
    known = [(m, e) for m, e in found if e is not None]
    return sorted(known, key=lambda pair: -pair[1].mean)


def headline(task: TaskRuns) -> str:
    """Who has the highest judge, said only as firmly as the intervals allow."""
    measure = judged(task)
    order = ranked(task, measure)
    name = label(measure).lower()
    if len(order) < 2:
        return "One method: nothing to compare it with."
    best, first = order[0]
    apart = [first.overlaps(e) for _, e in order[1:]]
    if all(a is False for a in apart):
        return f"{best.name} has the highest {name}, with an interval apart from all others."
    if not any(apart):
        moved = of_runs(best, order[1][0], measure)
        if moved is None or moved.side == "unknown":
            return f"{best.name} has the highest {name}; single seeds cannot tell by how much."
        return (
            f"{best.name} has the highest {name}. One seed each, so this is of two runs and not of "
            f"methods: {moved.told} against {order[1][0].name}, {moved.word}."
        )
    tied = [m.name for (m, _), a in zip(order[1:], apart, strict=True) if a]
    more = f" and {len(tied) - NAMED} more" if len(tied) > NAMED else ""
    listed = ", ".join(tied[:NAMED])
    return f"{best.name} has the highest {name}; not told apart from {listed}{more}."


def of_runs(best: MethodRuns, other: MethodRuns, measure: str) -> Moved | None:
    """The ends of two single runs compared on the prompts that both were measured on."""
    curves = [*other.curves, *best.curves]
    known = [(c.run, c.sampler) for c in curves if c.run is not None]
    budgets = sorted(c.budget for c in curves)
    if not len(curves) == len(known) == 2 or budgets[1] > budgets[0] * BUDGETS:
        return None
    last = [[e for e in r.each if (e.round, e.sampler) == (r.last_round, s)] for r, s in known]
    return moves(last[0], last[1], known[0][0].unseen).get(measure)


def found(task: TaskRuns) -> list[str]:
    """The leaders at equal evaluations, the judge first; and what was had without training."""
    if task.budget is None:
        return ["No run was trained."]
    said = [f"After {whole(task.budget)} network evaluations, which every trained run has made:"]
    parts = []
    for name in (n for n in ("judge", "reward") if n in task.measures()):
        order = ranked(task, name)
        if order:
            (best, e), start = order[0], task.start(name)
            before = "" if start is None else f", {show(start)} before training"
            leads = f"the highest {label(name).lower()} is that of {best.name}"
            parts.append(f"{leads}, {show(e.mean)} {span(e)}".rstrip() + before)
    name = judged(task)
    return [
        *said,
        "; ".join(parts) + ".",
        *(
            f"Without training, {m.name} has a {label(name).lower()} of {show(e.mean)}."
            for m in task.methods
            if not m.trained and (e := m.at(name)) is not None
        ),
    ]


def budgets_differ(task: TaskRuns) -> bool:
    spent = [c.budget for m in task.trained for c in m.curves]
    return bool(spent) and max(spent) > BUDGETS * min(spent)


def warnings(task: TaskRuns) -> list[str]:
    """What makes this comparison less fair or less certain than it looks."""
    said, apart = [], []
    for name in (n for n in ("reward", "judge", "strict", "diversity") if n in task.measures()):
        best, start, spread = task.best_end(name), task.start(name), task.start_spread(name)
        gain = abs(best - start) if best is not None and start is not None else 0.0
        if spread > max(STARTS * gain, 1e-6):  # the first values should be those of one base model
            apart.append(f"{label(name).lower()} by up to {show(spread)}")
    if apart:
        said.append(
            f"The runs do not start alike ({', '.join(apart)}): other base models or other "
            "held-out prompts. Compare gains rather than ends."
        )
    if budgets_differ(task):
        spent = sorted((c.budget, m.name) for m in task.trained for c in m.curves)
        said.append(
            f"Budgets differ by more than 5 %: {spent[0][1]} ends after {whole(spent[0][0])} "
            f"network evaluations, {spent[-1][1]} after {whole(spent[-1][0])}. A learning rate "
            "that decays to the end of its own budget favours the run that ends earlier "
            "at the point where both are compared."
        )
    single = [m.name for m in task.trained if len(m.curves) == 1]
    few = [m.name for m in task.trained if 1 < len(m.curves) < FEW]
    if single:
        said.append(f"One seed only, so no interval: {', '.join(single)}.")
    if few:
        said.append(f"Fewer than five seeds, so intervals are too narrow: {', '.join(few)}.")
    runs = [(c.source, c.run.about.status) for c in task.curves if c.run is not None]
    for curve in task.curves:
        hack = ends(curve.run, curve.sampler).hacked if curve.run is not None else None
        said += [f"{curve.source}: {hacked(hack.reward, hack.judge)}"] if hack else []
    open_ = [f"{source} ({status})" for source, status in runs if status not in ("", "finished")]
    return [*said, f"Not finished: {', '.join(open_)}."] if open_ else said


def notes(task: TaskRuns) -> list[str]:
    """What could not be read."""
    return [f"{c.source}: {n}" for c in task.curves if c.run is not None for n in c.run.notes]
