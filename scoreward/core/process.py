"""Noise processes x_t = α(t) x0 + σ(t) ε, with t = 0 data and t = 1 noise.

A process is its two coefficients and their derivatives; everything else (g, log-SNR, the score of
a point) follows. Times are tensors in [0, 1]; one time per sample, reshaped by the caller to
broadcast.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from math import log, pi

import torch
from torch import Tensor

from scoreward.core.device import placed, wide


class Process(ABC):
    """α, σ and their time derivatives.  A new process is these four methods.

    >>> import torch
    >>> import scoreward as sw
    >>> class Squared(sw.Process):
    ...     def alpha(self, t): return 1 - t**2
    ...     def sigma(self, t): return t
    ...     def d_alpha(self, t): return -2 * t
    ...     def d_sigma(self, t): return torch.ones_like(t)
    >>> Squared().log_snr(torch.tensor([0.5]))
    tensor([0.8109])
    """

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Signal coefficient α(t)."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Noise coefficient σ(t)."""

    @abstractmethod
    def d_alpha(self, t: Tensor) -> Tensor:
        """α'(t), per unit time."""

    @abstractmethod
    def d_sigma(self, t: Tensor) -> Tensor:
        """σ'(t), per unit time."""

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """α(t) and σ(t), where finding them together is cheaper."""
        return self.alpha(t), self.sigma(t)

    def g(self, t: Tensor) -> Tensor:
        """Diffusion coefficient of the forward SDE: g² = 2σσ' − 2(α'/α)σ².  [song-sde] (29)

        Infinite where α = 0, as at t = 1 of rectified flow.
        """
        alpha, sigma = self.alpha(t), self.sigma(t)
        squared = 2 * sigma * self.d_sigma(t) - 2 * self.d_alpha(t) / alpha * sigma**2
        return squared.clamp(min=0).sqrt()

    def log_snr(self, t: Tensor) -> Tensor:
        """log(α²/σ²), from +∞ at data to −∞ (or a finite end) at noise.  [vdm] (2)"""
        return 2 * (self.alpha(t).log() - self.sigma(t).log())

    def noise_to_signal(self, t: Tensor) -> Tensor:
        """σ/α, the clock of the scaled coordinate x_t/α."""
        return self.sigma(t) / self.alpha(t)


@dataclass(frozen=True)
class RectifiedFlow(Process):
    """The straight line from data to noise: α = 1 − t, σ = t.  [rectified-flow] (1)

    >>> import torch
    >>> import scoreward as sw
    >>> sw.RectifiedFlow().coefficients(torch.tensor([0.0, 0.25, 1.0]))
    (tensor([1.0000, 0.7500, 0.0000]), tensor([0.0000, 0.2500, 1.0000]))
    """

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def d_alpha(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)


