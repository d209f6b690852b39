"""D3PO: of two paths of a prompt, every step of the better one wins.

[d3po] arXiv:2311.13231. The paths are the best and the worst of a group by reward; with a group of
two that is the paper's pair, labelled by the reward instead of by people.
"""

from dataclasses import dataclass

import torch

from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.objectives.base import Samples
from scoreward.objectives.paths.replay import place, stored
from scoreward.objectives.paths.step_pairs import StepObjective, StepPairRows, step_rows
from scoreward.objectives.pictures.rows import extremes


@dataclass(frozen=True)
class D3PO(StepObjective):
    """Defaults of the release: β 0.1, c 0.1."""

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> StepPairRows:
        path, rows = stored(policy.rollout.paths), []
        found = zip(path.sample.tolist(), path.step.tolist(), strict=True)
        where = {both: row for row, both in enumerate(found)}
        steps = sorted({step for _, step in where})
        for best, worst in zip(*extremes(samples), strict=True):
            high, low = (int(samples.sample[at]) for at in (best, worst))
            rows += [(where[high, step], where[low, step]) for step in steps]
        at = torch.tensor(rows, dtype=torch.long, device=path.x.device).reshape(-1, 2)
        winner, loser = path[at[:, 0]], path[at[:, 1]]
        cond = None if samples.cond is None else samples.cond[place(samples, winner.sample)]
        return step_rows(winner, loser, cond, policy)
