"""Exact laws of sampling for Gaussian data N(m, c I): any process, any η, any grid.

With the exact score every sampler here is affine and contracts the distance to α_t m, so a chain is
a product of slopes and a sum of variances. All of it is written so that α = 0 (the start of
rectified flow) needs no limit, and all of it broadcasts: `sets` are parameter sets, η among them,
and 10⁵ of them cost one call. Derived by us; the family of reverse processes is that of [song-sde]
(6) with noise η g, drift shared between ODE and Langevin parts so that every η keeps p_t.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import pi
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.process import Process

Number = float | Float[Tensor, "*#sets"]
F64 = torch.float64


@dataclass(frozen=True)
class GaussianLaw:
    """N(mean, variance · I), one for each parameter set."""

    mean: Float[Tensor, "*#sets dim"]
    variance: Float[Tensor, "*#sets"]

    @classmethod
    def of(cls, mean: float | Sequence[float] | Tensor, variance: Number) -> "GaussianLaw":
        """In float64; a number as mean is one dimension."""
        place = torch.as_tensor(mean, dtype=F64)
        return cls(place[None] if place.ndim == 0 else place, torch.as_tensor(variance, dtype=F64))

    @property
    def dim(self) -> int:
        return self.mean.shape[-1]

    def kl(self, other: "GaussianLaw") -> Float[Tensor, "*sets"]:
        """KL(self ‖ other) in nats; exact also where the two are close."""
        more = (self.variance - other.variance) / other.variance
        apart = (self.mean - other.mean).square().sum(-1) / other.variance
        return 0.5 * (self.dim * (more - more.log1p()) + apart)

    def w2(self, other: "GaussianLaw") -> Float[Tensor, "*sets"]:
        """Wasserstein-2 distance, in the units of x.  [reward-gap] (W2)"""
        apart = (self.mean - other.mean).square().sum(-1)
        return (apart + self.dim * (self.variance.sqrt() - other.variance.sqrt()) ** 2).sqrt()

    def w1(self, other: "GaussianLaw") -> Float[Tensor, "*sets"]:
        """Wasserstein-1 distance of one-dimensional laws: E|Δm + Δs z|; ValueError beyond."""
        if self.dim != 1:
            raise ValueError(f"W1 has a closed form in one dimension only, got {self.dim}; use w2")
        shift = (self.mean - other.mean)[..., 0].abs()
        spread = (self.variance.sqrt() - other.variance.sqrt()).abs()
        z = shift / spread.clamp(min=1e-300)
        folded = spread * (2 / pi) ** 0.5 * (-0.5 * z**2).exp()
        return folded + shift * torch.erf(z / 2**0.5)


@dataclass(frozen=True)
class LinearReward:
    """r(x) = direction · x."""

    direction: Float[Tensor, "*#sets dim"]
    curvature: ClassVar[float] = 0.0

    def expect(self, law: GaussianLaw) -> Float[Tensor, "*sets"]:
        """E r(X)."""
        return (self.direction * law.mean).sum(-1) + torch.zeros_like(law.variance)

    def gradient(self, x: Float[Tensor, "*sets dim"]) -> Float[Tensor, "*sets dim"]:
        """∇r(x)."""
        return self.direction.expand_as(x)

    def tilted(self, law: GaussianLaw, beta: float) -> GaussianLaw:
        """The law of density proportional to law · exp(r/β).  [score-as-action] (tilt)"""
        return GaussianLaw(law.mean + law.variance[..., None] / beta * self.direction, law.variance)

    def soft(self, law: GaussianLaw, beta: float) -> Float[Tensor, "*sets"]:
        """β log E exp(r(X)/β)."""
        return self.expect(law) + self.direction.square().sum(-1) * law.variance / (2 * beta)


@dataclass(frozen=True)
class QuadraticReward:
    """r(x) = −(κ/2) |x − target|²; with the default κ = 2 it is −|x − target|²."""

    target: Float[Tensor, "*#sets dim"]
    kappa: float = 2.0

    def expect(self, law: GaussianLaw) -> Float[Tensor, "*sets"]:
        """E r(X)."""
        apart = (law.mean - self.target).square().sum(-1)
        return -0.5 * self.kappa * (apart + law.dim * law.variance)

    def gradient(self, x: Float[Tensor, "*sets dim"]) -> Float[Tensor, "*sets dim"]:
        """∇r(x)."""
        return -self.kappa * (x - self.target)

    def tilted(self, law: GaussianLaw, beta: float) -> GaussianLaw:
        """The law of density proportional to law · exp(r/β).  [score-as-action] (tilt)"""
        gain = self.kappa * law.variance / beta
        mean = (law.mean + gain[..., None] * self.target) / (1 + gain[..., None])
        return GaussianLaw(mean, law.variance / (1 + gain))

    def soft(self, law: GaussianLaw, beta: float) -> Float[Tensor, "*sets"]:
        """β log E exp(r(X)/β)."""
        gain = self.kappa * law.variance / beta
        apart = (law.mean - self.target).square().sum(-1)
        return -0.5 * (self.kappa * apart / (1 + gain) + law.dim * beta * gain.log1p())

    @property
    def curvature(self) -> float:
        """κ, minus the second derivative in each coordinate."""
        return self.kappa


@dataclass(frozen=True)
class Levels:
    """α and σ along a grid from noise to data; the last axis is time, at least two of them.

    A grid in noise levels rather than in times: VE with any σ_T, or a schedule of one's own, needs
    no process. ValueError unless the noise to signal σ/α falls at every step.
    """

    alpha: Float[Tensor, "*#sets times"]
    sigma: Float[Tensor, "*#sets times"]

    def __post_init__(self) -> None:
        if self.alpha.shape[-1] < 2:
            raise ValueError(f"a grid needs at least two times, got {self.alpha.shape[-1]}")
        alpha_t, sigma_t, alpha_s, sigma_s = self.steps()
        if not bool((sigma_s * alpha_t < sigma_t * alpha_s).all()):
            raise ValueError(
                "the noise to signal σ/α must fall at every step; order the grid from noise to "
                "data, with α ≥ 0 and σ ≥ 0"
            )

    @classmethod
    def of(cls, process: Process, times: Sequence[float] | Tensor = (1.0, 0.0)) -> "Levels":
        """Of a process at times falling from noise (1) to data (0); by default only the ends."""
        t = torch.as_tensor(times, dtype=F64)
        return cls(process.alpha(t), process.sigma(t))

    @classmethod
    def exploding(cls, sigma: Sequence[float] | Tensor) -> "Levels":
        """α = 1 and these σ."""
        levels = torch.as_tensor(sigma, dtype=F64)
        return cls(torch.ones_like(levels), levels)

    def steps(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(α_t, σ_t, α_s, σ_s) of the steps t → s."""
        return self.alpha[..., :-1], self.sigma[..., :-1], self.alpha[..., 1:], self.sigma[..., 1:]

    def ends(self) -> "Levels":
        """Only the first and the last time."""
        return Levels(self.alpha[..., [0, -1]], self.sigma[..., [0, -1]])

    def snr_ratio(self) -> Float[Tensor, "*sets steps"]:
        """r = (σ_s/α_s)/(σ_t/α_t) of each step, in [0, 1)."""
        alpha_t, sigma_t, alpha_s, sigma_s = self.steps()
        return sigma_s * alpha_t / (alpha_s * sigma_t)


