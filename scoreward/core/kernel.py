"""One reverse step t → s as a Gaussian. Sampling and log-probability both read it.

Two families. DDIM moves along (x0, ε) and differs only in how much noise it redraws, `Noise`.
Euler–Maruyama discretises dx = [u − ½n²·score] dt + n dw and differs only in n, `Level`.
Multi-call and multi-step solvers (Heun, DPM-Solver++ 2M) are deterministic and override `step`;
their transitions cannot be replayed from one network call, which `replayable` says.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, pi, sin
from typing import ClassVar

import torch
from torch import Tensor

from scoreward.core.device import wide
from scoreward.core.gaussian import Gaussian
from scoreward.core.prediction import Prediction, per_sample
from scoreward.core.process import Process

Predict = Callable[[Tensor, Tensor], Prediction]
"""(x_t, t) → prediction: a denoiser with its condition filled in."""

Noise = Callable[[Process, Tensor, Tensor], Tensor]
"""Std of a DDIM step t → s as a function of (process, t, s)."""

Level = Callable[[Process, Tensor], Tensor]
"""Diffusion coefficient n(t) of the reverse SDE as a function of (process, t)."""


class Kernel(ABC):
    """A step of a sampler.  `order` is the global order of its deterministic form.

    >>> import scoreward as sw
    >>> from scoreward.core.gaussian import Gaussian
    >>> class Anew(sw.Kernel):  # all noise is drawn anew; on rectified flow
    ...     def __call__(self, pred, s):
    ...         return Gaussian((1 - s)[:, None] * pred.x0, s[:, None])
    ...     def std(self, process, t, s): return s
    >>> sw.Sampler((1.0, 0.5, 0.0), (Anew(),) * 2).stochastic(sw.RectifiedFlow())
    (0,)
    """

    order: ClassVar[int] = 1
    calls: ClassVar[int] = 1
    replayable: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, pred: Prediction, s: Tensor) -> Gaussian:
        """Law of x at time s [batch], given the prediction at time t > s."""

    def std(self, process: Process, t: Tensor, s: Tensor) -> Tensor:
        """Standard deviation of the step t → s, which never depends on the network."""
        return torch.zeros_like(t)

    def step(
        self,
        predict: Predict,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        previous: Prediction | None,
        then: float | None = None,
    ) -> tuple[Gaussian, Prediction]:
        """The law and the prediction at t; `previous` is the prediction one step earlier.

        `then` is s as a number, where all samples share it: known without asking the device.
        """
        pred = predict(x, t)
        return self(pred, s), pred

    def evaluations(self, s: float) -> int:
        """Network evaluations of a step onto s."""
        return self.calls

    def check(self, process: Process, t: float, s: float) -> None:  # noqa: B027
        """Raise ValueError where this step is undefined for this process; by default never."""


# DDIM and its noise


def generalised(eta: float) -> Noise:
    """Generalised DDIM: std = σ_s √(1 − ρ²), ρ = ((σ_s/α_s)/(σ_t/α_t))^(η²).  [gddim] (Thm. 1)

    Defined for every η ≥ 0, also above 1; η = 0 is the ODE and η = 1 the DDPM posterior. The
    paper's text prints this expression as a standard deviation although it is the variance. At α_t
    = 0 and η > 0 the ratio is 0: the step redraws all noise.
    """
    _check_eta(eta)

    def std(process: Process, t: Tensor, s: Tensor) -> Tensor:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = map(process.coefficients, (t, s))
        if eta == 0:
            return torch.zeros_like(sigma_s)
        ratio = sigma_s * alpha_t / (alpha_s * sigma_t)
        return sigma_s * (-torch.expm1(2 * eta**2 * ratio.log())).sqrt()

    return std


def ancestral(eta: float) -> Noise:
    """DDIM's own η: η times the DDPM posterior std.  [ddim] (16)

    η scales the standard deviation. Defined only up to `eta_limit`, which is below 1.05 on a
    50-step Stable Diffusion grid.
    """
    _check_eta(eta)

    def std(process: Process, t: Tensor, s: Tensor) -> Tensor:
        ratio = process.alpha(t) * process.sigma(s) / (process.alpha(s) * process.sigma(t))
        return eta * process.sigma(s) * (1 - ratio**2).clamp(min=0).sqrt()

    return std


def eta_limit(process: Process, t: Tensor, s: Tensor) -> Tensor:
    """Largest η of `ancestral` at this step: 1/√(1 − r²), r = (σ_s/α_s)/(σ_t/α_t).  [ddim] (16)"""
    ratio = process.alpha(t) * process.sigma(s) / (process.alpha(s) * process.sigma(t))
    return (1 - ratio**2).rsqrt()


def coefficients_preserving(level: float) -> Noise:
    """Flow-CPS: std = σ_s sin(level·π/2), level in [0, 1].  [flow-cps] (step)"""
    if not 0 <= level <= 1:
        raise ValueError(f"the noise level of Flow-CPS must be in [0, 1], got {level}")
    return lambda process, t, s: process.sigma(s) * sin(level * pi / 2)


@dataclass(frozen=True)
class DDIM(Kernel):
    """x_s ~ N(α_s x0 + √(σ_s² − q²) ε, q²): keeps q(x_s | x0) for every noise q.  [ddim] (12)

    With exact (x0, ε) the noise part of x_s has variance σ_s² whatever q is. `generalised` is the
    default noise of the library.
    """

    noise: Noise

    def __call__(self, pred: Prediction, s: Tensor) -> Gaussian:
        process = pred.process
        t, s = per_sample(pred.t, pred.x_t), per_sample(s, pred.x_t)
        std, (alpha, sigma) = self.std(process, t, s), process.coefficients(s)
        kept = (sigma**2 - std**2).clamp(min=0).sqrt()
        return Gaussian(alpha * pred.x0 + kept * pred.eps, std)

    def std(self, process: Process, t: Tensor, s: Tensor) -> Tensor:
        return self.noise(process, t, s)

    def check(self, process: Process, t: float, s: float) -> None:
        times = torch.tensor([t, s], dtype=torch.float64)
        sigma, std = process.sigma(times[1]).item(), self.std(process, *times).item()
        if not std <= sigma * (1 + 1e-6):
            raise ValueError(
                f"the step {t:.4f} -> {s:.4f} asks for noise {std:.4g} but only {sigma:.4g} is "
                "left there, so DDIM's own eta has no real mean; lower eta or use "
                "generalised(eta), which is defined for every eta"
            )


@dataclass(frozen=True)
class DataAware(Kernel):
    """Generalised DDIM with the data's variance c in its clock.  [gddim] (Prop. 6)

    Where `generalised` treats the data as one point, this treats them as N(·, c I): on such data it
    is exact for every grid and η, and c = 0 is DDIM(generalised(η)). With V = α²c + σ² and ρ =
    ((V_s/α_s²)/(V_t/α_t²))^(η²/2), x_s has mean α_s x0 + (√(V_t V_s) ρ − α_t α_s c)/σ_t · ε and
    variance V_s (1 − ρ²).
    """

    eta: float
    variance: float

    def __post_init__(self) -> None:
        _check_eta(self.eta)
        if not self.variance >= 0:
            raise ValueError(f"the data's variance must not be negative, got {self.variance}")

    def __call__(self, pred: Prediction, s: Tensor) -> Gaussian:
        process = pred.process
        t, s = per_sample(pred.t, pred.x_t), per_sample(s, pred.x_t)
        (alpha_t, sigma_t), (alpha_s, _) = map(process.coefficients, (t, s))
        spread, log_kept = self._clock(process, t, s)
        eps = (spread * (0.5 * log_kept).exp() - alpha_t * alpha_s * self.variance) / sigma_t
        return Gaussian(alpha_s * pred.x0 + eps * pred.eps, self.std(process, t, s))

    def std(self, process: Process, t: Tensor, s: Tensor) -> Tensor:
        alpha, sigma = process.coefficients(s)
        _, log_kept = self._clock(process, t, s)
        return ((alpha**2 * self.variance + sigma**2) * -log_kept.expm1()).sqrt()

    def _clock(self, process: Process, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """√(V_t V_s) and log ρ²."""
        (alpha_t, sigma_t), (alpha_s, sigma_s) = map(process.coefficients, (t, s))
        now = alpha_t**2 * self.variance + sigma_t**2
        then = alpha_s**2 * self.variance + sigma_s**2
        ratio = then / now * (alpha_t / alpha_s) ** 2
        return (now * then).sqrt(), torch.xlogy(self.eta**2 * torch.ones_like(ratio), ratio)


# Euler–Maruyama and its noise


def reverse_sde(eta: float, at_one: float | None = None) -> Level:
    """n = η g(t): the family with marginals p_t for every η.  [song-sde] (6)

    `at_one` is the time at which g is evaluated when α(t) = 0, where g itself is infinite.
    """
    _check_eta(eta)

    def level(process: Process, t: Tensor) -> Tensor:
        if eta == 0:
            return torch.zeros_like(t)
        if at_one is not None:
            t = torch.where(process.alpha(t) == 0, torch.full_like(t, at_one), t)
        return eta * process.g(t)

    return level


def flow_sde(noise: float, at_one: float | None = None) -> Level:
    """n = a √(t/(1 − t)), Flow-GRPO's noise; equal to η = a/√2 of `reverse_sde`.  [flow-grpo] (9)

    At t = 1 the denominator uses `at_one`; the public code takes the second time of the grid.
    """
    _check_eta(noise)

    def level(process: Process, t: Tensor) -> Tensor:
        room = 1 - t if at_one is None else torch.where(t == 1, 1 - at_one, 1 - t)
        return noise * (t / room).sqrt() if noise else torch.zeros_like(t)

    return level


def dance_sde(eta: float) -> Level:
    """n = η at every time, DanceGRPO's noise.  [dance-grpo] (step)"""
    _check_eta(eta)
    return lambda process, t: torch.full_like(t, eta)


