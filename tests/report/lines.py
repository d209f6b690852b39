"""Lines of curves.jsonl made up for the comparison, with round numbers to compute by hand."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scoreward.report.comparison.comparison import TaskRuns, tasks
from scoreward.report.comparison.inputs import read_inputs


def line(
    method: str,
    reward: Sequence[float | None],
    seed: int = 0,
    step: int = 100,
    **more: Any,
) -> dict[str, Any]:
    """One run evaluated every `step` network evaluations, ten of them a second."""
    evaluations = [step * i for i in range(len(reward))]
    length = len(reward)
    return {
        "task": "toy", "method": method, "seed": seed, "settings": {},
        "evaluations": evaluations, "seconds": [e / 10 for e in evaluations],
        "reward": list(reward), "judge": list(reward), "strict": list(reward),
        "drift": [0.01 * i for i in range(length)],
        "diversity": [2.0 - 0.5 * i for i in range(length)],
    } | more  # fmt: skip


def write(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def task_of(path: Path, *lines: dict[str, Any], sampler: str = "ode") -> TaskRuns:
    """The only task of some lines, read from a file as a user would give it."""
    (task,) = tasks(read_inputs([write(path / "curves.jsonl", *lines)], sampler))
    return task


FAST = [line("fast", [0.0, 1.0], 0), line("fast", [0.0, 0.5, 1.0], 1)]  # 0.5 after 50 and 100
SLOW = [line("slow", [0.0, 0.25, 0.5, 1.0], 0), line("slow", [0.0, 0.5, 1.0], 1)]  # 200 and 100
LOST = [line("lost", [0.0, 0.2], 0), line("lost", [0.0, 0.6], 1)]  # never, and 500/6
