"""Losses on pairs or labelled completions that are no setting of `PreferenceLoss`.

a and b are the log-ratios log π/π_ref of winner and loser, summed over tokens; β is in 1/nats.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from scoreward.losses.links import divergence
from scoreward.losses.pairs import Pairs, TextLoss, positive, wide


@dataclass(frozen=True)
class Separate:
    """One of these losses with its numbers, as run.json has it; what it does not use is ignored."""

    name: Literal["sppo", "nca", "exo", "apo_zero", "apo_down", "discopop"]
    beta: float
    flip: float = 1e-3  # EXO's share of wrong labels
    tau: float = 0.05  # DiscoPOP's temperature, its authors'

    def __post_init__(self) -> None:
        positive(beta=self.beta)

    def __call__(self, pairs: Pairs) -> Float[Tensor, " batch"]:
        match self.name:
            case "exo":
                return exo(pairs, self.beta, self.flip)
            case "discopop":
                return discopop(pairs, self.beta, self.tau)
        plain = {"sppo": sppo, "nca": nca, "apo_zero": apo_zero, "apo_down": apo_down}
        return plain[self.name](pairs, self.beta)


def sppo(pairs: Pairs, beta: float) -> Float[Tensor, " batch"]:
    """(a − 1/(2β))² + (b + 1/(2β))².  [sppo] (hard)"""
    a, b = pairs.log_ratios()
    return (a - 1 / (2 * beta)).square() + (b + 1 / (2 * beta)).square()


@dataclass(frozen=True)
class SPPO(TextLoss):
    """Both completions are regressed to their win rates.  See `sppo`."""

    beta: float = 0.1  # inverse temperature, 1/nats

    def loss(self) -> Separate:
        return Separate("sppo", self.beta)


def nca(pairs: Pairs, beta: float) -> Float[Tensor, " batch"]:
    """−log σ(βa) − ½ log σ(−βa) − ½ log σ(−βb).  [nca] (pair)"""
    a, b = (beta * ratio for ratio in pairs.log_ratios())
    return -logsigmoid(a) - (logsigmoid(-a) + logsigmoid(-b)) / 2


@dataclass(frozen=True)
class NCA(TextLoss):
    """Noise-contrastive alignment on pairs.  See `nca`."""

    beta: float = 0.1  # inverse temperature, 1/nats

    def loss(self) -> Separate:
        return Separate("nca", self.beta)


def exo(pairs: Pairs, beta: float, flip: float) -> Float[Tensor, " batch"]:
    """KL from (σ(z), σ(−z)) to the labels (1−ε, ε), z = β(a − b).  [exo] (pair)"""
    if not 0 < flip < 1:
        raise ValueError(f"EXO's labels need a share of errors within (0, 1), got flip={flip}")
    a, b = pairs.log_ratios()
    return divergence(beta * (a - b), flip)


@dataclass(frozen=True)
class EXO(TextLoss):
    """Reverse KL to smoothed labels.  See `exo`."""

    beta: float = 0.1  # inverse temperature, 1/nats
    flip: float = 1e-3  # share of wrong labels

    def loss(self) -> Separate:
        return Separate("exo", self.beta, flip=self.flip)


def apo_zero(pairs: Pairs, beta: float) -> Float[Tensor, " batch"]:
    """1 − σ(βa) + σ(βb): the winner up, the loser down.  [apo] (zero)"""
    a, b = pairs.log_ratios()
    return (-beta * a).sigmoid() + (beta * b).sigmoid()


@dataclass(frozen=True)
class APOZero(TextLoss):
    """The winner up, the loser down.  See `apo_zero`."""

    beta: float = 0.1  # inverse temperature, 1/nats

    def loss(self) -> Separate:
        return Separate("apo_zero", self.beta)


def apo_down(pairs: Pairs, beta: float) -> Float[Tensor, " batch"]:
    """σ(βa) + 1 − σ(β(a − b)): both down, the loser more.  [apo] (down)"""
    a, b = pairs.log_ratios()
    return (beta * a).sigmoid() + (-beta * (a - b)).sigmoid()


@dataclass(frozen=True)
class APODown(TextLoss):
    """Both down, the loser more.  See `apo_down`."""

    beta: float = 0.1  # inverse temperature, 1/nats

    def loss(self) -> Separate:
        return Separate("apo_down", self.beta)


def bco(pairs: Pairs, beta: float, shift: float) -> Float[Tensor, " batch"]:
    """−log σ(βa − δ) − log σ(δ − βb), δ a running mean of the rewards.  [bco] (pair)"""
    a, b = pairs.log_ratios()
    return -logsigmoid(beta * a - shift) - logsigmoid(shift - beta * b)


def discopop(pairs: Pairs, beta: float, tau: float = 0.05) -> Float[Tensor, " batch"]:
    """−(1−μ) log σ(z) + μ e^(−z), μ = σ(z/τ), z = β(a − b).  [discopop] (loss)

    μ e^(−z) is one exponential, so that it vanishes and does not overflow where z is negative.
    """
    if not 0 < tau < 1:
        raise ValueError(f"expected tau within (0, 1), got {tau}")
    a, b = pairs.log_ratios()
    z = beta * (a - b)
    return (-z / tau).sigmoid() * -logsigmoid(z) + (logsigmoid(z / tau) - z).exp()


@dataclass(frozen=True)
class DiscoPOP(TextLoss):
    """A loss that was found by search.  See `discopop`."""

    beta: float = 0.1  # inverse temperature, 1/nats
    tau: float = 0.05  # its temperature

    def loss(self) -> Separate:
        return Separate("discopop", self.beta, tau=self.tau)


def aot_paired(pairs: Pairs, beta: float) -> Float[Tensor, " batch"]:
    """Logistic on sorted policy gaps less sorted reference gaps.  [aot] (paired)

    The result belongs to the batch: its entries are ranks, not pairs.
    """
    (logp_w, logp_l), (ref_w, ref_l) = pairs.policy(), pairs.reference()
    gap = (logp_w - logp_l).sort().values - (ref_w - ref_l).sort().values
    return -logsigmoid(beta * gap)


def aot_unpaired(pairs: Pairs, beta: float) -> Float[Tensor, " batch"]:
    """Logistic on sorted log-ratios of winners less those of losers.  [aot] (unpaired)"""
    a, b = pairs.log_ratios()
    return -logsigmoid(beta * (a.sort().values - b.sort().values))


def kto(
    log_ratio: Float[Tensor, " batch"],
    desirable: Bool[Tensor, " batch"],
    beta: float,
    baseline: Float[Tensor, ""],
    weight_desirable: float = 1.0,
    weight_undesirable: float = 1.0,
) -> Float[Tensor, " batch"]:
    """λ_D(1 − σ(β(u − z))) if desirable, λ_U(1 − σ(β(z − u))) if not.  [kto] (loss)

    u = log π/π_ref of one completion, z the baseline. λ_D n_D / (λ_U n_U) is advised to lie in
    [1, 4/3], n the numbers of examples.
    """
    gain = beta * (wide(log_ratio) - baseline.detach())
    up, down = (-gain).sigmoid(), gain.sigmoid()
    return torch.where(desirable, weight_desirable * up, weight_undesirable * down)


def kto_baseline(mismatched: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """z = max(0, mean log π/π_ref of completions under others' prompts).  [kto] (baseline)

    Give the log-ratios of all processes: they all have to use one z. Without gradient.
    """
    return wide(mismatched).detach().mean().clamp(min=0)
