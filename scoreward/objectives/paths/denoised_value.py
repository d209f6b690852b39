"""V(t, x, c): the reward to expect from a noisy state, built on its denoised prediction.

V = c_skip(t) r(x0hat, c) + c_out(t) F(t, x, c), with c_skip = 1 and c_out = 0 on clean data, so
that V is the reward there whatever F says. r is any reward, asked as a black box; F is a small MLP.
`objectives/paths/critic.py` fits it.
"""

from dataclasses import dataclass
from math import pi
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from scoreward.core.keys import Key
from scoreward.objectives.paths.visited import States

Skip = Literal["cosine", "one_minus_cosine", "linear"]
WAVES = (1, 2, 4)


@dataclass(frozen=True)
class DenoisedValue:
    """The form of V and how it is fitted.

    The published code has skip "cosine" whatever was asked for, branches "mixed", told off, one
    pass with AdamW at 1e-7 (its F is a copy of the reward's own network) and Monte Carlo learning.
    """

    skip: Skip = "cosine"  # code
    branches: Literal["mixed", "denoised", "noisy"] = "mixed"  # what r sees and what F sees; code
    told: bool = True  # F also reads what r said; ours
    hidden: int = 128  # width of F, ours
    learning: Literal["monte_carlo", "martingale", "orthogonality"] = "monte_carlo"  # code
    rate: float = 1e-3  # of AdamW, ours
    decay: float = 0.01  # of the weights, code
    passes: int = 2  # over the states of a round, ours
    first_passes: int = 20  # the same in the first round, ours
    batches: int = 4  # updates in a pass, ours

    def __post_init__(self) -> None:
        for name in ("hidden", "passes", "first_passes", "batches"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")

    def sizes(self, width: int) -> list[tuple[int, ...]]:
        """Shapes of F's weights for states of so many numbers."""
        hidden, inside = self.hidden, width + 1 + 2 * len(WAVES) + self.told
        return [(hidden, inside), (hidden,), (hidden, hidden), (hidden,), (1, hidden), (1,)]

    def start(self, width: int, key: Key) -> Float[Tensor, " weights"]:
        """Random first layers, in which state and scalars weigh alike, and a last layer of 0."""
        (hidden, inside), _, square, *_ = sizes = self.sizes(width)
        first = (key / 0).normal(hidden, inside)
        first[:, :width] *= max(1, width) ** -0.5
        first[:, width:] *= (inside - width) ** -0.5
        drawn = [first, torch.zeros(hidden), (key / 1).normal(*square) * hidden**-0.5]
        rest = [torch.zeros(shape) for shape in sizes[3:]]
        return torch.cat([w.flatten() for w in (*drawn, *rest)])

    def of(self, states: States, weights: Tensor, unit: Tensor) -> Float[Tensor, " states"]:
        """V of states.  [score-as-action] (value network)

        m + s·(c_skip r + c_out F) for rewards in the unit (r − m)/s, which is exactly r at t = 0.
        The published code has the constants of its one reward as m and s.
        """
        mean, spread = unit.tolist()
        t, told = states.t[:, None], ((states.first - mean) / spread)[:, None]
        angles = [pi * k * t for k in WAVES]
        parts = [states.inputs, t, *(a.cos() for a in angles), *(a.sin() for a in angles)]
        inputs = torch.cat([*parts, told] if self.told else parts, 1)
        said = network(weights.to(inputs), self.sizes(states.inputs.shape[1]), inputs)
        c_skip, c_out = weights_of(self.skip, states.t)
        return c_skip * states.first + (1 - c_skip) * mean + spread * c_out * said


def weights_of(skip: Skip, t: Tensor) -> tuple[Tensor, Tensor]:
    """(c_skip, c_out) at a time.  [score-as-action] (value network)

    Cosine: cos(πt/2) and sin(πt/2); the alternatives are 1 − cos(πt/2) for c_out, and 1 − t and t.
    """
    if skip == "linear":
        return 1 - t, t
    shrinks = torch.cos(pi * t / 2)
    return shrinks, torch.sin(pi * t / 2) if skip == "cosine" else 1 - shrinks


def network(flat: Tensor, sizes: list[tuple[int, ...]], inputs: Tensor) -> Float[Tensor, " rows"]:
    """F: two hidden layers, with all weights in one vector and without reduced precision."""
    pieces = flat.split([torch.Size(shape).numel() for shape in sizes])
    one, a, two, b, three, c = (w.reshape(s) for w, s in zip(pieces, sizes, strict=True))
    with torch.autocast(inputs.device.type, enabled=False):
        hidden = F.silu(F.linear(F.silu(F.linear(inputs, one, a)), two, b))
        return F.linear(hidden, three, c)[:, 0]
