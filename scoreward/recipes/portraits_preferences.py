"""Preference methods on pairs of built-in portraits, one recipe each.

Without a file the pairs are the model's own: some samples for every training prompt, the best
against the worst by verifier A. All recipes see the same pairs and share the sizes of a round.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from scoreward.objectives.base import Objective
from scoreward.objectives.diffusion_dpo import DiffusionDPO
from scoreward.recipes.portraits import HeldOut, Start
from scoreward.recipes.preference_data import Making, from_file
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.preferences import Curriculum, HeldOutPairs, Preferences
from scoreward.training.run import Budget, Keeping, Run


@dataclass(frozen=True)
class Paired:
    """Where pairs come from, sizes of a round, optimiser and budget."""

    pairs: Path | None = None  # a preference file or folder; None: the model's own samples
    skip_bad: bool = False  # go on without rows that cannot be used
    making: Making = Making()
    dropout: float = 0.0  # share of captions dropped; there is no guidance to keep intact
    geometry: Geometry = Geometry(prompts=64, group=2)
    optimizer: Optimizer = Optimizer(lr=1e-4, decay="linear")
    budget: Budget = Budget(rounds=300)


Settings = Annotated[Paired, tyro.conf.arg(prefix_name=False, name="")]
"""The same as options without a prefix."""


def on_pairs(
    name: str,
    objective: Objective,
    paired: Paired,
    held_out: HeldOut,
    model: Start,
    curriculum: Curriculum | None = None,
) -> Run:
    """The run of a method on pairs of portraits."""
    built = model.build()
    if paired.pairs is None:
        split = paired.making.split(built, held_out.split)
    else:
        split = from_file(paired.pairs, built, paired.skip_bad)
    evaluation = held_out.evaluation()
    return Run(
        name=name,
        model=built,
        objective=objective,
        source=Preferences(split.train, paired.geometry, paired.dropout, curriculum),
        optimizer=paired.optimizer,
        budget=paired.budget,
        evaluation=replace(evaluation, probes={"pairs": HeldOutPairs(split.held_out)}),
        keeping=Keeping(every=held_out.every),
    )


def portraits_diffusion_dpo(
    objective: DiffusionDPO = DiffusionDPO(),
    paired: Settings = Paired(),
    held_out: HeldOut = HeldOut(every=100),
    model: Start = Start(),
) -> Run:
    """Diffusion-DPO: the winner's denoising error falls, the loser's rises."""
    return on_pairs("portraits_diffusion_dpo", objective, paired, held_out, model)
