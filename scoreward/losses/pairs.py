"""What a language model and its reference said about pairs of completions; losses that read it."""

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scoreward.core.rows import Rows


def wide(value: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
    """In float32 or better."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def positive(**settings: "float | Tensor") -> None:
    """Refuse numbers that are not above 0; tensors are one number per pair and are not read."""
    for name, value in settings.items():
        if not isinstance(value, Tensor) and not value > 0:
            raise ValueError(f"`{name}` must be above 0, got {value}")


@dataclass(frozen=True)
class Pairs(Rows):
    """Pairs of completions, `_w` preferred to `_l`.

    Log-probabilities are summed over the completion (prompt and padding excluded), in nats;
    lengths count the same tokens. What a loss does not need may be absent.
    """

    logp_w: Float[Tensor, " batch"]  # the trained policy
    logp_l: Float[Tensor, " batch"]
    len_w: Int[Tensor, " batch"]
    len_l: Int[Tensor, " batch"]
    ref_w: Float[Tensor, " batch"] | None = None  # the frozen reference
    ref_l: Float[Tensor, " batch"] | None = None
    entropy_w: Float[Tensor, " batch"] | None = None  # of the reference, see tokens.mean_entropy
    entropy_l: Float[Tensor, " batch"] | None = None
    score_w: Float[Tensor, " batch"] | None = None  # from a reward model, in its units
    score_l: Float[Tensor, " batch"] | None = None
    weight_w: Float[Tensor, " batch"] | None = None  # see tokens.on_policy_weight
    weight_l: Float[Tensor, " batch"] | None = None
    logp_target: Float[Tensor, " batch"] | None = None  # of a third completion to imitate
    len_target: Int[Tensor, " batch"] | None = None

    def policy(self) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """log π of winner and loser."""
        return wide(self.logp_w), wide(self.logp_l)

    def reference(self) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """log π_ref of winner and loser, without gradient."""
        return _both(self.ref_w, self.ref_l, "ref")

    def entropies(self) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Mean normalised entropies of the reference, without gradient."""
        return _both(self.entropy_w, self.entropy_l, "entropy")

    def scores(self) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Scores of a reward model, without gradient."""
        return _both(self.score_w, self.score_l, "score")

    def weights(self) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """How much each completion counts, without gradient."""
        return _both(self.weight_w, self.weight_l, "weight")

    def lengths(self) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Numbers of tokens, as the log-probabilities' kind of number."""
        shortest = int(torch.minimum(self.len_w, self.len_l).min())
        if shortest < 1:
            raise ValueError(
                f"a completion has {shortest} tokens, expected at least 1; drop empty completions"
            )
        like = wide(self.logp_w)
        return self.len_w.to(like), self.len_l.to(like)

    def imitated(self) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """log π and length of the completion to imitate: the target if given, or the winner."""
        if self.logp_target is None or self.len_target is None:
            return self.policy()[0], self.lengths()[0]
        logp = wide(self.logp_target)
        return logp, self.len_target.to(logp)

    def log_ratios(self) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """log π/π_ref of winner and loser."""
        logp_w, logp_l = self.policy()
        ref_w, ref_l = self.reference()
        return logp_w - ref_w, logp_l - ref_l


def _both(
    winner: Float[Tensor, " batch"] | None, loser: Float[Tensor, " batch"] | None, name: str
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    if winner is None or loser is None:
        raise ValueError(f"this loss needs {name}_w and {name}_l of the pairs; they are absent")
    return wide(winner).detach(), wide(loser).detach()


@runtime_checkable
class PairLoss(Protocol):
    """A loss of each pair; `losses.language.PreferenceLoss` is one."""

    @property
    def beta(self) -> float: ...

    def __call__(self, pairs: Pairs) -> Float[Tensor, " batch"]: ...


@dataclass(frozen=True)
class TextLoss(ABC):
    """The settings of a published loss on pairs one by one; a class for each.

    >>> from scoreward.losses.methods import SimPO
    >>> SimPO(beta=2.5, gamma=0.5).loss().offset.gamma
    0.2
    """

    _: KW_ONLY
    tail: float = 1.0  # LD-DPO: how much tokens beyond the shorter completion count

    def __post_init__(self) -> None:
        self.loss()  # which refuses what is out of range

    @abstractmethod
    def loss(self) -> PairLoss:
        """What is computed."""
