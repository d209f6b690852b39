"""[reward-gap]: what a sampler's noise does to the expected reward, exactly.

Understanding Sampler Stochasticity in Training Diffusion Models for RLHF, arXiv 2510.10767.

The paper compares fine-tuned models sampled with noise η and by the ODE, and bounds the
difference. Its theorems and constants were not available to us; everything here is derived by us
for Gaussian data N(m, c I), where the gap is a closed form, on a grid as in continuous time. A
positive gap means that the SDE earns more.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.theory.gaussian import (
    F64,
    GaussianLaw,
    Levels,
    LinearReward,
    Number,
    QuadraticReward,
    StepRule,
    clock_ratio,
    exact,
    generalised,
    marginals,
)
from scoreward.theory.path_kl import step_weights


@dataclass(frozen=True)
class GapSetting:
    """Data, start law and the ends of a grid: all that a gap in continuous time depends on."""

    data: GaussianLaw
    start: GaussianLaw
    levels: Levels

    @classmethod
    def from_noise(cls, data: GaussianLaw, levels: Levels, variance: Number = 1.0) -> "GapSetting":
        """The start N(0, variance I) of a sampler: 1 for VP and rectified flow, σ_T² for VE."""
        return cls(data, GaussianLaw.of(torch.zeros(data.dim, dtype=F64), variance), levels)

    @property
    def offset(self) -> Float[Tensor, "*sets dim"]:
        """m_T − α_T m, the error of the start's mean in x."""
        return self.start.mean - self.levels.alpha[..., :1] * self.data.mean

    @property
    def excess(self) -> Float[Tensor, "*sets"]:
        """S_T² − V_T, the error of the start's variance in x."""
        return self.start.variance - marginals(self.data, self.levels)[..., 0]

    def survival(self, eta: Number) -> tuple[Tensor, Tensor]:
        """(slope of the ODE from start to end, slope of η over it, less 1)."""
        ends = self.levels.ends()
        power = torch.as_tensor(eta, dtype=F64) ** 2 / 2
        ratio = clock_ratio(self.data, ends)[..., 0]
        return exact(self.data, ends, 0.0).slope[..., 0], torch.xlogy(power, ratio).expm1()


def linear(setting: GapSetting, reward: LinearReward, eta: Number) -> Float[Tensor, "*sets"]:
    """Δ = c·δ (q^((1+η²)/2) − q^(1/2)) for r = c·x; η = ∞ is its limit.  [reward-gap] (linear gap)

    No difference of nearly equal rewards is taken, so that gaps of 1e-12 have all their digits.
    """
    ode, less = setting.survival(eta)
    return (reward.direction * setting.offset).sum(-1) * ode * less


def quadratic(setting: GapSetting, reward: QuadraticReward, eta: Number) -> Float[Tensor, "*sets"]:
    """The gap of r = −(κ/2)|x − z|² in d dimensions.  [reward-gap] (quadratic gap)

    For κ = 2: −2 (m − z)·δ (q^((1+η²)/2) − q^(1/2)) − (|δ|² + d w)(q^(1+η²) − q).
    """
    ode, less = setting.survival(eta)
    toward = setting.levels.alpha[..., -1:] * setting.data.mean - reward.target
    first = (toward * setting.offset).sum(-1) * ode * less
    second = setting.offset.square().sum(-1) + setting.data.dim * setting.excess
    return -0.5 * reward.kappa * (2 * first + second * ode**2 * less * (2 + less))


def discretised(
    setting: GapSetting, reward: LinearReward | QuadraticReward, rule: StepRule, eta: Number
) -> Float[Tensor, "*sets"]:
    """The gap on the setting's grid, the same for both samplers.  [reward-gap] (definition)"""
    ends = (rule(setting.data, setting.levels, e).push(setting.start) for e in (eta, 0.0))
    noisy, ode = (reward.expect(law) for law in ends)
    return noisy - ode


# What remains of the gap when the start is nearly pure noise; zero-mean start of variance σ_T² or 1


