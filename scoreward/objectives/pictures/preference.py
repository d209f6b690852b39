"""What preference methods on pictures share: one (t, ε) per pair, four errors, weights of pairs.

The same time and the same noise serve both pictures of a pair and both networks: what they have in
common then cancels in the margin. Errors are those of the network's own kind, the velocity of flow
models and ε of Stable Diffusion, in float32 or wider. A method writes `pairwise`.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.keys import Key, normal_each
from scoreward.core.policy import DiffusionPolicy
from scoreward.losses.diffusion import metrics
from scoreward.losses.diffusion_tensors import damped, loser_scale, released_loser_scale
from scoreward.losses.links import saturated
from scoreward.objectives.base import Needs, Objective, Samples
from scoreward.objectives.pictures.rows import (
    Chosen,
    Compared,
    PreferenceRows,
    Preferred,
    TimeLaw,
    compared,
    extremes,
    referred,
    side,
)


@dataclass(frozen=True)
class PreferenceObjective(Objective[Samples, PreferenceRows, DiffusionPolicy]):
    """The settings that methods on pairs share.

    `safeguard` is μ of Diffusion-SDPO: the loser's gradient is made so small that a step still
    lowers the winner's error at μ times the rate of the winner alone. Each pair has its own λ; the
    release has one for all pairs of a micro-batch, so that memory settings change its result.
    """

    beta: float = 2000.0  # the logit is −½βm, m in units of mean squared error
    times: TimeLaw = TimeLaw()
    safeguard: float | None = None  # μ, [sdpo]: 0.9 SD1.5, 0.6 SDXL, 0.2 with DSPO
    as_released: bool = False  # the safeguard, and an inversion, exactly as in public code

    refers: ClassVar[bool] = True
    """Whether the loss looks at the reference."""

    can_release: ClassVar[bool] = False
    """Whether there is more than the safeguard for `as_released` to change."""

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"`beta` must be above 0, got {self.beta}")
        if self.safeguard is not None and not 0 <= self.safeguard <= 1:
            raise ValueError(f"`safeguard` must lie in [0, 1], got {self.safeguard}")
        if self.as_released and self.safeguard is None and not self.can_release:
            raise ValueError(
                "`as_released` changes the `safeguard` and the inversions of InPO and SmPO, and "
                f"{type(self).__name__} has neither here; set `safeguard`, or leave it out"
            )

    @property
    def needs(self) -> Needs:
        """A row is a whole pair."""
        return Needs(together="prepared", answers=True, everyone=True)

    @property
    def keeps(self) -> bool:
        """Whether it needs the reference's whole answers."""
        return self.safeguard is not None

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> PreferenceRows:
        first, second = extremes(samples)
        cond = None if samples.cond is None else samples.cond[first]
        keys = [key / "pair" / group for group in samples.group[first].tolist()]
        drawn = [self.times.draw(k / "t", policy.process) for k in keys]
        t = torch.tensor(drawn, dtype=torch.float64).to(samples.x0)
        chosen = (Chosen(samples, at, t, cond, keys) for at in (first, second))
        sides = [side(one.x0, self.noise(one, policy), t, policy) for one in chosen]
        if (self.refers or self.keeps) and self.weighs_errors:
            sides = referred(sides, t, cond, policy, self.keeps)
        winner, loser = sides
        gap = samples.gap if isinstance(samples, Preferred) else None
        if not isinstance(samples, Preferred):
            gap = samples.reward[first] - samples.reward[second]
        elif gap is not None:
            gap = gap[first]
        gap = None if gap is None else gap.to(t)
        same, number = torch.full_like(t, self.beta), samples.sample[first]
        rows = PreferenceRows(winner, loser, cond, t, gap, same, torch.zeros_like(t), number)
        return self.weighed(rows, policy)

    @property
    def weighs_errors(self) -> bool:
        """Whether `weighed` needs the reference's errors of all pairs of the round."""
        return False

    def answered(self, rows: PreferenceRows, policy: DiffusionPolicy) -> PreferenceRows:
        if self.weighs_errors or not (self.refers or self.keeps):
            return rows
        sides = referred([rows.winner, rows.loser], rows.t, rows.cond, policy, self.keeps)
        return replace(rows, winner=sides[0], loser=sides[1])

    def noise(self, one: Chosen, policy: DiffusionPolicy) -> Float[Tensor, "pairs *shape"]:
        """ε of one picture of each pair; by default fresh, and of the pair."""
        if not one.keys:
            return one.x0
        return normal_each((k / "eps" for k in one.keys), tuple(one.x0.shape[1:])).to(one.x0)

    def weighed(self, rows: PreferenceRows, policy: DiffusionPolicy) -> PreferenceRows:
        """The rows with a β for each pair, once per round and on all processes."""
        return rows

    def loss(
        self, rows: PreferenceRows, policy: DiffusionPolicy
    ) -> tuple[Tensor, dict[str, Tensor]]:
        seen = compared(rows, policy.current, policy)
        told = self.told(seen)
        if self.safeguard is not None:
            scale_of = released_loser_scale if self.as_released else loser_scale
            scale = scale_of(seen.predictions, self.safeguard)
            told["safeguard/scale"] = scale.mean()
            # [sdpo] (scale): the loser's gradient alone, in the output, for any loss
            seen = replace(seen, loser=damped(seen.loser, scale))
        return self.pairwise(seen).mean(), told

    def told(self, seen: Compared) -> dict[str, Tensor]:
        """Metrics, means over the pairs.

        The ratio of the winner's error to the reference's is no mean over pairs, and is left to
        whoever reads the two.
        """
        winner, loser = (error.detach() for error in seen.each)
        plain = {"error/winner": winner.mean(), "error/loser": loser.mean()}
        if seen.rows.winner.error is None:
            agrees = ((loser - winner).sign() + 1) / 2
            return plain | {"error/accuracy": agrees.mean()}
        errors = seen.errors
        numbers = metrics(errors, 1.0)
        del numbers["error/winner_ratio"]
        logit = -0.5 * seen.rows.beta.detach() * errors.margin.detach()
        first = {
            "error/ref_winner": errors.ref_winner.mean(),
            "implicit/logit": logit.mean(),
            "logit/saturated": saturated(logit).mean(),
        }
        return plain | numbers | first

    @abstractmethod
    def pairwise(self, seen: Compared) -> Float[Tensor, " pairs"]:
        """One loss per pair."""
