"""The tables of README.md, from the committed files, written into it between its marks.

python -m benchmarks.online.tables
"""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np

from scoreward.verdict.statistics import Estimate, estimate, first_reach, ratio

HERE = Path(__file__).parent
CLAIMS = (  # ours, theirs, what is published
    ("vgrpo", "mixgrpo", "2 × fewer iterations, about 2.4 × by evaluations"),
    ("vgrpo", "diffusion_nft", "3 × fewer steps, about 6.5 × by evaluations"),
    ("vgrpo", "diffusion_nft_4", "the same with four pairs instead of the grid: not published"),
    ("mixgrpo", "dance_grpo", "higher reward at equal iterations"),
    ("mixgrpo", "flow_grpo", "higher reward at equal iterations"),
    ("mixgrpo_flash", "mixgrpo", "faster iterations, slightly lower reward"),
    ("swift", "vgrpo", "ours: at most half"),
    ("swift_direct", "vgrpo", "ours, with a reward that has a gradient: at most half"),
)
LEVELS = {"portraits": (0.6, 0.7, 0.8), "lettering": (0.4, 0.45, 0.5), "toy": (-0.8, -0.6)}
MEASURE = {"portraits": "strict", "lettering": "strict", "toy": "reward"}
TASKS = tuple(MEASURE)

Lines = dict[str, list[dict]]


def read(name: str, task: str) -> Lines:
    """Lines of a task by method."""
    path, found = HERE / f"{name}.jsonl", defaultdict(list)
    for text in path.read_text().splitlines() if path.exists() else ():
        line = json.loads(text)
        if line["task"] == task:
            found[line["method"]].append(line)
    return dict(found)


def shown(value: Estimate, digits: int = 3) -> str:
    """mean [low, high]"""
    if value.interval is None:
        return f"{value.mean:.{digits}f}"
    low, high = value.interval
    return f"{value.mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def finals(task: str, lines: Lines) -> None:
    """The end of every method, best first."""
    key = MEASURE[task]
    order = sorted(lines, key=lambda m: -np.mean([x[key][-1] for x in lines[m]]))
    names = [n for n in ("reward", "judge", "strict", "regret") if n in lines[order[0]][0]]
    rows = []
    for method in order:
        seeds = lines[method]
        cells = [method, str(len(seeds))]
        cells += [
            shown(estimate([x[n][-1] for x in seeds])) if n in seeds[0] else "–" for n in names
        ]
        for name in ("diversity", "nearest"):
            start = lines["vgrpo"][0][name][0] if name in lines["vgrpo"][0] else None
            cells.append(
                "–" if start is None else shown(estimate([x[name][-1] / start for x in seeds]), 2)
            )
        cells.append(
            shown(estimate([x["drift"][-1] for x in seeds])) if "drift" in seeds[0] else "–"
        )
        cells.append(f"{np.mean([x['evaluations'][-1] for x in seeds]):,.0f}")
        cells.append(f"{np.mean([x['seconds'][-1] for x in seeds]):,.0f}")
        rows.append(cells)
    head = [
        "method",
        "seeds",
        *names,
        "diversity / base",
        "nearest / base",
        "drift",
        "evaluations",
        "seconds",
    ]
    table(head, rows)


def reached(lines: Lines, method: str, key: str, level: float) -> list[float] | None:
    """Evaluations to a level, if every seed reaches it."""
    found = [
        first_reach(np.array(x["evaluations"], float), np.array(x[key], float), level)
        for x in lines.get(method, [])
    ]
    return None if not found or None in found else [v for v in found if v is not None]


def claims(task: str, lines: Lines) -> None:
    """How many evaluations theirs needs for one of ours, level by level."""
    key, rows = MEASURE[task], []
    for ours, theirs, published in CLAIMS:
        if not {ours, theirs} <= lines.keys():
            continue
        cells = [f"{ours} against {theirs}", published]
        for level in LEVELS[task]:
            a, b = (reached(lines, m, key, level) for m in (ours, theirs))
            missing = [m for m, found in ((ours, a), (theirs, b)) if not found]
            cells.append(shown(ratio(b, a), 2) if a and b else f"not all seeds of {missing[0]}")
        rows.append(cells)
    table(["claim", "published", *(f"theirs / ours at {key} {lv}" for lv in LEVELS[task])], rows)


