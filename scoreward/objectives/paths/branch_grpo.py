"""BranchGRPO: rollouts as a binary tree, advantages at every depth of it.

[branch-grpo] arXiv:2509.06040. Online(tree=chain.Tree(splits)) draws the tree; shared steps cost
one evaluation. An edge is trained with the advantage of the node it leads to.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.chain import Transitions
from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.objectives.base import Needs, Samples
from scoreward.objectives.paths.base import PathObjective
from scoreward.objectives.paths.replay import PathRows, path_rows, place, stored


@dataclass(frozen=True)
class BranchGRPO(PathObjective):
    """The settings of the public code."""

    clip: float | None = 1e-3  # code
    last: bool = False  # as DanceGRPO
    depth: tuple[int, int] | None = None  # train the steps first … last only (depth pruning)

    @property
    def needs(self) -> Needs:
        return replace(super().needs, together="updated", graphs=False)

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> PathRows:
        path = stored(policy.rollout.paths)
        if self.depth is not None:
            path = path[(path.step >= self.depth[0]) & (path.step <= self.depth[1])]
        rows = path_rows(samples, stored(path))
        rows = replace(rows, advantage=self.node_advantages(samples, path).to(rows.advantage))
        if self.skip_uniform:
            rows = rows[self.teaching(rows, samples, policy)]
        return rows

    def node_advantages(self, samples: Samples, path: Transitions) -> Float[Tensor, " rows"]:
        """Mean reward of the leaves below each edge, normalised per depth of its tree.

        [branch-grpo] (depth-wise advantages)
        """
        value = torch.zeros(len(path), dtype=samples.reward.dtype, device=path.sample.device)
        group = samples.group[place(samples, path.sample)]
        for step in path.step.unique():
            for tree in group.unique():
                at = ((path.step == step) & (group == tree)).nonzero()[:, 0]
                leaves = samples.reward[samples.group == tree]
                nodes = leaves.reshape(len(at), -1).mean(1)  # in order of their first leaf
                order = path.sample[at].argsort()
                value[at[order]] = normalised(nodes)
        return value


def normalised(nodes: Float[Tensor, " nodes"]) -> Float[Tensor, " nodes"]:
    """(v − mean)/(std + 1e-8), unbiased std; 0 for one node or equal ones.  [branch-grpo] (code)"""
    if len(nodes) < 2 or nodes.std() < 1e-6:
        return torch.zeros_like(nodes)
    return (nodes - nodes.mean()) / (nodes.std() + 1e-8)
