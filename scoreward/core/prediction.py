"""What a network said about x_t, readable in any of the usual parameterisations.

Every target is a linear form a·x0 + b·ε, so one 2×2 solve against x_t = α x0 + σ ε converts any of
them into any other. There are five rows and no pairwise conversions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.process import Process

Kind = Literal["x0", "eps", "v", "velocity", "score"]
KINDS: tuple[Kind, ...] = ("x0", "eps", "v", "velocity", "score")


def per_sample(
    t: Float[Tensor, " batch"], like: Float[Tensor, "batch *shape"]
) -> Float[Tensor, "batch *ones"]:
    """One number per sample, reshaped so that it broadcasts against `like`."""
    if t.shape != like.shape[:1]:
        raise ValueError(
            f"expected one time per sample, shape {tuple(like.shape[:1])}, got {tuple(t.shape)}"
        )
    return t.reshape(-1, *[1] * (like.ndim - 1))


def linear_form(kind: Kind, process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
    """The (a, b) such that the target named `kind` is a·x0 + b·ε.

    `velocity` is α' x0 + σ' ε, the drift of the probability-flow ODE; `v` is α ε − σ x0; they
    differ for VP by the factor d(angle)/dt.
    """
    one, zero = torch.ones_like(t), torch.zeros_like(t)
    match kind:
        case "x0":
            return one, zero
        case "eps":
            return zero, one
        case "v":
            return -process.sigma(t), process.alpha(t)
        case "velocity":
            return process.d_alpha(t), process.d_sigma(t)
        case "score":
            return zero, -1 / process.sigma(t)
    raise ValueError(f"unknown prediction kind {kind!r}; expected one of {', '.join(KINDS)}")


@dataclass(frozen=True)
class Prediction:
    """A pair (x0, ε) consistent with x_t at time t; `as_` reads it in any parameterisation.

    `said` is what a network said in its own words, which need not be computed again.

    >>> import torch
    >>> import scoreward as sw
    >>> x_t, t, velocity = torch.ones(1, 2), torch.tensor([0.5]), torch.full((1, 2), 2.0)
    >>> said = sw.Prediction.of("velocity", velocity, x_t, t, sw.RectifiedFlow())
    >>> said.x0, said.as_("score")
    (tensor([[0., 0.]]), tensor([[-4., -4.]]))
    """

    x_t: Float[Tensor, "batch *shape"]
    t: Float[Tensor, " batch"]
    x0: Float[Tensor, "batch *shape"]
    eps: Float[Tensor, "batch *shape"]
    process: Process
    said: tuple[Kind, Float[Tensor, "batch *shape"]] | None = None

    @classmethod
    def of(
        cls,
        kind: Kind,
        output: Float[Tensor, "batch *shape"],
        x_t: Float[Tensor, "batch *shape"],
        t: Float[Tensor, " batch"],
        process: Process,
    ) -> "Prediction":
        """Solve a·x0 + b·ε = output, α x0 + σ ε = x_t.

        Undetermined (infinite) where α b = σ a: the ε and score kinds at α = 0, the x0 kind at
        σ = 0. The velocity kind is determined everywhere on rectified flow.
        """
        time = per_sample(t, x_t)
        alpha, sigma = process.coefficients(time)
        a, b = linear_form(kind, process, time)
        det = alpha * b - sigma * a
        x0 = output if kind == "x0" else (b * x_t - sigma * output) / det
        eps = output if kind == "eps" else (alpha * output - a * x_t) / det
        return cls(x_t, t, x0, eps, process, (kind, output))

    def detach(self) -> "Prediction":
        """The same numbers without gradients."""
        said = None if self.said is None else (self.said[0], self.said[1].detach())
        x0, eps = self.x0.detach(), self.eps.detach()
        return Prediction(self.x_t.detach(), self.t, x0, eps, self.process, said)

    def as_(self, kind: Kind) -> Float[Tensor, "batch *shape"]:
        """The target named `kind`: a·x0 + b·ε."""
        if self.said is not None and self.said[0] == kind:
            return self.said[1]
        a, b = linear_form(kind, self.process, per_sample(self.t, self.x_t))
        return a * self.x0 + b * self.eps

    def joined(self, parts: "Sequence[Prediction]") -> "Prediction":
        """All parts, of which this is the first, as one batch."""
        names = ("x_t", "t", "x0", "eps")
        x_t, t, x0, eps = (torch.cat([getattr(p, name) for p in parts]) for name in names)
        words = [p.said for p in parts if p.said is not None and self.said is not None]
        said = None
        if self.said is not None and len(words) == len(parts):
            said = (self.said[0], torch.cat([answer for _, answer in words]))
        return Prediction(x_t, t, x0, eps, self.process, said)
