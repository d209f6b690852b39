"""What is measured of gradients and steps every few rounds: signal, noise, size of a step.

The gradient of an update is a sum of contributions, one per micro-batch. If they are independent
estimates, their scatter says how much of the sum is noise.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scoreward.core.device import wide, widest
from scoreward.training.team import Team


class GradientParts:
    """Sum of squared norms of the contributions that `add` sees; nothing for no parameters."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = parameters
        self.before: list[Tensor] = []
        self.squares: list[float] = []

    def add(self) -> None:
        """Note what was added to the gradients since the last call."""
        if not self.parameters:
            return
        now = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in self.parameters]
        added = torch._foreach_sub(now, self.before) if self.before else now
        self.squares.append(square(added))
        self.before = now

    def metrics(self) -> dict[str, float]:
        """`gradient/signal_to_noise`: |E g|² over the variance of g, both as estimated.

        With K contributions cᵢ to g the variance of g is (Σ |cᵢ|² − |g|²/K) K/(K − 1) and the
        signal |g|² minus it.
        """
        count = len(self.squares)
        if count < 2:
            return {}
        whole = square(self.before)
        noise = (sum(self.squares) - whole / count) * count / (count - 1)
        return {"gradient/signal_to_noise": (whole - noise) / noise} if noise > 0 else {}


def square(tensors: Sequence[Tensor]) -> float:
    """Squared norm of all together."""
    return float(sum(wide(t).square().sum() for t in tensors))


def moved(
    before: Sequence[Tensor], parameters: Sequence[nn.Parameter], team: Team
) -> dict[str, float]:
    """Size of the step relative to the weights, and how far the processes' weights are apart."""
    step = square([p.detach() - b for p, b in zip(parameters, before, strict=True)])
    size = square(before)
    metrics = {"update/relative": (step / size) ** 0.5 if size else float(step > 0)}
    if team.size > 1:
        shadows = team.gather([shadow(parameters)])
        size = square([p.detach() for p in parameters]) ** 0.5
        metrics["weights/disagreement"] = (max(shadows) - min(shadows)) / max(size, 1e-12)
    return metrics


def shadow(parameters: Sequence[nn.Parameter]) -> float:
    """One number that changes with any weight: a projection on a fixed direction."""
    total: float | Tensor = 0.0
    for p in parameters:
        direction = torch.arange(p.numel(), device=p.device, dtype=widest(p.device)).cos()
        total = total + wide(p.detach().flatten()) @ direction
    return float(total)