@dataclass(frozen=True)
class LinearVP(Process):
    """Variance preserving with β(t) = β_min + t (β_max − β_min).  [song-sde] (33)"""

    beta_min: float = 0.1  # [song-sde] (33)
    beta_max: float = 20.0  # [song-sde] (33)

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min

    def alpha(self, t: Tensor) -> Tensor:
        return self._log_alpha(t).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return (-torch.expm1(2 * self._log_alpha(t))).sqrt()

    def d_alpha(self, t: Tensor) -> Tensor:
        return -0.5 * (self.beta_min + t * (self.beta_max - self.beta_min)) * self.alpha(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        return -self.alpha(t) * self.d_alpha(t) / self.sigma(t)


@dataclass(frozen=True)
class CosineVP(Process):
    """Variance preserving with α = cos(u)/cos(u₀), u = (π/2)(t + s)/(1 + s).  [improved-ddpm] (17)

    The paper clips the discrete β near t = 1; here α(1) = 0 exactly, so start samplers at t < 1
    when the network predicts ε (α = 0 leaves x0 undetermined).
    """

    offset: float = 0.008  # s, [improved-ddpm] (17)

    def _angle(self, t: Tensor) -> Tensor:
        return 0.5 * pi * (t + self.offset) / (1 + self.offset)

    @property
    def _start(self) -> float:
        return torch.cos(self._angle(torch.zeros((), dtype=torch.float64))).item()

    def alpha(self, t: Tensor) -> Tensor:
        value = torch.cos(self._angle(t)) / self._start
        return torch.where(t == 1, torch.zeros_like(value), value.clamp(max=1))

    def sigma(self, t: Tensor) -> Tensor:
        return (1 - self.alpha(t) ** 2).clamp(min=0).sqrt()

    def d_alpha(self, t: Tensor) -> Tensor:
        return -0.5 * pi / (1 + self.offset) * torch.sin(self._angle(t)) / self._start

    def d_sigma(self, t: Tensor) -> Tensor:
        return -self.alpha(t) * self.d_alpha(t) / self.sigma(t)


@dataclass(frozen=True)
class DiscreteVP(Process):
    """The schedule of a pipeline with a table of ᾱ, 1000 steps of it.  [ddpm] (4)

    With `root` √β is linear (Stable Diffusion), else β. Step k (counted from 0) sits at
    t = (k + 1)/1000, and t = 0 is clean data. Between grid points log ᾱ is linear, which is a
    convention of ours; values on the grid are exact. Pipelines that end at ᾱ[0] instead of 1
    (`set_alpha_to_one=False`) end their grid at t = 1/1000.
    """

    beta_start: float = 0.00085  # [latent-diffusion] public configuration of SD 1.x
    beta_end: float = 0.012  # [latent-diffusion] public configuration of SD 1.x
    steps: int = 1000
    root: bool = True
    snr_shift: float = 1.0  # divides α²/σ²; CogVideoX
    zero_snr: bool = False  # the last step is pure noise

    @cached_property
    def _log_bar(self) -> Tensor:
        power = 0.5 if self.root else 1.0
        betas = torch.linspace(
            self.beta_start**power, self.beta_end**power, self.steps, dtype=torch.float64
        ) ** (1 / power)
        log_bar = torch.log1p(-betas).cumsum(0)
        if self.snr_shift != 1 or self.zero_snr:
            bar = log_bar.exp()
            bar = bar / (self.snr_shift + (1 - self.snr_shift) * bar)
            log_bar = (zero_terminal(bar) if self.zero_snr else bar).log()
        return torch.cat([log_bar.new_zeros(1), log_bar])

    def time_of(self, step: int) -> float:
        """Our t of the pipeline's integer timestep."""
        return (step + 1) / self.steps

    def _position(self, t: Tensor) -> Tensor:
        """t in steps; float32 times miss the grid by about 1e-4 and are put back on it."""
        position = wide(t) * self.steps
        nearest = position.round()
        return torch.where((position - nearest).abs() < 1e-3, nearest, position)

    @cached_property
    def _lines(self) -> tuple[Tensor, Tensor, Tensor]:
        """log α at the start of each step, by how much it falls along it, and 2 d log α/dt."""
        log_alpha, slopes = 0.5 * self._log_bar, self._log_bar.diff() * self.steps
        return log_alpha[:-1], log_alpha.diff().clamp(min=-1e9), slopes

    @cached_property
    def _everywhere(self) -> dict[torch.device, tuple[Tensor, ...]]:
        return {}

    def _tables(self, device: torch.device) -> tuple[Tensor, ...]:
        """`_lines` on a device, brought there once."""
        if device not in self._everywhere:
            self._everywhere[device] = tuple(placed(v, device) for v in self._lines)
        return self._everywhere[device]

    def _log_alpha(self, t: Tensor) -> Tensor:
        """Every step of every sample asks for this, so it is as few operations as it can be."""
        (start, fall, _), position = self._tables(t.device), self._position(t)
        left = position.long().clamp(0, self.steps - 1)
        share = position - left
        line = torch.addcmul(start[left], share, fall[left])
        if not self.zero_snr:
            return line
        # onto an ᾱ of 0 the logarithm has no line; there α itself is linear
        last = start[left] + torch.log1p(-share)
        return torch.where(left == self.steps - 1, last, line)

    def _d_log_alpha(self, t: Tensor) -> Tensor:
        """On the grid, where log ᾱ has a kink, the mean of the slopes on both sides."""
        slopes, position = self._tables(t.device)[2], self._position(t)
        sides = (position.ceil() - 1, position.floor())
        below, above = (side.clamp(0, self.steps - 1).long() for side in sides)
        return 0.25 * (slopes[below] + slopes[above])

    def alpha(self, t: Tensor) -> Tensor:
        return self.coefficients(t)[0]

    def sigma(self, t: Tensor) -> Tensor:
        return self.coefficients(t)[1]

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        log_alpha = self._log_alpha(t)
        sigma = (-torch.expm1(2 * log_alpha)).clamp(min=0).sqrt()
        return log_alpha.exp().to(t.dtype), sigma.to(t.dtype)

    def d_alpha(self, t: Tensor) -> Tensor:
        smooth = self._d_log_alpha(t).to(t.dtype) * self.alpha(t)
        if not self.zero_snr:
            return smooth
        last = (0.5 * self._log_bar[-2]).exp().to(smooth) * self.steps  # α falls to 0 in one step
        return torch.where(self._position(t) > self.steps - 1, -last, smooth)

    def d_sigma(self, t: Tensor) -> Tensor:
        return -self.alpha(t) * self.d_alpha(t) / self.sigma(t)


def zero_terminal(bar: Tensor) -> Tensor:
    """√ᾱ shifted and scaled so that its end is 0 and its start stays.  [zero-snr] (Alg. 1)"""
    root = bar.sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2


@dataclass(frozen=True)
class VE(Process):
    """Variance exploding: α = 1, σ geometric from σ_min to σ_max.  [song-sde] (31)

    σ(0) = σ_min, not 0: a chain ends at σ_min unless its last step goes to clean data explicitly.
    """

    sigma_min: float = 0.01  # [song-sde] (31)
    sigma_max: float = 50.0  # [song-sde] App. C, CIFAR-10

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** t

    def d_alpha(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        return log(self.sigma_max / self.sigma_min) * self.sigma(t)


def time_grid(
    steps: int, shift: float = 1.0, start: float = 1.0, end: float = 0.0
) -> tuple[float, ...]:
    """Times of a reverse chain: u → s·u / (1 + (s − 1)·u) for even u.  [sd3] (23)

    u runs from `start` to `end`, which therefore count before the shift. With start = 1 and end = 0
    this is the shifted schedule of rectified-flow models.

    >>> import scoreward as sw
    >>> [round(t, 2) for t in sw.time_grid(4, shift=3.0)]
    [1.0, 0.9, 0.75, 0.5, 0.0]
    """
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1, got {steps}")
    if not shift > 0:
        raise ValueError(f"`shift` must be positive, got {shift}; 1 leaves the grid as it is")
    if not 0 <= end < start <= 1:
        raise ValueError(
            f"expected 0 <= end < start <= 1, got start={start}, end={end}; "
            "time runs from 1 (noise) to 0 (data)"
        )
    u = [start + (end - start) * k / steps for k in range(steps + 1)]
    return tuple(shift * x / ((1 - x) + shift * x) for x in u)  # at u = 1 exactly 1