def exploding_rates(
    data: GaussianLaw, sigma: Number, reward: LinearReward
) -> tuple[Tensor, Tensor]:
    """VE, σ_T → ∞: (c·m √c/σ_T, −d c²/σ_T²) for linear and centred −|x|².  [reward-gap] (rates)

    The second for data of mean 0: the ODE is under-dispersed and scores higher.
    """
    level = torch.as_tensor(sigma, dtype=F64)
    first = (reward.direction * data.mean).sum(-1) * data.variance.sqrt() / level
    return first, -data.dim * data.variance**2 / level**2


def preserving_rates(
    data: GaussianLaw, alpha: Number, reward: LinearReward
) -> tuple[Tensor, Tensor]:
    """VP, α_T → 0: (c·m √c α_T, d c (1 − c) α_T²), as above.  [reward-gap] (rates)"""
    level = torch.as_tensor(alpha, dtype=F64)
    first = (reward.direction * data.mean).sum(-1) * data.variance.sqrt() * level
    return first, data.dim * data.variance * (1 - data.variance) * level**2


# The gap that fine-tuning creates


@dataclass(frozen=True)
class Tuned:
    """A model trained to the optimum of E[w x] − β KL of paths, at noise η.  [reward-gap] (tuned)

    `pull` is w/β (per unit of x), `variance` that of the data, `kept` is q = v_0/v_T. The optimal
    change of score is (2η²/(1 + η²)) pull (v_0/v)^((1+η²)/2); what differs is who samples with it.
    """

    pull: Number
    variance: Number
    kept: Number
    eta: Number

    @property
    def _square(self) -> Tensor:
        return torch.as_tensor(self.eta, dtype=F64) ** 2

    def _lost(self, power: Tensor) -> Tensor:
        """1 − q^power."""
        return -torch.xlogy(power, torch.as_tensor(self.kept, dtype=F64)).expm1()

    @property
    def sde_shift(self) -> Tensor:
        """How far the mean moved under the sampler that was trained."""
        return self.pull * self.variance * self._lost(self._square)

    @property
    def ode_shift(self) -> Tensor:
        """How far it moved under the ODE with the same score; falls as η grows beyond 1."""
        share = 2 / (1 + self._square)
        return share * self.pull * self.variance * self._lost(self._square / 2)

    @property
    def path_kl(self) -> Tensor:
        """KL of the trained paths from those before, nats."""
        return 0.5 * self.pull * self.sde_shift

    @property
    def limit(self) -> Tensor:
        """(SDE − ODE shift) as q → 0: pull c (η² − 1)/(η² + 1), zero only at η = 1."""
        return self.pull * self.variance * (self._square - 1) / (self._square + 1)


@dataclass(frozen=True)
class StepShifts:
    """A policy that shifts ε at each step, after one exact gradient step.  [reward-gap] (tuned)

    Linear reward of x/α at the end, chains of generalised DDIM. `ratio` is the gain of the ODE over
    that of the sampler trained; `ode_gain` the gain of the ODE where √(KL of paths) is 1 nat^½.
    """

    ratio: Tensor
    ode_gain: Tensor


def step_shifts(data: GaussianLaw, levels: Levels, eta: float) -> StepShifts:
    """Train at η > 0 on a grid, then sample with the ODE; shapes of the data's sets."""
    trained, ode = (_gain_per_shift(data, levels, e) for e in (eta, 0.0))
    kl = (step_weights(levels, eta) * trained**2).sum(-1)
    moved = (ode * trained).sum(-1)
    return StepShifts(moved / trained.square().sum(-1), moved / kl.sqrt())


def _gain_per_shift(data: GaussianLaw, levels: Levels, eta: float) -> Float[Tensor, "*sets steps"]:
    """d E[x/α at the end] / d(shift of ε at step k), up to a common sign."""
    alpha_t, sigma_t, alpha_s, sigma_s = levels.steps()
    kept = levels.snr_ratio() ** (eta**2)
    of_noise = alpha_s / alpha_t * sigma_t - sigma_s * kept
    return generalised(data, levels, eta).after() * of_noise / levels.alpha[..., -1:]