def marginals(data: GaussianLaw, levels: Levels) -> Float[Tensor, "*sets times"]:
    """V_t = α_t² c + σ_t², the variance of x_t along the grid; its mean is α_t m."""
    return levels.alpha**2 * data.variance[..., None] + levels.sigma**2


def marginal(data: GaussianLaw, levels: Levels, index: int) -> GaussianLaw:
    """The law p_t of x_t at one time of the grid."""
    return GaussianLaw(levels.alpha[..., [index]] * data.mean, marginals(data, levels)[..., index])


@dataclass(frozen=True)
class Steps:
    """A chain on data N(m, c I): x_s − α_s m = slope · (x_t − α_t m) + missed · m + √variance · z.

    Steps that follow the noise levels miss nothing; Euler steps in a bent time do.
    """

    data: GaussianLaw
    levels: Levels
    slope: Float[Tensor, "*sets steps"]
    variance: Float[Tensor, "*sets steps"]
    missed: Float[Tensor, "*#sets steps"] | None = None

    def after(self) -> Float[Tensor, "*sets steps"]:
        """How much a change of x_s survives until the end, for each step t → s."""
        whole = self.slope.flip(-1).cumprod(-1).flip(-1)
        return torch.cat([whole[..., 1:], torch.ones_like(whole[..., :1])], -1)

    def push(self, start: GaussianLaw) -> GaussianLaw:
        """The law at the end of the chain, from a start law at its first time."""
        total, after = self.slope.prod(-1), self.after()
        apart = start.mean - self.levels.alpha[..., :1] * self.data.mean
        mean = self.levels.alpha[..., -1:] * self.data.mean + total[..., None] * apart
        if self.missed is not None:
            mean = mean + (self.missed * after).sum(-1)[..., None] * self.data.mean
        return GaussianLaw(mean, total**2 * start.variance + (self.variance * after**2).sum(-1))


