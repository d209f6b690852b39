"""Pairs of single reverse steps, for D3PO, SPO and LPO: rows, candidates, one clipped loss.

A row is two steps at the same time of the chain: of two paths of a prompt, or two candidates drawn
from one state. Log-densities are means over the elements and compared with the first model's.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scoreward.core.chain import Transitions
from scoreward.core.denoiser import Cond, Denoiser
from scoreward.core.device import wide
from scoreward.core.kernel import Kernel
from scoreward.core.keys import Key, normal_each
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.rows import Rows
from scoreward.losses.stepwise import d3po, mean_log_prob, spo_pairs
from scoreward.objectives.base import Needs, Objective, Samples
from scoreward.objectives.paths.replay import kernel_of, path_rows, read, stored


@dataclass(frozen=True)
class StepPairRows(Rows):
    """Two steps each; `first` are the first model's log-densities, nats per element."""

    winner: Transitions
    loser: Transitions
    cond: Cond
    first_winner: Float[Tensor, " rows"]
    first_loser: Float[Tensor, " rows"]
    sample: Int[Tensor, " rows"]


def log_prob(path: Transitions, denoiser: Denoiser, kernel: Kernel, cond: Cond) -> Tensor:
    """Nats per element of each step under a network.  [d3po] (log-probability)"""
    return mean_log_prob(kernel(denoiser(path.x, path.t, cond), path.s), path.next)


def step_rows(
    winner: Transitions, loser: Transitions, cond: Cond, policy: DiffusionPolicy
) -> StepPairRows:
    """Rows with the log-densities of the first model."""
    if not len(winner):
        none = winner.t[:0]
        return StepPairRows(winner, loser, cond, none, none, winner.sample)
    kernel = kernel_of(winner, policy.sampler)
    first, second = (log_prob(p, policy.reference, kernel, cond) for p in (winner, loser))
    return StepPairRows(winner, loser, cond, first, second, winner.sample)


@dataclass(frozen=True)
class StepObjective(Objective[Samples, StepPairRows, DiffusionPolicy]):
    """−log σ(β log r_w − β log r_l), each r clipped.  [d3po] (loss)"""

    beta: float = 0.1
    clip: float = 0.1  # c: ratios are clipped to 1 ± c

    def __post_init__(self) -> None:
        if not self.beta > 0 or not 0 < self.clip < 1:
            raise ValueError(
                f"expected beta > 0 and a `clip` inside (0, 1), got {self.beta} and {self.clip}"
            )

    @property
    def needs(self) -> Needs:
        return Needs(data="paths", together="prepared")  # a row is two steps

    def loss(self, rows: StepPairRows, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        kernel = kernel_of(rows.winner, policy.sampler)
        winner = log_prob(rows.winner, policy.current, kernel, rows.cond) - rows.first_winner
        loser = log_prob(rows.loser, policy.current, kernel, rows.cond) - rows.first_loser
        gap = (winner - loser).detach()
        edge = torch.stack([winner, loser]).detach().exp()
        return d3po(winner, loser, self.beta, self.clip).mean(), {
            "implicit/log_ratio": gap.mean(),
            "implicit/accuracy": ((gap.sign() + 1) / 2).mean(),
            "steps/clipped": wide((edge - 1).abs() > self.clip).mean(),
        }


@dataclass(frozen=True)
class CandidateObjective(StepObjective):
    """At every state of a path, k candidates for the next one; the best and the worst are a pair.

    The path's own next state is one of the candidates, so the path goes on from a random one. They
    are judged by the reward of the clean picture that the network predicts from each.
    """

    candidates: int = 4
    first: int = 4  # the first step of the path that is trained, from 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.candidates < 2 or self.first < 0:
            raise ValueError(
                "expected at least 2 `candidates` and no negative `first`, got "
                f"{self.candidates} and {self.first}"
            )

    @property
    def needs(self) -> Needs:
        return replace(super().needs, reward="rewards", everyone=True, trained=self.late)

    def late(self, stochastic: Sequence[int], steps: int) -> Sequence[int]:
        """The stochastic steps from `first` on."""
        return [i for i in stochastic if i >= self.first]

    @abstractmethod
    def threshold(
        self, std: Float[Tensor, " rows"], stds: tuple[float, float]
    ) -> Float[Tensor, " rows"]:
        """The least difference of a pair, for steps of these stds; `stds` are the extremes."""

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> StepPairRows:
        rows = path_rows(samples, stored(policy.rollout.paths))
        path, kernel = rows.path, kernel_of(rows.path, policy.sampler)
        law = kernel(read(path, path.answer, policy), path.s)
        drawn = [path.next]
        for j in range(1, self.candidates):
            at = zip(path.sample.tolist(), path.step.tolist(), strict=True)
            keys = [key / "candidate" / sample / step / j for sample, step in at]
            noise = normal_each(keys, tuple(path.x.shape[1:])).to(path.x)
            drawn.append(law.sample(noise))
        score = torch.stack([self._judged(c, path, rows.cond, policy) for c in drawn], 1)
        std = law.std.flatten(1)[:, 0]
        extremes = float(std.min()), float(std.max())
        best, worst, differ = spo_pairs(score, self.threshold(std, extremes))
        every, at = torch.stack(drawn, 1), torch.arange(len(path), device=best.device)
        winner, loser = (replace(path, next=every[at, chosen])[differ] for chosen in (best, worst))
        cond = None if rows.cond is None else rows.cond[differ]
        return step_rows(winner, loser, cond, policy)

    def _judged(
        self, state: Tensor, path: Transitions, cond: Cond, policy: DiffusionPolicy
    ) -> Tensor:
        """The reward of the clean picture predicted from each candidate, step by step."""
        if policy.rollout.score is None:
            raise ValueError("candidates need a source that can score them, such as Online")
        seen = policy.old(state, path.s.clamp(min=1e-3), cond).x0
        score = path.t.clone()
        for step in path.step.unique().tolist():
            at = (path.step == step).nonzero()[:, 0]
            score[at] = policy.rollout.score(seen[at], path.sample[at]).to(score)
        return score
