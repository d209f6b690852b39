"""DPOK: DDPO with a learned baseline and a distance to the first model inside the loss.

[dpok] arXiv:2305.16381. The baseline V(x_t, c, t) is a small MLP fitted to the final reward at the
start of every round, over all processes; its weights and moments live in `Policy.memory`. The ratio
is clamped without the minimum of PPO, so its gradient vanishes on both sides of the window.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.prediction import Prediction
from scoreward.core.ratio import ratio_metrics
from scoreward.objectives.base import Needs, Samples
from scoreward.objectives.paths.base import PathObjective
from scoreward.objectives.paths.replay import PathRows, Replay, place, reduced
from scoreward.objectives.paths.visited import described

BETAS, TINY = (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class DPOK(PathObjective):
    """The settings of the public code; `kl` there is 0.01."""

    clip: float | None = 1e-4  # code
    reward_weight: float = 100.0  # code
    kl: float = 0.01  # code: weight of mean (ε − ε_first)², without 1/2σ²
    value_rate: float = 1e-4  # learning rate of V, code
    value_steps: int = 5  # updates of V in a round, code
    hidden: int = 256  # of V, ours

    @property
    def needs(self) -> Needs:
        return replace(super().needs, everyone=True)

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> PathRows:
        """Advantages become R − V, V having been fitted to the rewards of this round."""
        rows = super().prepare(samples, policy, key)
        reward = samples.reward[place(samples, rows.sample)].to(rows.advantage)
        inputs = features(rows)
        with torch.enable_grad():
            weights = fitted(self, inputs, reward, policy, key / "critic")
        value = critic(weights, inputs).detach()
        return replace(rows, advantage=reward - value)

    def distance(
        self, seen: Replay, first: Prediction, policy: DiffusionPolicy
    ) -> Float[Tensor, " rows"]:
        """mean (ε − ε_first)², without 1/2σ².  [dpok] (KL of the code)"""
        return reduced((seen.prediction.as_("eps") - first.as_("eps")).square(), True)

    def surrogate(self, seen: Replay, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        """−w (R − V) clamp(ρ, 1 − ε, 1 + ε).  [dpok] (policy loss)"""
        log_ratio, advantage = seen.log_ratio("gaussian", True), seen.rows.advantage
        ratio = log_ratio.exp()
        if self.clip is not None:
            ratio = ratio.clamp(1 - self.clip, 1 + self.clip)
        metrics = ratio_metrics(log_ratio, advantage, self.clip)
        metrics["value/error"] = advantage.square().mean()
        return -self.reward_weight * (advantage * ratio).mean(), metrics


def features(rows: PathRows) -> Float[Tensor, "rows width"]:
    """State, condition and time of each transition, flat."""
    t, said = rows.path.t[:, None], described(rows.cond)
    words = t[:, :0] if said is None else said.to(t)
    return torch.cat([rows.path.x.flatten(1), words, t], 1)


def critic(weights: list[Tensor], inputs: Tensor) -> Float[Tensor, " rows"]:
    """Two hidden layers."""
    one, two, three = (weights[i : i + 2] for i in (0, 2, 4))
    hidden = F.silu(F.linear(F.silu(F.linear(inputs, *one)), *two))
    return F.linear(hidden, *three)[:, 0]


def fitted(
    settings: DPOK, inputs: Tensor, reward: Tensor, policy: DiffusionPolicy, key: Key
) -> list[Tensor]:
    """A few Adam steps on mean (V − R)² over the rows of all processes, none if there are no rows.

    Weights, moments and the step count stay in memory.
    """
    memory = policy.memory
    count = policy.total(inputs.new_tensor(float(len(inputs))))
    if "dpok/0" not in memory:
        memory |= {f"dpok/{i}": w for i, w in enumerate(fresh(inputs.shape[1], settings, key))}
        memory["dpok/steps"] = torch.zeros(())
    for _ in range(settings.value_steps if count > 0 else 0):
        weights = [memory[f"dpok/{i}"].to(inputs).requires_grad_() for i in range(6)]
        error = (critic(weights, inputs) - reward).square().sum() / count
        flat = torch.cat([g.flatten() for g in torch.autograd.grad(error, weights)])
        pieces = policy.total(flat).split([w.numel() for w in weights])
        gradients = [g.view_as(w) for g, w in zip(pieces, weights, strict=True)]
        memory["dpok/steps"] = memory["dpok/steps"].cpu() + 1
        for i, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
            adam(memory, f"dpok/{i}", weight.detach(), gradient, settings.value_rate)
    return [memory[f"dpok/{i}"].to(inputs) for i in range(6)]


def adam(memory: dict[str, Tensor], name: str, weight: Tensor, slope: Tensor, rate: float) -> None:
    """One Adam step of a weight in memory."""
    k = float(memory["dpok/steps"])
    for part, beta, value in ((".m", BETAS[0], slope), (".v", BETAS[1], slope.square())):
        before = memory.get(name + part, torch.zeros_like(slope)).to(slope)
        memory[name + part] = beta * before + (1 - beta) * value
    mean = memory[name + ".m"] / (1 - BETAS[0] ** k)
    spread = (memory[name + ".v"] / (1 - BETAS[1] ** k)).sqrt()
    memory[name] = weight - rate * mean / (spread + TINY)


def fresh(width: int, settings: DPOK, key: Key) -> list[Tensor]:
    """Weights of scale 1/√inputs, zero biases, and a last layer of zeros."""
    sizes = [(settings.hidden, width), (settings.hidden, settings.hidden), (1, settings.hidden)]
    weights = []
    for i, (out, inside) in enumerate(sizes):
        scale = 0.0 if i == 2 else inside**-0.5
        weights += [scale * (key / i).normal(out, inside), torch.zeros(out)]
    return weights
