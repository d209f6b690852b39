"""What pieces and processes say, as one answer: metrics of an update, numbers of all items."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from torch import Tensor

from scoreward.training.team import Team

T = TypeVar("T")


def in_pieces(
    mine: Sequence[int], batch: int, ask: Callable[[Sequence[int]], Iterable[T]], team: Team
) -> list[T]:
    """What is said of the items of all processes, by number; each asks of `batch` at once."""
    found: list[tuple[int, T]] = []
    for start in range(0, len(mine), batch):
        some = mine[start : start + batch]
        found += zip(some, ask(some), strict=True)
    return [said for _, said in sorted(team.gather(found))]


def detached(
    answers: list[tuple[int, dict[str, Tensor]]],
) -> list[tuple[int, dict[str, float]]]:
    """Metrics as numbers, with the number of rows they are means over."""
    return [(rows, {k: float(v) for k, v in metrics.items()}) for rows, metrics in answers]


def combined(answers: list[tuple[int, dict[str, float]]]) -> dict[str, float]:
    """One number per metric: extremes of …/min and …/max, row-weighted means of the rest."""
    result: dict[str, float] = {}
    total = sum(rows for rows, _ in answers)
    for name in answers[0][1] if answers else ():
        values = [metrics[name] for _, metrics in answers]
        if name.endswith(("/min", "/max")):
            result[name] = (min if name.endswith("/min") else max)(values)
        else:
            weighted = [rows * v for (rows, _), v in zip(answers, values, strict=True)]
            result[name] = sum(weighted) / total
    return result
