"""When training stops rather than to go on with broken numbers."""

from dataclasses import dataclass


class Diverged(RuntimeError):
    """Training was stopped because its numbers left the range where they mean anything.

    `metrics` are those of the round that was refused.

    >>> import scoreward as sw
    >>> try:
    ...     raise sw.Diverged("the loss became nan", {"loss": float("nan")})
    ... except sw.Diverged as error:
    ...     print(error, list(error.metrics))
    the loss became nan ['loss']
    """

    def __init__(self, sentence: str, metrics: dict[str, float] | None = None) -> None:
        super().__init__(sentence)
        self.metrics = metrics or {}


@dataclass(frozen=True)
class Guards:
    """When to stop rather than to go on with broken numbers.

    Example:
        >>> import scoreward as sw
        >>> sw.Guards(ratio_tolerance=1e-2).verify_every
        10
    """

    ratio_tolerance: float | None = None  # |ρ − 1| before the first update; default: by rounding
    ratio_limit: float = 10.0  # bounds max ρ above and mean ρ, ideally 1, below by 1/10; ours
    verify_every: int = 10  # rounds between real ratio checks when one update per round; ours
    preflight: bool = True  # try everything once, small, before a run starts; ours

    def __post_init__(self) -> None:
        if self.verify_every < 1 or (self.ratio_tolerance or 0.0) < 0 or self.ratio_limit <= 1:
            raise ValueError(
                "expected verify_every >= 1, ratio_tolerance >= 0 and ratio_limit > 1, got "
                f"{self.verify_every}, {self.ratio_tolerance} and {self.ratio_limit}"
            )
