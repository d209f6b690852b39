"""Output laws on one-dimensional mixtures: the oracle where nothing is Gaussian any more.

All in y = x/α with the clock v = σ²/α². Three independent ways to the law at the end: the ODE keeps
ranks, so it is a quantile transform; at η = 1 the output given the start is the true posterior;
any other η solves the Fokker–Planck equation, in coordinates that move with the ODE. A law comes as
points and weights, whatever the reward. Derived by us.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import solve_banded
from torch import Tensor

from scoreward.models.analytic import Mixture
from scoreward.theory.gaussian import F64, GaussianLaw, Levels

REACH = 9.0  # standard deviations to the ends of every grid; 1e-19 of the mass is beyond


@dataclass(frozen=True)
class Points:
    """A law as weights on points."""

    y: Float[Tensor, " points"]
    weight: Float[Tensor, " points"]

    def expect(self, reward: Callable[[Tensor], Tensor]) -> Tensor:
        """E r; the reward maps [points] to [points] or to several columns [points, rewards]."""
        return self.weight @ reward(self.y)


@dataclass(frozen=True)
class Diffused:
    """The law of y at clock v: Σ w_k N(m_k, c_k + v), one-dimensional."""

    data: Mixture

    def parts(self, y: Tensor, v: float) -> tuple[Tensor, Tensor, Tensor]:
        """(log w_k N(y), z-scores, stds) with the components last."""
        std = (self.data.variances + v).sqrt()
        z = (y[..., None] - self.data.means[:, 0]) / std
        return self.data.weights.log() + _log_normal(z) - std.log(), z, std

    def log_density(self, y: Tensor, v: float) -> Tensor:
        return self.parts(y, v)[0].logsumexp(-1)

    def score(self, y: Tensor, v: float) -> Tensor:
        log_density, z, std = self.parts(y, v)
        return -(log_density.softmax(-1) * z / std).sum(-1)

    def tails(self, y: Tensor, v: float) -> tuple[Tensor, Tensor]:
        """(P(Y ≤ y), P(Y > y)), each with all its digits where it is small."""
        _, z, _ = self.parts(y, v)
        below, above = (self.data.weights * _beyond(side) for side in (-z, z))
        return below.sum(-1), above.sum(-1)

    def grid(self, nodes: int) -> Tensor:
        """Even points over everything that has mass at v = 0."""
        far, places = REACH * self.data.variances.sqrt(), self.data.means[:, 0]
        ends = (places - far).min().item(), (places + far).max().item()
        return torch.linspace(*ends, nodes, dtype=F64)


@dataclass(frozen=True)
class MixtureSampling:
    """Data, the start law of y, and the clock it starts from."""

    data: Mixture
    start: GaussianLaw
    top: float

    def __post_init__(self) -> None:
        if self.data.means.shape[1] != 1 or self.start.dim != 1:
            dims = self.data.means.shape[1], self.start.dim
            raise ValueError(f"mixture laws are one-dimensional, got data and start of {dims}")
        if not 0 < self.top < float("inf"):
            raise ValueError(f"the clock σ²/α² must start finite and above 0, got {self.top}")

    @classmethod
    def of(cls, data: Mixture, start: GaussianLaw, levels: Levels) -> "MixtureSampling":
        """From a start law of x and the ends of a grid that ends at clean data (α = 1, σ = 0)."""
        alpha, sigma = levels.alpha[..., [0, -1]], levels.sigma[..., [0, -1]]
        if not (alpha[1] == 1 and sigma[1] == 0):
            raise ValueError("the grid must end at clean data, α = 1 and σ = 0")
        first = GaussianLaw(start.mean / alpha[0], start.variance / alpha[0] ** 2)
        return cls(data, first, (sigma[0] / alpha[0]).item() ** 2)


def output_law(sampling: MixtureSampling, eta: float) -> Points:
    """The law at the end for any η ≥ 0, by the best of three ways.  [reward-gap] (mixture)"""
    if not eta >= 0:
        raise ValueError(f"eta must not be negative, got {eta}; 0 is the ODE, 1 the reverse SDE")
    if eta == 0:
        return transported(sampling)
    return posterior(sampling) if eta == 1 else evolved(sampling, eta)


def transported(sampling: MixtureSampling, nodes: int = 4001) -> Points:
    """η = 0: y_0 = F_0⁻¹(F_T(y_T)), because the ODE keeps ranks.  [reward-gap] (mixture)

    The density at y is p_0(y)/p_T · start density, both at the point of the same rank.
    """
    law = Diffused(sampling.data)
    y = law.grid(nodes)
    source = _same_rank(law, y, sampling.top)
    log_weight = law.log_density(y, 0.0) - law.log_density(source, sampling.top)
    start = sampling.start
    z = (source - start.mean) / start.variance.sqrt()
    log_weight = log_weight + _log_normal(z) - 0.5 * start.variance.log()
    return Points(y, log_weight.exp() * (y[1] - y[0]))


def posterior(sampling: MixtureSampling, nodes: int = 801, inner: int = 161) -> Points:
    """η = 1: given y_T the output is the posterior, whatever the start law.  [reward-gap] (mixture)

    A mixture again: component k has mean m_k + c_k/(c_k + v) (y_T − m_k), variance c_k v/(c_k + v).
    """
    law, data = Diffused(sampling.data), sampling.data
    z = torch.linspace(-REACH, REACH, nodes, dtype=F64)
    y = sampling.start.mean + sampling.start.variance.sqrt() * z
    share = law.parts(y, sampling.top)[0].softmax(-1) * _normal_weights(z)[:, None]
    gain = data.variances / (data.variances + sampling.top)
    centre = data.means[:, 0] + gain * (y[:, None] - data.means[:, 0])
    noise = torch.linspace(-REACH, REACH, inner, dtype=F64)
    ends = centre[..., None] + (gain * sampling.top).sqrt()[:, None] * noise
    weight = share[..., None] * _normal_weights(noise)
    return Points(ends.flatten(), weight.flatten())


def evolved(sampling: MixtureSampling, eta: float, nodes: int = 501, steps: int = 100) -> Points:
    """Any η: the Fokker–Planck equation from the start to v = 0.  [reward-gap] (mixture)

    On points that move with the ODE only the Langevin part (η²/2) (p (w/p)′)′ is left: symmetric,
    so that Crank–Nicolson on cells of fixed mass is stable for any η. Its adjoint is the backward
    equation u_v = (1+η²)/2 s u_y + η²/2 u_yy. Two grids are extrapolated, hence negative weights;
    the error of expectations is about 1e-7.
    """
    coarse = _evolved(sampling, eta, nodes, steps)
    fine = _evolved(sampling, eta, 2 * nodes - 1, 2 * steps)
    weight = torch.cat([-coarse.weight / 3, 4 * fine.weight / 3])
    return Points(torch.cat([coarse.y, fine.y]), weight)


def _evolved(sampling: MixtureSampling, eta: float, nodes: int, steps: int) -> Points:
    law, least = Diffused(sampling.data), sampling.data.variances.min().item() / 5
    clock = least * np.expm1(np.linspace(0, np.log1p(sampling.top / least), steps + 1))
    paths = _flow(law, law.grid(2 * nodes - 1), clock.tolist())
    places, edges = paths[:, ::2], paths[:, 1::2]
    mass = _between(*law.tails(edges[0], 0.0)).numpy()
    density = [law.log_density(y, v).exp() for y, v in zip(edges, clock.tolist(), strict=True)]
    flux = (0.5 * eta**2 * torch.stack(density) / places.diff(dim=1)).numpy()
    z = (edges[-1] - sampling.start.mean) / sampling.start.variance.sqrt()
    weight = _between(_beyond(-z), _beyond(z)).numpy()
    for j in range(steps, 0, -1):
        half = (clock[j] - clock[j - 1]) / 2
        weight = _crank_nicolson(weight, mass, half * flux[j], half * flux[j - 1])
    return Points(places[0], torch.from_numpy(weight))


def _crank_nicolson(
    weight: np.ndarray, mass: np.ndarray, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """(M + L₂)(M − L₁)⁻¹ weight, L the graph Laplacian (negative) of the flux between cells."""
    system = np.zeros((3, len(mass)))
    system[1] = mass
    system[1, :-1] += first
    system[1, 1:] += first
    system[0, 1:] = system[2, :-1] = -first
    share = solve_banded((1, 1), system, weight)
    moved = second * np.diff(share)
    after = mass * share
    after[:-1] += moved
    after[1:] -= moved
    return after


def _flow(law: Diffused, y: Tensor, clock: list[float]) -> Float[Tensor, "clocks points"]:
    """The ODE dy/dv = −s/2 from the first clock to the others, by Runge–Kutta of fourth order."""
    path = [y]
    for v, after in pairwise(clock):
        h, middle = after - v, (v + after) / 2
        one = -0.5 * law.score(y, v)
        two = -0.5 * law.score(y + h / 2 * one, middle)
        three = -0.5 * law.score(y + h / 2 * two, middle)
        four = -0.5 * law.score(y + h * three, after)
        y = y + h / 6 * (one + 2 * two + 2 * three + four)
        path.append(y)
    return torch.stack(path)


def _same_rank(law: Diffused, y: Tensor, top: float) -> Tensor:
    """F_T⁻¹(F_0(y)) by bisection, on whichever tail is small."""
    below, above = law.tails(y, 0.0)
    spread = (law.data.variances.max().item() + top) ** 0.5
    far = law.data.means.abs().max().item() + 2 * REACH * spread
    low, high = torch.full_like(y, -far), torch.full_like(y, far)
    for _ in range(70):
        middle = (low + high) / 2
        left, right = law.tails(middle, top)
        short = torch.where(below < 0.5, left < below, right > above)
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return (low + high) / 2


def _between(below: Tensor, above: Tensor) -> Tensor:
    """Mass of the cells between edges, from both tails at the edges."""
    end = below.new_tensor([0.0, 1.0])
    left, right = torch.cat([end[:1], below, end[1:]]), torch.cat([end[1:], above, end[:1]])
    return torch.where(left[:-1] < 0.5, left.diff(), -right.diff())


def _beyond(z: Tensor) -> Tensor:
    """P(Z > z), with all its digits in the tail (torch.special.ndtr loses them there)."""
    return 0.5 * torch.erfc(z / 2**0.5)


def _log_normal(z: Tensor) -> Tensor:
    return -0.5 * (z**2 + np.log(2 * np.pi))


def _normal_weights(z: Tensor) -> Tensor:
    """Weights of a standard normal on even points (the trapezoid rule, exact to rounding here)."""
    return _log_normal(z).exp() * (z[1] - z[0])
