"""What the recipes on the built-in portraits share.

All of them start from one model, see the same prompts and the same reward, and share the sizes of a
round; what differs is the objective, how the rollout draws its steps, and the learning rate and the
regularisers, which were chosen with the same number of trials for each (benchmarks/online).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from scoreward.chain import Sampler, Tree
from scoreward.data import portraits as data
from scoreward.objectives.base import Objective
from scoreward.recipes.portraits import HeldOut, Start, verifier
from scoreward.recipes.shared import Shared
from scoreward.rewards.base import Reward
from scoreward.rewards.portraits import AttributeReward, ShareRight
from scoreward.training.run import Keeping, Run
from scoreward.training.source import Online

Rollout = Sampler | Callable[[int], Sampler]


def on_portraits(
    name: str,
    objective: Objective,
    rollout: Rollout,
    shared: Shared,
    held_out: HeldOut,
    model: Start,
) -> Run:
    """The run of a method; the reward is the share of attributes that are right."""
    return Run(
        name=name,
        model=model.build(),
        objective=objective,
        source=Online(
            prompts=data.load("train").captions,
            rewards={"attributes": ShareRight(verifier("a"))},
            rollout=rollout,
            geometry=shared.geometry,
            advantages=shared.advantages,
        ),
        optimizer=shared.optimizer,
        budget=shared.budget,
        evaluation=held_out.evaluation(),
        keeping=Keeping(every=held_out.every),
    )


def online_source(run: Run) -> Online:
    """The source of a run that draws its own samples."""
    if not isinstance(run.source, Online):
        raise TypeError(f"{run.name} does not draw its own samples")
    return run.source


def started(run: Run, own: float) -> Run:
    """A share `own` of the starting noise is a sample's own, the rest its prompt's."""
    return replace(run, source=replace(online_source(run), own_start=own))


def branched(run: Run, tree: Tree) -> Run:
    """Every group is a tree."""
    return replace(run, source=replace(online_source(run), tree=tree))


def rewarded(run: Run, rewards: Mapping[str, Reward], weights: Mapping[str, float]) -> Run:
    """Other rewards."""
    return replace(run, source=replace(online_source(run), rewards=rewards, weights=weights))


def confident(run: Run) -> Run:
    """The verifier's mean probability as the reward: the share of right attributes has steps."""
    return rewarded(run, {"confidence": AttributeReward(verifier("a"))}, {})
