"""A control problem with a known answer: Gaussian data, a quadratic reward, a path KL.

VP with β = 1 and T = 3 (our time is a third of it), data N(0.5, 0.25), r = −(x − 1.5)², KL weight
0.5, start N(0, 1). In y = x/a with the clock v = s² + (σ/a)² everything is affine; the formulas are
those of Cole and Hopf. Derived by us, and checked against the printed numbers in the tests.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scoreward.core.chain import Sampler, Trajectory, Transitions, uniform
from scoreward.core.denoiser import NetworkDenoiser
from scoreward.core.kernel import DDIM, Kernel, generalised
from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy, Rollout
from scoreward.core.prediction import Prediction
from scoreward.core.process import LinearVP
from scoreward.objectives.base import Samples
from tests.core.laws import F64, real

PROCESS = LinearVP(3.0, 3.0)
MU, S2, KAPPA, GOAL, BETA = 0.5, 0.25, 2.0, 1.5, 0.5
KEY = Key(("p1",))


def reward(x: Tensor) -> Tensor:
    """−κ/2 (x − z)² of one-dimensional samples [batch, 1]."""
    return -KAPPA / 2 * (x[:, 0] - GOAL) ** 2


def clock(t: Tensor) -> tuple[Tensor, Tensor]:
    """(a, v) at our time."""
    a = torch.exp(-1.5 * t)
    return a, S2 + (1 - a**2) / a**2


def first_score(x: Tensor, t: Tensor) -> Tensor:
    """The exact score of the data; x [batch, 1], t [batch]."""
    a, v = (u[:, None] for u in clock(t))
    return -(x - a * MU) / (a**2 * v)


@dataclass(frozen=True)
class Law:
    """X_0 given x at t is N(mean, variance) for the first score plus θ h(t), h = s²/(a v)."""

    eta: float
    theta: float = 0.0

    def mean(self, t: Tensor, x: Tensor) -> Tensor:
        a, v = clock(t)
        power = (1 + self.eta**2) / 2
        shrunk = (S2 / v) ** power
        return MU + shrunk / a * (x - a * MU) + self.theta * S2 * (1 - shrunk)

    def variance(self, t: Tensor) -> Tensor:
        return S2 * (1 - (S2 / clock(t)[1]) ** self.eta**2)

    def kl(self, t: Tensor) -> Tensor:
        """The path KL still to come at t, for η > 0."""
        weight = 0.5 * ((1 + self.eta**2) / (2 * self.eta)) ** 2
        return weight * self.theta**2 * S2**2 * (1 / S2 - 1 / clock(t)[1])

    def value(self, t: Tensor, x: Tensor, weight: float = BETA) -> Tensor:
        """E r − weight · KL from x at t."""
        paid = weight * self.kl(t) if weight else 0.0
        gap = (self.mean(t, x) - GOAL) ** 2 + self.variance(t)
        return -KAPPA / 2 * gap - paid

    def slope(self, t: Tensor, x: Tensor) -> Tensor:
        """∂V/∂x."""
        a, v = clock(t)
        gain = (S2 / v) ** ((1 + self.eta**2) / 2) / a
        return -KAPPA * (self.mean(t, x) - GOAL) * gain

    def objective(self, weight: float = BETA) -> Tensor:
        """J from the start N(0, 1): the value of the mean and the spread of the start."""
        one, zero = torch.ones(1, dtype=F64), torch.zeros(1, dtype=F64)
        a, v = clock(one)
        gain = (S2 / v) ** ((1 + self.eta**2) / 2) / a
        return (self.value(one, zero, weight) - KAPPA / 2 * gain**2)[0]

    def best_score(self, x: Tensor, t: Tensor) -> Tensor:
        """s* = s + 2η²/(1 + η²) ∇V*/β, with V* = β log E exp(r/β)."""
        a, v = clock(t)
        gain = (S2 / v) ** ((1 + self.eta**2) / 2) / a
        pull = -KAPPA * gain * (self.mean(t, x[:, 0]) - GOAL)
        slope = pull / (1 + KAPPA * self.variance(t) / BETA)
        return first_score(x, t) + (2 * self.eta**2 / (1 + self.eta**2) * slope / BETA)[:, None]

    def best_value(self, t: Tensor, x: Tensor) -> Tensor:
        """V*: what the best control still gets from x at t."""
        room = 1 + KAPPA * self.variance(t) / BETA
        return -KAPPA / 2 * (self.mean(t, x) - GOAL) ** 2 / room - BETA / 2 * room.log()


class Shifted(nn.Module):
    """The first score plus θ h(t)."""

    def __init__(self, theta: float = 0.0) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=F64))

    def forward(self, x: Tensor, t: Tensor, cond: None) -> Tensor:
        a, v = clock(t)
        return first_score(x, t) + self.theta * (S2 / (a * v))[:, None]


class Affine(nn.Module):
    """The first score plus h(t)·(A(t) + B(t)·(m(t, x) − μ)), A and B straight between knots."""

    def __init__(self, knots: int = 9) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(knots, 2, dtype=F64))

    def forward(self, x: Tensor, t: Tensor, cond: None) -> Tensor:
        a, v = (u[:, None] for u in clock(t))
        place = (t * (len(self.table) - 1)).clamp(max=len(self.table) - 1 - 1e-9)
        left = place.long()
        share = (place - left)[:, None]
        constant, slope = torch.lerp(self.table[left], self.table[left + 1], share).split(1, 1)
        centred = S2 / v * (x / a - MU)
        return first_score(x, t) + S2 / (a * v) * (constant + slope * centred)


def reading(module: nn.Module) -> NetworkDenoiser:
    return NetworkDenoiser(module, PROCESS, "score")


def chain(eta: float, steps: int, shift: float = 1.0, end: float = 0.0) -> Sampler:
    return uniform(DDIM(generalised(eta)), steps, shift, end=end)


def geometric(kernel: Kernel, steps: int, end: float = 10**-2.5, clean: bool = False) -> Sampler:
    """Steps that divide the noise-to-signal ratio by the same number, and one onto clean data."""
    first = torch.expm1(real(3.0)).sqrt().log10().item()
    ratio = torch.logspace(first, torch.log10(real(end)).item(), steps + 1, dtype=F64)
    times = (1.0, *(ratio[1:].square().log1p() / 3).tolist(), *([0.0] if clean else []))
    return Sampler(times, (kernel,) * (len(times) - 1))


def best_law(sampler: Sampler) -> tuple[float, float]:
    """Mean and variance of x0 under the best control of a chain: ε may be shifted, for β K δ².

    Backward, −P/2 (x − q)² is what x is worth; every step is affine, x' = A x + B + C δ + std z, so
    the best δ leaves the share 2βK/(PC² + 2βK) of the distance to q. Forward, moments follow.
    """
    maps = [affine(sampler, i) for i in range(sampler.steps)]
    worth, goal, plan = KAPPA, GOAL, []
    for gain, shift, push, std in reversed(maps):
        price = 2 * BETA * push**2 / (2 * std**2) if std else torch.inf
        left = price / (worth * push**2 + price) if std else 1.0
        plan.append((gain * left, shift * left + goal * (1 - left), std))
        worth, goal = worth * left * gain**2, (goal - shift) / gain
    mean, variance = 0.0, 1.0
    for gain, shift, std in reversed(plan):
        mean, variance = gain * mean + shift, gain**2 * variance + std**2
    return mean, variance


def affine(sampler: Sampler, i: int) -> tuple[float, float, float, float]:
    """(A, B, C, std) of a step of the first model, C being what one unit of ε moves the mean."""
    t, s = (torch.full((2,), time, dtype=F64) for time in sampler.times[i : i + 2])
    probe = real(0.0, 1.0)[:, None]
    with torch.no_grad():
        plain = reading(Shifted())(probe, t, None)
    law = sampler.kernels[i](plain, s)
    moved = Prediction.of("eps", plain.eps + 1, probe, t, PROCESS)
    push = sampler.kernels[i](moved, s).mean - law.mean
    low, high = law.mean[:, 0].tolist()
    return high - low, low, float(push[0]), float(law.std[0])


def acting(module: nn.Module, sampler: Sampler) -> DiffusionPolicy:
    """A policy that asks the true reward; the first model is the data's own score."""
    now, first = reading(module), reading(Shifted())
    return DiffusionPolicy(
        current=now,
        old=now,
        reference=first,
        process=PROCESS,
        sampler=sampler,
        kind="score",
        rollout=Rollout(score=lambda x0, sample: reward(x0)),
    )


@torch.no_grad()
def drawn(
    policy: DiffusionPolicy, count: int, key: Key, every: bool = False
) -> tuple[Samples, Transitions]:
    """Samples of a policy and their transitions, with one draw of noise for all samples."""
    sampler, x = policy.sampler, (key / "start").normal(count, 1, dtype=F64)
    states, logs, answers, kept = [x], [], [], []
    for i, kernel in enumerate(sampler.kernels):
        t, s = (torch.full((count,), time, dtype=F64) for time in sampler.times[i : i + 2])
        prediction = policy.old(x, t, None)
        law = kernel(prediction, s)
        noisy = bool((law.std > 0).all())
        x = law.sample((key / "step" / i).normal(count, 1, dtype=F64))
        states.append(x)
        logs.append(law.log_prob(x) if noisy else torch.zeros(count, dtype=F64))
        answers.append(prediction.as_(policy.kind))
        kept += [i] if noisy or every else []
    stacked = [torch.stack(parts) for parts in (states, logs, answers)]
    path = Trajectory(stacked[0], sampler.times, stacked[1], stacked[2], tuple(kept))
    earned, index = reward(x), torch.arange(count)
    return Samples(x, None, earned, index * 0, index, earned), path.transitions()