StepRule = Callable[[GaussianLaw, Levels, Number], Steps]
"""A way to take steps: (data, grid, η) → chain."""


def exact(data: GaussianLaw, levels: Levels, eta: Number) -> Steps:
    """The transitions of the reverse process itself, exact for any grid.  [reward-gap] (E)

    In y = x/α with v = c + σ²/α²: y_s = m + (v_s/v_t)^((1+η²)/2) (y_t − m) + √(v_s (1 −
    (v_s/v_t)^(η²))) z. η = ∞ forgets the start.
    """
    alpha_t, sigma_t, alpha_s, sigma_s = levels.steps()
    now, then = (alpha_t, sigma_t), (alpha_s, sigma_s)
    slope, noise = transition(data.variance[..., None], now, then, _eta(eta))
    return _steps(data, levels, slope, noise)


def transition(
    variance: Tensor, now: tuple[Tensor, Tensor], then: tuple[Tensor, Tensor], eta: Tensor
) -> tuple[Tensor, Tensor]:
    """(slope, noise variance) from one pair (α, σ) to a later one, in x.  [reward-gap] (E)"""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = now, then
    total = alpha_s**2 * variance + sigma_s**2
    ratio = total / (alpha_t**2 * variance + sigma_t**2)
    kept = ratio * (alpha_t / alpha_s) ** 2  # v_s/v_t
    slope = ratio.sqrt() * torch.xlogy(eta**2 / 2, kept).exp()
    return slope, -total * torch.xlogy(eta**2, kept).expm1()


def generalised(data: GaussianLaw, levels: Levels, eta: Number) -> Steps:
    """Generalised DDIM steps: slope (α_t α_s c + σ_t σ_s ρ)/V_t.  [reward-gap] (G chain)

    Over-confident: one step from the true law loses variance, the more the larger η.
    """
    power, ratio = _eta(eta) ** 2, levels.snr_ratio()
    kept = torch.xlogy(power, ratio).exp()  # ρ
    noise = -(levels.steps()[3] ** 2) * torch.xlogy(2 * power, ratio).expm1()
    return _steps(data, levels, _along(data, levels, kept), noise)


def ancestral(data: GaussianLaw, levels: Levels, eta: Number) -> Steps:
    """DDIM steps with DDIM's own η: std = η σ_s √(1 − r²).  [ddim] (16)

    ValueError where that noise exceeds σ_s: η is then above 1/√(1 − r²) at some step.
    """
    left, room = levels.steps()[3], 1 - levels.snr_ratio() ** 2
    share = 1 - _eta(eta) ** 2 * room
    if bool(((share < -1e-12) & (left > 0)).any()):
        limit = torch.where(left > 0, room, 0).rsqrt().min().item()
        raise ValueError(
            f"DDIM's own eta has no real step on this grid: the largest it allows is {limit:.5f}, "
            f"got up to {torch.as_tensor(eta).max().item():g}; use `generalised`, or finer steps"
        )
    noise = left**2 * (1 - share)
    return _steps(data, levels, _along(data, levels, share.clamp(min=0).sqrt()), noise)


