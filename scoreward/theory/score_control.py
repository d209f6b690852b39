"""[score-as-action] on Gaussian data: every quantity of its control problem in closed form.

Score as Action: Fine-Tuning Diffusion Generative Models by Continuous-time Reinforcement Learning,
arXiv 2502.01819.

The reverse process is steered by the score that is put into it: reward at the end, KL of paths as
running cost. The paper treats η = 1; the form for any η is derived by us, as are all closed forms.
Times run from 1 (noise) to 0 (data), where the reward is given; x has shape [batch, dim].
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.prediction import per_sample
from scoreward.core.process import Process
from scoreward.theory.gaussian import F64, GaussianLaw, LinearReward, QuadraticReward, transition
from scoreward.theory.path_kl import factor

State = Float[Tensor, "batch dim"]
Times = Float[Tensor, " batch"]


@dataclass(frozen=True)
class Problem:
    """max E r(X_0) − β KL(P_s ‖ P_pre) over scores s, at noise η.  [score-as-action] (Thm. 3.1)

    P_pre has the exact score of N(m, c I). At η = 0 paths have no KL, and none is charged.
    """

    data: GaussianLaw
    process: Process
    reward: LinearReward | QuadraticReward
    beta: float
    eta: float = 1.0

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"`beta`, the weight of the KL, must be positive, got {self.beta}")
        if not 0 <= self.eta < float("inf"):
            raise ValueError(f"`eta` must be finite and not negative, got {self.eta}")
        if self.data.variance.ndim:
            shape = tuple(self.data.variance.shape)
            raise ValueError(f"a problem has one data law, got {shape} of them; make one for each")

    @property
    def cost(self) -> float:
        """β ((1 + η²)/(2η))², the weight of ½ g² |s − s_pre|².  [score-as-action] (K)"""
        return self.beta * factor(self.eta).item() if self.eta else 0.0

    @property
    def pull(self) -> float:
        """(1 + η²)/2, the share of g² in front of the score."""
        return (1 + self.eta**2) / 2

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """α and σ."""
        return self.process.alpha(t), self.process.sigma(t)

    def ahead(self, x: State, t: Times) -> tuple[GaussianLaw, Float[Tensor, "batch 1"]]:
        """The law of X_0 given x at t without control, and the slope of its mean in x.

        At η = 1 its mean is the denoised x.
        """
        time = per_sample(t, x)
        now, then = self.levels(time), self.levels(torch.zeros_like(time))
        slope, noise = transition(self.data.variance, now, then, torch.tensor(self.eta, dtype=F64))
        mean = then[0] * self.data.mean + slope * (x - now[0] * self.data.mean)
        return GaussianLaw(mean, noise[:, 0]), slope

    def score(self, x: State, t: Times) -> State:
        """s_pre, the score before fine-tuning."""
        alpha, sigma = self.levels(per_sample(t, x))
        return -(x - alpha * self.data.mean) / (alpha**2 * self.data.variance + sigma**2)

    def precision(self, t: Tensor) -> Tensor:
        """1/v_t with v = c + σ²/α²."""
        alpha, sigma = self.levels(t)
        return alpha**2 / (alpha**2 * self.data.variance + sigma**2)


@dataclass(frozen=True)
class Optimal:
    """The optimum, by Cole–Hopf: V* = β log E exp(r(X_0)/β).  [score-as-action] (value)

    ValueError at η = 0, where nothing holds the score back.
    """

    problem: Problem

    def __post_init__(self) -> None:
        if self.problem.eta == 0:
            raise ValueError("at eta = 0 paths have no KL, so there is no optimum; use eta > 0")

    def value(self, x: State, t: Times) -> Times:
        """V*(t, x), in units of the reward."""
        return self.problem.reward.soft(self.problem.ahead(x, t)[0], self.problem.beta)

    def value_gradient(self, x: State, t: Times) -> State:
        """∇_x V*: the reward's gradient where the tilted law of X_0 is centred."""
        law, slope = self.problem.ahead(x, t)
        reward = self.problem.reward
        return slope * reward.gradient(reward.tilted(law, self.problem.beta).mean)

    def score(self, x: State, t: Times) -> State:
        """s* = s_pre + (2η²/(1 + η²)) ∇V*/β.  [score-as-action] (optimal score)"""
        problem = self.problem
        share = problem.pull / problem.cost
        return problem.score(x, t) + share * self.value_gradient(x, t)

    def law(self, start: GaussianLaw) -> GaussianLaw:
        """Terminal law from a start law at t = 1.  [score-as-action] (tilt)"""
        tilted, spread, shrink = self._from(start)
        return GaussianLaw(tilted.mean, tilted.variance + shrink**2 * spread)

    def path_kl(self, start: GaussianLaw) -> Tensor:
        """KL(P* ‖ P_pre), nats: that of the ends given the start, averaged over the start."""
        tilted, spread, shrink = self._from(start)
        law, _ = self._mean_ahead(start)
        excess = start.dim * (1 - shrink) ** 2 * spread / (2 * law.variance)
        return tilted.kl(law) + excess

    def objective(self, start: GaussianLaw) -> Tensor:
        """J = E r − β KL."""
        reward = self.problem.reward.expect(self.law(start))
        return reward - self.problem.beta * self.path_kl(start)

    def _mean_ahead(self, start: GaussianLaw) -> tuple[GaussianLaw, Tensor]:
        law, slope = self.problem.ahead(start.mean[None], torch.ones(1, dtype=F64))
        return GaussianLaw(law.mean[0], law.variance[0]), slope[0, 0]

    def _from(self, start: GaussianLaw) -> tuple[GaussianLaw, Tensor, Tensor]:
        """(tilted law given the mean start, variance of its prior mean, how far that carries)."""
        law, slope = self._mean_ahead(start)
        tilted = self.problem.reward.tilted(law, self.problem.beta)
        return tilted, slope**2 * start.variance, tilted.variance / law.variance


