"""A value function that is fitted round by round and remembers itself in `Policy.memory`.

Weights, moments, the number of updates and the unit of the rewards are tensors there, so a resumed
run goes on with the same bits. Gradients are summed over processes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.device import wide
from scoreward.core.keys import Key
from scoreward.objectives.paths.denoised_value import DenoisedValue
from scoreward.objectives.paths.visited import States

BETAS, TINY = (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class PathCritic:
    """V with everything it remembers; `total` sums a tensor over processes."""

    settings: DenoisedValue
    memory: dict[str, Tensor]
    total: Callable[[Tensor], Tensor]

    def begin(self, reward: Float[Tensor, " samples"], width: int, key: Key) -> bool:
        """In the first round: F = 0, and the rewards' mean and spread as the unit of V."""
        if "value/weights" in self.memory:
            return False
        values = wide(reward)
        sums = torch.stack([torch.ones_like(values), values, values.square()]).sum(1)
        count, first, second = self.total(sums).tolist()
        mean = first / count
        spread = max(0.0, second / count - mean**2) ** 0.5 or 1.0
        self.memory["value/unit"] = torch.tensor([mean, spread], dtype=torch.float64)
        self.memory["value/weights"] = self.settings.start(width, key).to(reward)
        self.memory["value/steps"] = torch.zeros(())
        return True

    def __call__(self, states: States, weights: Tensor | None = None) -> Float[Tensor, " states"]:
        """V of states."""
        held = self.memory["value/weights"] if weights is None else weights
        return self.settings.of(states, held, self.memory["value/unit"])

    def fit(self, states: States, cost: Tensor, returns: Tensor, passes: int, key: Key) -> None:
        """Passes over a round in minibatches of whole samples, the same for any processes."""
        here = torch.tensor(float(len(states.sample.unique())), device=states.t.device)
        count = round(float(self.total(here)))
        for number in range(passes):
            order = (key / number).permutation(count)
            for part in order.tensor_split(min(self.settings.batches, count)):
                chosen = torch.isin(states.sample, part.to(states.sample.device))
                self._update(states, chosen.nonzero()[:, 0], cost, returns)

    @torch.enable_grad()
    def _update(self, states: States, at: Tensor, cost: Tensor, returns: Tensor) -> None:
        """One AdamW step."""
        weights = self.memory["value/weights"].to(states.inputs).requires_grad_()
        loss = wide(self._loss(states, at, cost, returns, weights))
        loss = loss / float(self.memory["value/unit"][1]) ** 2
        (slope,) = torch.autograd.grad(loss, weights)
        summed = self.total(torch.cat([slope, slope.new_tensor([float(len(at))])]))
        slope, memory = summed[:-1] / summed[-1], self.memory
        memory["value/steps"] = memory["value/steps"] + 1
        k = float(memory["value/steps"])
        moments = []
        for name, beta, value in zip(("mean", "square"), BETAS, (slope, slope**2), strict=True):
            before = memory.get(f"value/{name}", torch.zeros_like(slope)).to(slope)
            memory[f"value/{name}"] = beta * before + (1 - beta) * value
            moments.append(memory[f"value/{name}"] / (1 - beta**k))
        rate, shrunk = self.settings.rate, 1 - self.settings.rate * self.settings.decay
        step = rate * moments[0] / (moments[1].sqrt() + TINY)
        memory["value/weights"] = shrunk * weights.detach() - step

    def _loss(
        self, states: States, at: Tensor, cost: Tensor, returns: Tensor, weights: Tensor
    ) -> Float[Tensor, ""]:
        """What a minibatch is fitted by, summed over its states; never the squared TD error.

        Monte Carlo: (V − G)², G the realised reward less the costs still to come. The martingale
        loss weighs that by the length of the step.  [score-as-action] (value learning)
        Orthogonality: the update ∇V·(V' − V − cost).  [score-as-action] (orthogonality)
        """
        value = self(states[at], weights)
        if self.settings.learning == "orthogonality":
            after = states.after[at]
            then = self(states[after.clamp(min=0)], weights).detach()
            ahead = torch.where(after < 0, states.reward[at], then)
            return -(value * (ahead - value.detach() - cost[at])).sum()
        error = (value - returns[at]).square()
        return (
            (error * states.length[at]) if self.settings.learning == "martingale" else error
        ).sum()
