"""Runs and rows of evaluations made up for the decisions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scoreward.records.run import (
    EachRecord,
    EvaluationRecord,
    KeptPictures,
    KeptTexts,
    Profile,
    RunAbout,
    RunProgress,
    RunSummary,
    SavedRun,
    Scores,
)


def rows(values: dict[str, Sequence[float | None]], round_: int = 0, **given: object) -> EachRecord:
    """One prompt a row unless told otherwise."""
    count = len(next(iter(values.values())))
    kept = {"unit": "pictures", "groups": list(range(count))} | given
    return EachRecord(round_, "ode", values=values, **kept)  # pyright: ignore


def run_of(
    judge: Sequence[float], reward: Sequence[float], count: int = 64, **given: object
) -> SavedRun:
    """Evaluations with these means; every row adds its own level, and noise of 0.05 a time."""
    rng, own = np.random.default_rng(9), np.linspace(-0.3, 0.3, count)
    each, found = [], []
    for i, means in enumerate(zip(reward, judge, strict=True)):
        noise = rng.normal(0, 0.05, (2, count))
        noise -= noise.mean(1, keepdims=True)
        table = np.asarray(means)[:, None] + own + noise
        each.append(rows(dict(zip(("reward", "judge"), table.tolist(), strict=True)), 10 * i))
        scores = Scores(dict(zip(("reward", "judge"), means, strict=True)))
        found.append(EvaluationRecord(RunProgress(10 * i, 1.0 * i), {"ode": scores}, {}))
    parts = {
        "folder": None, "about": RunAbout(status="finished"), "rounds": [], "evaluations": found,
        "health": [], "profile": Profile(), "pictures": KeptPictures([], [], 8, (16, 16), {}, {}),
        "texts": KeptTexts([], {}, {}), "summary": RunSummary(), "notes": [], "each": each,
    }  # fmt: skip
    return SavedRun(**(parts | {"folder": Path("runs/a")} | given))  # pyright: ignore
