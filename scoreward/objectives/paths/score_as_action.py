"""Score as action: an actor-critic in continuous time on the reverse process.

[score-as-action] arXiv:2502.01819. The reverse SDE is a controlled process, the score is the
action, the reward comes at the end, and leaving the first model costs its KL rate on the way. A
step earns the change of the value V along it, so every step has an advantage of its own and nothing
refers to the number of steps. V is in `denoised_value.py`. `released()` are the settings of
the public code; its slips (an option it ignores, a log-SNR that is not one) are not among them.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.prediction import Prediction
from scoreward.core.ratio import ratio_metrics
from scoreward.objectives.base import Needs, Samples
from scoreward.objectives.paths.actions import (
    ActionRows,
    chosen,
    costs,
    normalised,
    slopes,
    step_kl,
)
from scoreward.objectives.paths.base import PathObjective
from scoreward.objectives.paths.critic import PathCritic
from scoreward.objectives.paths.denoised_value import DenoisedValue
from scoreward.objectives.paths.replay import Replay, kernel_of, path_rows, reduced, stored
from scoreward.objectives.paths.visited import States, gathered, visited


@dataclass(frozen=True)
class ScoreAsAction(PathObjective):
    """Any kernel with noise and any number of steps; "pathwise" also without noise.

    `kl` is β of E r − β KL: its cost enters V and the advantages (`running`, in nats), its explicit
    gradient the loss. With advantages in standard deviations β is in those units too.
    """

    clip: float | None = 1.5e-5  # code, per dimension
    estimator: Literal["ratio", "plain", "pathwise"] = "ratio"  # code: ratio
    normalise: Literal["step", "all", "none"] = "step"  # advantages, per time index; code
    bound: float | None = 5.0  # of advantages, code
    running: bool = True  # whether the KL to come is part of V
    trace: float = 0.0  # time over which an advantage looks ahead; inf: realised reward − V; ours
    fresh: bool = True  # V has not yet seen the rewards it judges; the code fits it first
    fraction: float = 1.0  # share of a sample's steps that are trained, drawn anew each round; ours
    value: DenoisedValue = DenoisedValue()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.fraction <= 1:
            raise ValueError(f"`fraction` is a share in (0, 1], got {self.fraction}")
        if not self.trace >= 0:
            raise ValueError(f"`trace` is a length of time, at least 0, got {self.trace}")

    @property
    def needs(self) -> Needs:
        pathwise = self.estimator == "pathwise"
        return replace(
            super().needs,
            reward="slopes" if pathwise else "rewards",
            everyone=True,
            every_step=pathwise,
            graphs=self.fraction == 1,
        )

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> ActionRows:
        """Values and advantages of all steps, then those that are trained."""
        rows = path_rows(samples, stored(policy.rollout.paths))
        rows = self.referred(rows, policy) if self.kl else rows
        states = visited(rows, samples, policy, self.value.branches)
        cost = costs(rows, states, policy, self.kl if self.running else 0.0)
        returns = states.reward - gathered(states, cost, torch.ones_like(cost))
        critic = PathCritic(self.value, policy.memory, policy.total)
        new = critic.begin(samples.reward, states.inputs.shape[1], key / "value")
        passes = self.value.first_passes if new else self.value.passes
        if not self.fresh:
            critic.fit(states, cost, returns, passes, key / "fit")
        value, count = critic(states), len(rows)
        advantage = self.advantages(states, value, cost)[:count]
        if self.normalise != "none":
            place = rows.path.step if self.normalise == "step" else rows.path.step * 0
            advantage = normalised(advantage, place, policy.sampler.steps, policy.total)
        if self.bound is not None:
            advantage = advantage.clamp(-self.bound, self.bound)
        pathwise = self.estimator == "pathwise"
        slope = slopes(critic, states, rows, samples, policy) if pathwise else None
        if self.fresh:
            critic.fit(states, cost, returns, passes, key / "fit")
        asked = (states.t > 0).to(value).sum().expand(count) / len(samples)
        rows = replace(rows, advantage=advantage)
        made = ActionRows(
            **vars(rows), value=value[:count], returns=returns[:count], asked=asked, slope=slope
        )
        return made[chosen(rows, self.fraction, key) & self.teaching(rows, samples, policy)]

    def advantages(self, states: States, value: Tensor, cost: Tensor) -> Float[Tensor, " states"]:
        """V(t_{k+1}, x_{k+1}) − V(t_k, x_k) − the running KL.  [score-as-action] (CTD advantage)

        With `trace` also the later ones, faded by e to the power of −time / trace.
        """
        after = torch.where(states.after < 0, states.reward, value[states.after])
        gain = after - value - cost
        if self.trace == 0:
            return gain
        until = torch.where(states.after < 0, torch.zeros_like(states.t), states.t[states.after])
        return gathered(states, gain, torch.exp((until - states.t) / self.trace))

    def distance(
        self, seen: Replay, first: Prediction, policy: DiffusionPolicy
    ) -> Float[Tensor, " rows"]:
        """The explicit KL of a step; 0 where it has no noise.  [score-as-action] (Thm. 3.1)"""
        kernel = kernel_of(seen.rows.path, policy.sampler)
        value = step_kl(seen.new, kernel(first, seen.rows.path.s), self.per_dimension)
        return value * seen.step_size if self.kl_form == "code" else value

    def surrogate(self, seen: Replay, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        """Clipped ratio, score function, or −μ·∇V(t', x').  [score-as-action] (Thm. 4.1)"""
        rows = seen.rows
        if not isinstance(rows, ActionRows):
            raise ValueError("these rows were not prepared by ScoreAsAction")
        left = (rows.returns - rows.value).square().mean()
        metrics = {"value/error": left, "value/mean": rows.value.mean()}
        metrics["value/rewards"] = rows.asked.mean()
        if rows.slope is not None:
            gain = reduced(seen.new.mean * rows.slope, self.per_dimension)
            return -gain.mean(), metrics
        if self.estimator == "ratio":
            loss, ratios = super().surrogate(seen, policy)
            return loss, metrics | ratios
        log_ratio = seen.log_ratio(self.log_prob, self.per_dimension)
        loss = -(rows.advantage * log_ratio).mean()  # [score-as-action] (score function)
        return loss, metrics | ratio_metrics(log_ratio, rows.advantage, None)


def released() -> ScoreAsAction:
    """The settings of the public code, so far as they do not depend on its reward's network."""
    value = DenoisedValue(told=False, passes=1, first_passes=1, rate=1e-7)
    return ScoreAsAction(fresh=False, value=value)