def linear_sde(top: float) -> Level:
    """n = top·t, finite at t = 1.  [flow-grpo] (step on Wan)

    The public code for Wan 2.1 takes the second time of the grid for `top`.
    """
    _check_eta(top)
    return lambda process, t: top * t


def over(level: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Standard deviation that noise of a level adds from t to s."""
    return level * (t - s).sqrt()


@dataclass(frozen=True)
class EulerMaruyama(Kernel):
    """x_s ~ N(x + (u − ½n²·score)(s − t), n²(t − s)).  [song-sde] (6)

    The noise left in x_s exceeds σ_s by O(t − s) in variance: coarse grids look grainy.
    """

    level: Level

    def __call__(self, pred: Prediction, s: Tensor) -> Gaussian:
        t, s = per_sample(pred.t, pred.x_t), per_sample(s, pred.x_t)
        n = self.level(pred.process, t)
        drift = pred.as_("velocity") - 0.5 * n**2 * pred.as_("score")
        return Gaussian(pred.x_t + drift * (s - t), over(n, t, s))

    def std(self, process: Process, t: Tensor, s: Tensor) -> Tensor:
        return over(self.level(process, t), t, s)

    def check(self, process: Process, t: float, s: float) -> None:
        n = self.level(process, torch.tensor(t, dtype=torch.float64)).item()
        if not n < inf:
            raise ValueError(
                f"the noise level is infinite at t = {t}; start below 1, or pass `at_one` "
                f"(public code uses the next time of the grid, here {s:.4f})"
            )


def euler() -> EulerMaruyama:
    """The probability-flow ODE, first order: x_s = x + u (s − t).  [song-sde] (13)"""
    return EulerMaruyama(reverse_sde(0.0))


def ddim() -> DDIM:
    """Deterministic DDIM; on rectified flow the same step as `euler()`.  [ddim] (13)"""
    return DDIM(generalised(0.0))


@dataclass(frozen=True)
class Churn(Kernel):
    """Euler a little past s, then noise back up to s; rectified flow only.  [fdfo] (step)

    r = s/(1 + γ − γs); with 1 + γr as the scale that keeps α + σ = 1, x_s is exactly as noisy as a
    state at s. γ = 0 is Euler.
    """

    gamma: float

    def __call__(self, pred: Prediction, s: Tensor) -> Gaussian:
        t, s = per_sample(pred.t, pred.x_t), per_sample(s, pred.x_t)
        r = self._past(s)
        mean = (pred.x_t + (r - t) * pred.as_("velocity")) / (self.gamma * r + 1)
        return Gaussian(mean, self.std(pred.process, t, s))

    def std(self, process: Process, t: Tensor, s: Tensor) -> Tensor:
        r = self._past(s)
        return r * ((1 + self.gamma) ** 2 - 1) ** 0.5 / (self.gamma * r + 1)

    def _past(self, s: Tensor) -> Tensor:
        return s / (1 + self.gamma - self.gamma * s)


@dataclass(frozen=True)
class Heun(Kernel):
    """Euler, then the average of the velocities at both ends; two calls.  [edm] (Alg. 1)

    As in the paper the step onto clean data (σ_s = 0) is plain Euler.
    """

    order: ClassVar[int] = 2
    calls: ClassVar[int] = 2
    replayable: ClassVar[bool] = False

    def __call__(self, pred: Prediction, s: Tensor) -> Gaussian:
        return euler()(pred, s)

    def evaluations(self, s: float) -> int:
        return 2 if s > 0 else 1

    def step(
        self,
        predict: Predict,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        previous: Prediction | None,
        then: float | None = None,
    ) -> tuple[Gaussian, Prediction]:
        pred = predict(x, t)
        law = self(pred, s)
        end = s if then is None else torch.tensor(then, dtype=s.dtype)
        if (pred.process.sigma(end) == 0).all():
            return law, pred
        last = predict(law.mean, s)
        slope = (pred.as_("velocity") + last.as_("velocity")) / 2
        return Gaussian(x + slope * per_sample(s - t, x), law.std), pred


@dataclass(frozen=True)
class DPMSolverPP(Kernel):
    """DPM-Solver++ 2M: exponential integrator on x0, one step of memory.  [dpm-solver++] (Alg. 2)

    First step and steps onto σ = 0 are first order (DDIM); so is a step after α = 0, where the
    earlier log-SNR is −∞ and the correction vanishes by itself.
    """

    order: ClassVar[int] = 2
    replayable: ClassVar[bool] = False

    def __call__(self, pred: Prediction, s: Tensor) -> Gaussian:
        return self._law(pred, pred.x0, s)

    def step(
        self,
        predict: Predict,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        previous: Prediction | None,
        then: float | None = None,
    ) -> tuple[Gaussian, Prediction]:
        pred = predict(x, t)
        if previous is None:
            return self(pred, s), pred
        half = pred.process.log_snr
        now, after, before = (0.5 * half(wide(u)) for u in (t, s, previous.t))
        weight = ((after - now) / (now - before) / 2).to(x.dtype)  # 1/(2 r0)
        weight = torch.where(pred.process.sigma(s) == 0, 0, weight)  # clean data is reached by DDIM
        data = pred.x0 + per_sample(weight, x) * (pred.x0 - previous.x0)
        return self._law(pred, data, s), pred

    def _law(self, pred: Prediction, data: Tensor, s: Tensor) -> Gaussian:
        """x_s = (σ_s/σ_t) x − α_s (e^{−h} − 1)·data, with α_s e^{−h} = (σ_s/σ_t) α_t."""
        process, like = pred.process, pred.x_t
        t, s = (wide(per_sample(u, like)) for u in (pred.t, s))
        shrink = process.sigma(s) / process.sigma(t)
        gain = process.alpha(s) - shrink * process.alpha(t)
        mean = shrink.to(like.dtype) * like + gain.to(like.dtype) * data
        return Gaussian(mean, torch.zeros_like(shrink, dtype=like.dtype))


def _check_eta(eta: float) -> None:
    if not eta >= 0:
        raise ValueError(f"eta must not be negative, got {eta}; 0 is the ODE, 1 the reverse SDE")
