"""A source whose rounds are branches of trunks: the rollout of TempFlow-GRPO.

[temp-flow] arXiv:2508.04324. A prompt has `geometry.group` = starts × branches × steps samples:
every start is a trunk without noise, and at every trained step of it `branches` samples leave it.
Rewards are compared among the branches of one start at one step. Each branch is a sample like any
other, with one transition.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from scoreward.core.branches import BranchLayout, Grown, grow
from scoreward.core.denoiser import Cond, Denoiser
from scoreward.core.keys import Key
from scoreward.core.policy import Rollout
from scoreward.objectives.base import Branched, Samples
from scoreward.training.geometry import Geometry
from scoreward.training.sources.online import Online
from scoreward.training.work import Collected, Generated, PictureWork, pictured

Compared = Literal["start", "prompt"]


@dataclass(frozen=True)
class Trunks(Geometry):
    """A round of trunks: a start stays on one process, a series of branches in one minibatch."""

    layout: BranchLayout = BranchLayout(2, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        branches, steps = self.layout.branches, self.layout.steps
        if branches < 1 or steps < 1 or self.group % self.layout.block:
            raise ValueError(
                f"a prompt's {self.group} samples do not divide into starts of {branches} branches "
                f"at {steps} steps; make the branches of a prompt at a step a multiple of "
                "`branches`, or choose other `branches`"
            )
        if self.minibatches > self.samples // steps:
            raise ValueError(
                f"{self.minibatches} minibatches cannot be made of {self.samples // steps} "
                "branches; lower `minibatches` or raise `prompts`"
            )

    def share(self, rank: int, processes: int, unit: int = 1) -> range:
        return super().share(rank, processes, max(unit, self.layout.block))

    def parts(self, key: Key, unit: int = 1) -> list[Tensor]:
        return super().parts(key, max(unit, self.layout.steps))


@dataclass(frozen=True)
class Branching(Online):
    """Prompts → branches of trunks → rewards → advantages; `geometry` must be `Trunks`.

    The noise of a branch is that of the rollout's kernel at its step; a trunk, and a branch after
    its step, follow Euler on the same grid.
    """

    among: Compared = "start"  # whose rewards at a step are compared; code: those of a start

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layout.branches == 1 and self.among == "start":
            raise ValueError(
                "one branch of a start has nothing to be compared with; use more `branches`, or "
                'among="prompt"'
            )
        if self.tree is not None:
            raise ValueError("a source has branches or a `tree`, not both; leave out `tree`")

    @property
    def layout(self) -> BranchLayout:
        """How samples are numbered."""
        if not isinstance(self.geometry, Trunks):
            raise ValueError(
                f"branches need a geometry of `Trunks`, got {type(self.geometry).__name__}; "
                "`branching(source, ...)` makes one"
            )
        return self.geometry.layout

    def compared(self, sample: Tensor) -> Tensor:
        layout = self.layout
        if self.among == "start":
            return layout.column(sample)
        return sample // self.geometry.group * layout.steps + sample % layout.steps

    def collect(self, round: int, key: Key, work: PictureWork) -> Collected[Samples]:
        if work.needs.data == "starts" or work.needs.reward != "nothing":
            raise ValueError(
                "a branch has one transition, and this objective needs whole paths or bare noise; "
                "give it a source without branches"
            )
        collected = super().collect(round, key, work)
        given = collected.samples
        fields = {name: getattr(given, name) for name in Samples.__dataclass_fields__}
        place = self.layout.series(given.sample)
        # a series is never parted, so what is flat is seen here, series by series
        rollout = replace(collected.rollout, flat=None)
        return replace(collected, samples=Branched(**fields, place=place), rollout=rollout)

    def redrawn(self, round: int, samples: Samples, key: Key, work: PictureWork) -> Tensor:
        here, first = key / "round" / round, int(samples.sample[0])
        numbers = range(first, first + len(samples))
        return self._grown(round, numbers, samples.cond, here, work, work.policy.current).x0

    def _generate(
        self, round: int, here: range, words: list[str], key: Key, work: PictureWork
    ) -> Generated:
        if not words:
            nothing = torch.zeros(0, *pictured(work).shape, device=work.team.device)
            return Generated(nothing, None)
        cond = self._conditions(here, words, work)
        grown = self._grown(round, here, cond, key, work, work.policy.old)
        row = torch.arange(len(grown.x0), device=grown.x0.device)
        paths = replace(grown.paths, sample=here.start + row, row=row)
        return Generated(grown.x0, cond, Rollout(paths))

    def _grown(
        self,
        round: int,
        here: range,
        cond: Cond,
        key: Key,
        work: PictureWork,
        network: Denoiser,
    ) -> Grown:
        """The branches of the samples `here`, which are those of whole starts."""
        sampler, layout = self.sampler(round), self.layout
        process = work.policy.process
        steps = tuple(work.needs.trained(sampler.stochastic(process), sampler.steps))
        if len(steps) != layout.steps:
            raise ValueError(
                f"the rollout has noise at {len(steps)} trained steps and the source was laid out "
                f"for {layout.steps}; lay it out for {len(steps)}"
            )
        x = self._starts(here[:: layout.block], key, pictured(work).shape).to(work.team.device)
        keys = [self._address(key, i) for i in here]
        given = None if cond is None else cond[:: layout.block]
        start, kind = sampler.start(process), work.policy.kind
        return grow(sampler, steps, layout.branches, network, start * x, keys, given, kind)


def branching(
    source: Online, trained: Sequence[int], branches: int = 6, among: Compared = "start"
) -> Branching:
    """The same source with branches; a prompt of it has `geometry.group` at each trained step.

    A prompt with fewer than `branches` at a step has one start.
    """
    given = source.geometry
    layout = BranchLayout(min(branches, given.group), len(trained))
    sizes = {"group": given.group * layout.steps, "remember": 0, "layout": layout}
    trunks = Trunks(**(vars(given) | sizes))
    others = {name: value for name, value in vars(source).items() if name != "geometry"}
    return Branching(**others, geometry=trunks, among=among)