def euler_maruyama(data: GaussianLaw, levels: Levels, eta: Number) -> Steps:
    """Euler–Maruyama in y = x/α with the clock σ²/α².  [reward-gap] (EM chain)

    Over-dispersed, and unstable on coarse grids. ValueError where α = 0, an infinite clock.
    """
    alpha_t, _, alpha_s, _ = levels.steps()
    if bool((levels.alpha == 0).any()):
        raise ValueError("Euler in σ²/α² cannot start where α = 0; start below t = 1")
    square, clock = _eta(eta) ** 2, (levels.sigma / levels.alpha) ** 2
    step = clock[..., :-1] - clock[..., 1:]
    slope = 1 - 0.5 * (1 + square) * step / (data.variance[..., None] + clock[..., :-1])
    return _steps(data, levels, alpha_s / alpha_t * slope, alpha_s**2 * square * step)


def flow_sde(data: GaussianLaw, levels: Levels, eta: Number) -> Steps:
    """Flow-GRPO's step on rectified flow, whose noise level a is √2 η.  [flow-grpo] (9)

    At t = 1 the level divides by 1 − s, as the public code does. ValueError unless α + σ = 1.
    """
    if not torch.allclose(levels.alpha + levels.sigma, torch.ones((), dtype=F64)):
        raise ValueError("Flow-SDE steps need rectified flow, α = 1 − t and σ = t; got another")
    room, t, room_s, s = levels.steps()
    room = torch.where(room == 0, room_s, room)
    square = 2 * _eta(eta) ** 2 * t / room
    total = marginals(data, levels)[..., :-1]
    velocity = (t - (1 - t) * data.variance[..., None]) / total
    score = -1 / total
    slope = 1 + (velocity - 0.5 * square * score) * (s - t)
    return _steps(data, levels, slope, square * (t - s))


def clock_ratio(data: GaussianLaw, levels: Levels) -> Float[Tensor, "*sets steps"]:
    """v_s/v_t of each step with v = c + σ²/α², in [0, 1); 0 from α_t = 0."""
    total = marginals(data, levels)
    carried = levels.alpha[..., :-1] / levels.alpha[..., 1:]
    return total[..., 1:] / total[..., :-1] * carried**2


def output(data: GaussianLaw, start: GaussianLaw, levels: Levels, eta: Number) -> GaussianLaw:
    """Law at the end in continuous time; only the ends of the grid matter.  [reward-gap] (output)

    mean = m + q^((1+η²)/2) δ and variance = c + q^(1+η²) w, with q = v_0/v_T, δ the error of the
    start's mean and w of its variance, both in y.
    """
    return exact(data, levels.ends(), eta).push(start)


def start_kl(data: GaussianLaw, start: GaussianLaw, levels: Levels) -> Float[Tensor, "*sets"]:
    """KL(start ‖ p_T), which the ODE hands on unchanged and every SDE contracts."""
    return start.kl(marginal(data, levels, 0))


def _along(data: GaussianLaw, levels: Levels, kept: Tensor) -> Tensor:
    """Slope of α_s x0 + σ_s · kept · ε on Gaussian data."""
    alpha_t, sigma_t, alpha_s, sigma_s = levels.steps()
    clean = alpha_t * alpha_s * data.variance[..., None]
    return (clean + sigma_t * sigma_s * kept) / marginals(data, levels)[..., :-1]


def _steps(data: GaussianLaw, levels: Levels, slope: Tensor, variance: Tensor) -> Steps:
    slope, variance = torch.broadcast_tensors(slope, variance)
    return Steps(data, levels, slope, variance)


def _eta(eta: Number) -> Tensor:
    """η with a time axis."""
    value = torch.as_tensor(eta, dtype=F64)
    if not bool((value >= 0).all()):
        raise ValueError(
            f"eta must not be negative, got {value.min().item():g}; "
            "0 is the ODE, 1 the reverse SDE, inf forgets the start"
        )
    return value[..., None]
