"""The samples of one process, drawn piece by piece with whatever an objective wants kept."""

from dataclasses import replace

import torch
from torch import Tensor

from scoreward.core.chain import Sampler, Tree, draw, rollout
from scoreward.core.denoiser import Cond
from scoreward.core.keys import Key
from scoreward.core.rows import join
from scoreward.training.geometry import Geometry
from scoreward.training.remembering import Remembering
from scoreward.training.work import Generated, Work


class Drawer:
    """Draws the `count` samples of a process piece by piece and puts the pieces together."""

    def __init__(
        self, sampler: Sampler, work: Work, geometry: Geometry, tree: Tree | None, count: int
    ) -> None:
        self.sampler, self.work, self.tree = sampler, work, tree
        unit = geometry.unit(work.objective.whole_groups)
        self.size = max(unit, geometry.rollout_batch // unit * unit)
        self.every = work.objective.every_step
        able = sampler.replayable if self.every else sampler.stochastic(work.policy.process)
        self.trained = tuple(work.objective.trained(able, sampler.steps))
        self.denoiser, self.states, self.paths = work.policy.old, [], []
        self.remembering: Remembering | None = None
        if self._room(count, geometry.remember):
            policy = work.policy
            self.remembering = Remembering(
                policy.old, policy.current, sampler.asked, self.trained, policy.kind
            )
            self.denoiser = self.remembering

    def _room(self, samples: int, limit: int) -> bool:
        """Whether the rollout's graphs can be used and fit."""
        reused = self.work.policy.on_policy and self.work.objective.reuses_rollout
        return reused and self.tree is None and 0 < samples * len(self.trained) <= limit

    def add(self, x: Tensor, keys: list[Key], cond: Cond, first: int) -> None:
        """Samples numbered from `first`, from their starting noise."""
        if self.remembering is not None:
            self.remembering.begin()
        match self.work.objective.stores:
            case "starts":
                self.states.append(x)
            case "samples":
                self.states.append(draw(self.sampler, self.denoiser, x, keys, cond))
            case "paths":
                kind = self.work.policy.kind
                steps = (self.sampler, self.denoiser, x, keys, cond, self.tree, kind, self.every)
                path = rollout(*steps)
                self.states.append(path.last)
                self.paths.append(path.transitions(first, self.trained))

    def made(self, cond: Cond, empty: tuple[int, ...]) -> Generated:
        """All that was added."""
        nothing = torch.zeros(*empty, device=self.work.team.device)
        paths = None
        if self.paths:
            paths = join(self.paths)
            paths = replace(paths, row=torch.arange(len(paths), device=nothing.device))
        graphs = self.remembering.graphs if self.remembering is not None else []
        return Generated(torch.cat([nothing, *self.states]), cond, paths, tuple(graphs))
