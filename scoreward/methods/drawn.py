"""Methods that draw samples of the model they train and have them judged."""

from dataclasses import dataclass, replace
from typing import Any

from scoreward.core.chain import Sampler, Tree
from scoreward.core.windows import Window
from scoreward.methods.base import Given, Method, Place, Setting, Settings, Shared
from scoreward.methods.sampling import Forked, Noisy, Sampling, Windowed
from scoreward.rewards.rules import Variety
from scoreward.training.run import Run
from scoreward.training.sources.online import Online, Source


@dataclass(frozen=True)
class Drawn(Method):
    """A rollout by `steps`, everywhere or inside a window, and an objective on what it drew.

    >>> import scoreward as sw
    >>> objective = sw.methods["flow_grpo"].objective
    >>> mine = sw.Drawn("mine", "Flow-GRPO with the noise of CPS.", objective, sw.Noisy("cps"))
    >>> sw.Recipe(mine, sw.tasks["toy"]).run().name
    'toy_mine'
    """

    data = "its own samples"

    steps: Sampling | Noisy = Sampling()
    shared: Shared = Shared()
    window: Window | None = None  # noise inside a moving window only
    flash: float | None = None  # r̃: the steps after it are this share of DPM-Solver++ steps
    splits: tuple[int, ...] | None = None  # a group is a tree that splits before these steps
    own_start: float = 1.0  # share of the starting noise that is a sample's own
    smooth: bool = False  # the reward must not have steps
    variety: float | None = None  # weight of a second reward, for differing from one's group

    @property
    def called(self) -> str:
        """The setting that holds the steps: `sampling` of a solver, `rollout` of one with noise."""
        return "sampling" if isinstance(self.steps, Sampling) else "rollout"

    @property
    def settings(self) -> Settings:
        own: dict[str, Any] = {"objective": self.objective, self.called: self.steps}
        others = {n: getattr(self, n) for n in ("window", "flash", "splits", "variety")}
        own |= {name: value for name, value in others.items() if value is not None}
        made = {name: Setting(value) for name, value in own.items()}
        if self.splits is not None:
            made["splits"] = Setting(self.splits, tuple[int, ...])
        return made | {"shared": Setting(self.shared, flat=True)}

    def run(self, place: Place, given: Given) -> Run:
        shared: Shared = given["shared"]
        source, sizes = self.source(place, given), (shared.optimizer, shared.budget)
        run = place.run(self.name, given["objective"], source, *sizes)
        return replace(run, guidance=place.guidance)

    def source(self, place: Place, given: Given) -> Source:
        """Prompts, rewards, and how the rollout draws."""
        rewards, weights = dict(place.rewards(self.smooth)), dict(place.weights)
        if "variety" in given:
            rewards, weights = (
                rewards | {"variety": Variety()},
                weights | {"variety": given["variety"]},
            )
        shared: Shared = given["shared"]
        straight = Online(
            prompts=place.prompts,
            rewards=rewards,
            rollout=self.rollout(place, given),
            geometry=shared.geometry,
            advantages=shared.advantages,
            weights=weights,
            own_start=self.start(given),
            tree=Tree(given["splits"]) if "splits" in given else None,
        )
        steps = given[self.called]
        return steps.source(straight, given["objective"]) if isinstance(steps, Forked) else straight

    def rollout(self, place: Place, given: Given) -> Sampler | Windowed:
        """How samples are drawn; a flash tail has a grid of its own, others take the model's."""
        steps, window, flash = given[self.called], given.get("window"), given.get("flash")
        if window is None:
            return steps.sampler(place.grid(steps))
        return Windowed(steps, window, flash, place.grid(steps) if flash is None else None)

    def start(self, given: Given) -> float:
        """`own_start`; churn starts its group from what the first step leaves of its noise."""
        steps = given[self.called]
        if isinstance(steps, Noisy) and steps.noise == "churn":
            return 1 - 1 / (1 + steps.level) ** 2
        return self.own_start

    def sized(self, steps: int, shift: float, shared: Shared) -> "Drawn":
        """The same with the sizes of a task for which nobody has tuned it.

        What belongs to the method stays: what a group is, how advantages are scaled.
        """
        own, theirs = self.shared, shared.geometry
        geometry = replace(theirs, minibatches=max(own.geometry.minibatches, theirs.minibatches))
        if own.geometry.group < 4 or self.splits is not None:  # pairs, and trees
            geometry = replace(geometry, group=own.geometry.group)
        if isinstance(self.steps, Forked):
            geometry = replace(geometry, group=self.steps.branches)
        advantages = replace(own.advantages, floor=shared.advantages.floor)
        shared = replace(shared, geometry=geometry, advantages=advantages)
        return replace(
            self,
            steps=replace(self.steps, steps=steps, shift=shift),
            shared=shared,
            objective=self.objective,
        )
