"""[reward-gap]: bounds on a reward gap that need less than the two output laws.

All derived by us. The coupling has the shape that reviewers report of the paper's general theorem;
on Gaussian data, where the truth is known, it is tens of times too large.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.theory.gaussian import (
    F64,
    GaussianLaw,
    Levels,
    Number,
    clock_ratio,
    exact,
    marginals,
    output,
    start_kl,
)
from scoreward.theory.path_kl import gaussian_path_kl
from scoreward.theory.reward_gap import GapSetting


def kantorovich(lipschitz: float, noisy: GaussianLaw, ode: GaussianLaw) -> Float[Tensor, "*sets"]:
    """|Δ| ≤ Lip(r) W1 ≤ Lip(r) W2; W1 is used in one dimension.  [reward-gap] (Kantorovich)"""
    return lipschitz * (noisy.w1(ode) if noisy.dim == 1 else noisy.w2(ode))


def output_kl_bound(
    model: GaussianLaw, data: GaussianLaw, start: GaussianLaw, levels: Levels, eta: Number
) -> Float[Tensor, "*sets"]:
    """KL(output ‖ data) ≤ KL(start ‖ p_T) + KL of paths, nats.  [reward-gap] (KL bound)

    The output is that of the sampler at η > 0 with the exact score of another law, the model.
    """
    return start_kl(data, start, levels) + gaussian_path_kl(model, data, start, levels, eta)


def pinsker(spread: float, kl_noisy: Tensor, kl_ode: Tensor) -> Float[Tensor, "*sets"]:
    """|Δ| ≤ (max r − min r)(√(KL/2) + √(KL′/2)) for a bounded reward.  [reward-gap] (KL bound)

    KL of each sampler's output from one and the same law; `spread` is max r − min r.
    """
    return spread * ((kl_noisy / 2).sqrt() + (kl_ode / 2).sqrt())


@dataclass(frozen=True)
class Coupling:
    """Distances between SDE and ODE output, the smallest first, in the units of x.

    `truth` is W2 of the output laws; `coupled` is √E|D|² when both samplers share start and score;
    `bound` is what Young's and Grönwall's inequalities make of it.
    """

    truth: Float[Tensor, "*sets"]
    coupled: Float[Tensor, "*sets"]
    bound: Float[Tensor, "*sets"]


def coupling(setting: GapSetting, eta: Number) -> Coupling:
    """The three distances on Gaussian data.  [reward-gap] (coupling)

    With D = Y − Z and V = Var x_t: d E|D|²/dτ = (−2f − (1 + η²) g²/V) E|D|² + η² g² (d − E⟨D, Z −
    α m⟩/V). Young with weights ½ and ½ on the last term gives Grönwall a closed form in v = V/α²,
    because E|Z − α m|²/V does not change along the ODE.
    """
    data, start, ends = setting.data, setting.start, setting.levels.ends()
    noisy, ode = exact(data, ends, eta), exact(data, ends, 0.0)
    second = setting.offset.square().sum(-1) + data.dim * start.variance
    apart = (noisy.slope - ode.slope)[..., 0] ** 2
    total = marginals(data, ends)
    power = torch.as_tensor(eta, dtype=F64) ** 2 / 2
    lost = -torch.xlogy(power, clock_ratio(data, ends)[..., 0]).expm1()
    bound = (second / total[..., 0] + 2 * data.dim) * total[..., 1] * lost
    return Coupling(
        output(data, start, ends, eta).w2(output(data, start, ends, 0.0)),
        (apart * second + data.dim * noisy.variance[..., 0]).sqrt(),
        bound.sqrt(),
    )
