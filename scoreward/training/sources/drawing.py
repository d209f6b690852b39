"""The samples of one process, drawn piece by piece with whatever an objective wants kept."""

from dataclasses import replace

import torch
from torch import Tensor

from scoreward.core.chain import Sampler, Tree, draw, rollout
from scoreward.core.denoiser import Cond
from scoreward.core.keys import Key
from scoreward.core.policy import Rollout
from scoreward.core.rows import join
from scoreward.training.geometry import Geometry
from scoreward.training.remembering import Remembering
from scoreward.training.work import Generated, PictureWork


class Drawer:
    """Draws the `count` samples of a process piece by piece and puts the pieces together."""

    def __init__(
        self,
        sampler: Sampler,
        work: PictureWork,
        geometry: Geometry,
        tree: Tree | None,
        count: int,
    ) -> None:
        self.sampler, self.work, self.tree = sampler, work, tree
        needs = work.needs
        unit = geometry.unit(needs.whole_groups)
        self.size = max(unit, geometry.rollout_batch // unit * unit)
        self.every = needs.every_step
        able = sampler.replayable if self.every else sampler.stochastic(work.policy.process)
        self.trained = tuple(needs.trained(able, sampler.steps))
        self.denoiser, self.states, self.paths = work.policy.old, [], []
        self.remembering: Remembering | None = None
        policy, answers = work.policy, count * len(self.trained)
        usable = policy.on_policy and needs.graphs and tree is None
        if usable and 0 < answers <= geometry.remember:  # the graphs can be used, and fit
            self.remembering = Remembering(
                policy.old, policy.current, sampler.asked, self.trained, policy.kind
            )
            self.denoiser = self.remembering

    def add(self, x: Tensor, keys: list[Key], cond: Cond, first: int) -> None:
        """Samples numbered from `first`, from their starting noise."""
        if self.remembering is not None:
            self.remembering.begin()
        match self.work.needs.data:
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
        return Generated(torch.cat([nothing, *self.states]), cond, Rollout.of(paths, graphs))