def samplers(lines: Lines) -> None:
    """Strict success of the first seed under many samplers."""
    rows = []
    for method, seeds in lines.items():
        swept = [x["samplers"] for x in seeds if x.get("samplers")]
        if swept:
            rows.append([method, *(f"{swept[0][n]['strict']:.3f}" for n in swept[0])])
    if rows:
        names = next(x["samplers"] for s in lines.values() for x in s if x.get("samplers"))
        table(["method", *names], rows)


def costs() -> None:
    """costs.json as a table."""
    path = HERE / "costs.json"
    rows = [
        [
            line["method"],
            *(f"{line[k] / 64:.1f}" for k in ("behaviour", "training_forward", "evaluations")),
            f"{line['seconds']:.2f}",
            f"{1e3 * line['seconds'] / line['evaluations']:.2f}",
            f"{line['share_in_network']:.1%}",
            f"{line['peak_gib']:.2f}",
        ]
        for line in json.loads(path.read_text())
    ]
    head = [
        "method",
        "behaviour",
        "trained",
        "evaluations",
        "CPU s a round",
        "ms an evaluation",
        "in network",
        "peak GiB",
    ]
    table(head, rows)


def tuning(task: str) -> None:
    """Every trial."""
    rows = []
    for method, trials in read("tuning", task).items():
        best = max(trials, key=lambda x: x["score"])
        for x in trials:
            mark = "**" if x is best else ""
            rows.append(
                [
                    method,
                    f"`{x['words']}`",
                    f"{mark}{x['final']:.3f}{mark}",
                    f"{x['diversity_kept']:.2f}",
                ]
            )
    table(["method", "options", "final", "diversity / base"], rows)


def ablations() -> None:
    """The learning part of the ablations, on validation prompts at half the budget."""
    found = read("ablations", "portraits")
    if not found:
        return
    rows, base = [], found["vgrpo"][0]["diversity"][0] if "vgrpo" in found else None
    for name, seeds in found.items():
        ends = [shown(estimate([x[k][-1] for x in seeds])) for k in ("reward", "judge", "strict")]
        start = base or seeds[0]["diversity"][0]
        kept = shown(estimate([x["diversity"][-1] / start for x in seeds]), 2)
        spent = f"{np.mean([x['evaluations'][-1] for x in seeds]):,.0f}"
        rounds = f"{np.mean([x['rounds'] for x in seeds]):.0f}" if "rounds" in seeds[0] else "–"
        rows.append([name, str(len(seeds)), *ends, kept, spent, rounds])
    head = ["variant", "seeds", "reward", "judge", "strict", "diversity / base", "evaluations"]
    table([*head, "rounds"], rows)


def everyone() -> None:
    """everyone.jsonl, best first."""
    lines = [json.loads(x) for x in (HERE / "everyone.jsonl").read_text().splitlines()]
    rows = []
    for x in sorted(lines, key=lambda x: -x["strict"][-1]):
        cells = [f"{x[k][-1]:.3f}" for k in ("reward", "judge", "strict")]
        cells += [f"{x[k][-1] / x[k][0]:.2f}" for k in ("diversity", "nearest")]
        cells += [f"{x['drift'][-1]:.3f}", f"{x['evaluations']:,}", f"{x['seconds']:.0f}"]
        cells += [f"{x['share_in_network']:.1%}", f"{x['peak_gib']:.2f}"]
        rows.append([x["method"], *cells])
    head = ["method", "reward", "judge", "strict", "diversity / base", "nearest / base", "drift"]
    table([*head, "evaluations", "seconds", "in network", "peak GiB"], rows)


def parts() -> dict[str, str]:
    """Every table by the name of its mark."""
    makers: dict[str, Callable[[], None]] = {"ablations": ablations, "everyone": everyone}
    if (HERE / "costs.json").exists():
        makers["costs"] = costs
    for task in TASKS:
        if lines := read("curves", task):
            makers[f"finals {task}"] = partial(finals, task, lines)
            makers[f"claims {task}"] = partial(claims, task, lines)
            makers[f"samplers {task}"] = partial(samplers, lines)
            makers[f"tuning {task}"] = partial(tuning, task)
    written = {}
    for name, make in makers.items():
        with redirect_stdout(StringIO()) as text:
            make()
        written[name] = text.getvalue().strip()
    return written


def main() -> None:
    page = HERE / "README.md"
    text = page.read_text(encoding="utf-8")
    for name, content in parts().items():
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if start in text:
            before, rest = text.split(start)
            text = f"{before}{start}\n{content}\n{end}{rest.split(end)[1]}"
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
