"""Pairs under the network that learns and under the reference: answers and the four errors."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.denoiser import Denoiser
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.rows import join
from scoreward.losses.diffusion import Errors, mean_error
from scoreward.losses.diffusion_tensors import Predictions
from scoreward.objectives.pictures.rows import PreferenceRows


@dataclass(frozen=True)
class Compared:
    """A batch of pairs under the network that learns and under the reference."""

    rows: PreferenceRows
    winner: Float[Tensor, "pairs *shape"]
    loser: Float[Tensor, "pairs *shape"]
    targets: tuple[Tensor, Tensor]

    @property
    def each(self) -> tuple[Float[Tensor, " pairs"], Float[Tensor, " pairs"]]:
        """ℓ of the winner and of the loser."""
        return mean_error(self.winner, self.targets[0]), mean_error(self.loser, self.targets[1])

    @property
    def errors(self) -> Errors:
        """The four ℓ."""
        first, second = self.rows.winner.error, self.rows.loser.error
        if first is None or second is None:
            raise ValueError("the errors of the reference were not asked for in `prepare`")
        return Errors(*self.each, first, second)

    @property
    def predictions(self) -> Predictions:
        """Whole answers of both networks."""
        first, second = self.rows.winner.answer, self.rows.loser.answer
        if first is None or second is None:
            raise ValueError("the answers of the reference were not kept in `prepare`")
        return Predictions(self.winner, self.loser, first, second, *self.targets)


def compared(rows: PreferenceRows, network: Denoiser, policy: DiffusionPolicy) -> Compared:
    """Both pictures of every pair through one network, in one call."""
    both = torch.cat([rows.winner.x_t, rows.loser.x_t]), torch.cat([rows.t, rows.t])
    answers = network(*both, join([rows.cond, rows.cond])).as_(policy.kind)
    winner, loser = answers.chunk(2)
    targets = rows.winner.target(policy, rows.t), rows.loser.target(policy, rows.t)
    return Compared(rows, winner, loser, targets)