@dataclass(frozen=True)
class Shifted:
    """The policies s_θ = s_pre + θ h(t), h = c/(α v) = c α_t/V_t.  [score-as-action] (family)

    θ moves the mean of the output and nothing else. θ = 0 is the model before fine-tuning. Also for
    η = 0, the ODE, without a KL term.
    """

    problem: Problem
    theta: Float[Tensor, " dim"]

    def shape(self, t: Tensor) -> Tensor:
        """h(t)."""
        alpha, sigma = self.problem.levels(t)
        variance = self.problem.data.variance
        return variance * alpha / (alpha**2 * variance + sigma**2)

    def score(self, x: State, t: Times) -> State:
        return self.problem.score(x, t) + self.theta * self.shape(per_sample(t, x))

    def moved(self, t: Tensor, s: Tensor) -> Tensor:
        """How far the mean of x_s moves per θ between t and s: α_s c (1 − (v_s/v_t)^((1+η²)/2))."""
        problem = self.problem
        kept = (problem.precision(t) / problem.precision(s)) ** problem.pull
        return problem.process.alpha(s) * problem.data.variance * (1 - kept)

    def running(self, t: Tensor, s: Tensor) -> Tensor:
        """KL of paths between t and s, nats; 0 at η = 0."""
        problem = self.problem
        precision = problem.precision(s) - problem.precision(t)
        size = (problem.data.variance * self.theta).square().sum()
        return 0.5 * problem.cost / problem.beta * size * precision

    def value(self, x: State, t: Times) -> Times:
        """V_θ(t, x): expected reward minus β times the KL that is still to come."""
        problem, end = self.problem, torch.zeros_like(t)
        law = self._ahead(x, t)
        return problem.reward.expect(law) - problem.beta * self.running(t, end)

    def value_gradient(self, x: State, t: Times) -> State:
        _, slope = self.problem.ahead(x, t)
        return slope * self.problem.reward.gradient(self._ahead(x, t).mean)

    def _ahead(self, x: State, t: Times) -> GaussianLaw:
        law, _ = self.problem.ahead(x, t)
        return GaussianLaw(
            law.mean + self.theta * self.moved(t, torch.zeros_like(t))[:, None], law.variance
        )

    def law_at(self, start: GaussianLaw, t: float) -> GaussianLaw:
        """The law of X_t from a start law at t = 1."""
        one, time = (torch.tensor(u, dtype=F64) for u in (1.0, t))
        problem = self.problem
        now, then = problem.levels(one), problem.levels(time)
        slope, noise = transition(
            problem.data.variance, now, then, torch.tensor(problem.eta, dtype=F64)
        )
        mean = then[0] * problem.data.mean + slope * (start.mean - now[0] * problem.data.mean)
        return GaussianLaw(
            mean + self.theta * self.moved(one, time), slope**2 * start.variance + noise
        )

    def law(self, start: GaussianLaw) -> GaussianLaw:
        """Terminal law."""
        return self.law_at(start, 0.0)

    def path_kl(self, start: GaussianLaw) -> Tensor:
        """KL(P_θ ‖ P_pre), nats; it does not depend on the start."""
        ends = torch.tensor([1.0, 0.0], dtype=F64)
        return self.running(ends[0], ends[1])

    def objective(self, start: GaussianLaw) -> Tensor:
        """J(θ) = E r − β KL.  [score-as-action] (family)"""
        reward = self.problem.reward.expect(self.law(start))
        return reward - self.problem.beta * self.path_kl(start)

    def gradient(self, start: GaussianLaw) -> Float[Tensor, " dim"]:
        """dJ/dθ in closed form.  [score-as-action] (family)"""
        moved, price = self._sizes()
        return moved * self.problem.reward.gradient(self.law(start).mean) - price * self.theta

    def best(self, start: GaussianLaw) -> "Shifted":
        """The maximum of J over θ; infinite where neither reward nor KL bends."""
        moved, price = self._sizes()
        bend = self.problem.reward.curvature * moved**2 + price
        return Shifted(self.problem, self.theta + self.gradient(start) / bend)

    def _sizes(self) -> tuple[Tensor, Tensor]:
        """(shift of the output per θ, β d² KL/dθ²)."""
        one, end = torch.tensor([1.0, 0.0], dtype=F64)
        problem = self.problem
        spent = problem.precision(end) - problem.precision(one)
        return self.moved(one, end), problem.cost * problem.data.variance**2 * spent

    def gradient_rate(self, start: GaussianLaw, t: float) -> Float[Tensor, " dim"]:
        """The integrand of the policy gradient at one time.  [score-as-action] (Thm. 4.1)

        g² h E[(1+η²)/2 ∇V_θ(t, X_t) − cost · (s_θ − s_pre)]; ∇V_θ is affine, so E is at the mean.
        At η = 0 the cost is 0: the ODE's gradient.  [scores-as-actions] (deterministic)
        """
        time = torch.tensor([t], dtype=F64)
        mean, shape = self.law_at(start, t).mean[None], self.shape(time)
        rise = self.problem.pull * self.value_gradient(mean, time)[0]
        charge = self.problem.cost * self.theta * shape
        return self.problem.process.g(time) ** 2 * shape * (rise - charge)


def advantage_rate(policy: Optimal | Shifted, action: State, x: State, t: Times) -> Times:
    """q(t, x, a) of a policy's value, per unit of time; 0 at the policy's own score.

    q = ∂V/∂τ + b·∇V + ½ η² g² ΔV − (cost/2) g² |a − s_pre|², expanded about the policy's score.
    [score-as-action] (advantage)
    """
    problem, own = policy.problem, policy.score(x, t)
    apart = action - own
    rise = problem.pull * policy.value_gradient(x, t)
    rise = rise - problem.cost * (own - problem.score(x, t))
    gain = (apart * rise).sum(1) - 0.5 * problem.cost * apart.square().sum(1)
    return problem.process.g(t) ** 2 * gain


def action_std(process: Process, t: Tensor, step: float, eta: float) -> Tensor:
    """Std of Gaussian scores that gives a noiseless Euler step the noise η g √step.

    2η/((1 + η²) g √step), which at η = 1 is 1/(g √step).  [score-as-action] (action noise)
    """
    return 2 * eta / ((1 + eta**2) * process.g(t) * step**0.5)
