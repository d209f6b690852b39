"""Preference methods on pairs of built-in portraits, one recipe each.

Without a file the pairs are the model's own: some samples for every training prompt, the best
against the worst by verifier A. All recipes see the same pairs and share the sizes of a round. β,
learning rate and length were chosen for Diffusion-DPO on validation prompts
(benchmarks/preferences); the other methods take over what of them applies.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from scoreward.objectives.base import Objective
from scoreward.objectives.diffusion_dpo import DiffusionDPO
from scoreward.objectives.diffusion_kto import DiffusionKTO
from scoreward.objectives.diffusion_orpo import DiffusionORPO
from scoreward.objectives.diffusion_rainbow_po import DiffusionRainbowPO
from scoreward.objectives.dmpo import DMPO
from scoreward.objectives.dspo import DSPO
from scoreward.objectives.flow_dpo import FlowDPO
from scoreward.objectives.inpo import InPO
from scoreward.objectives.mapo import MaPO
from scoreward.objectives.pnapo import PNAPO
from scoreward.objectives.smpo import SmPO
from scoreward.recipes.portraits import HeldOut, Start
from scoreward.recipes.preference_data import Making, from_file, holds_labels, labels
from scoreward.recipes.shared import told
from scoreward.training.geometry import Geometry
from scoreward.training.labelled import Labelled
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
    budget: Budget = Budget(rounds=150)


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
        origin={"data": split.facts} | told(split.held),
    )


def on_labels(
    name: str, objective: DiffusionKTO, paired: Paired, held_out: HeldOut, model: Start
) -> Run:
    """The run of Diffusion-KTO on labelled pictures, twice `geometry.prompts` in a round."""
    built = model.build()
    found = labels(paired.pairs or Path(), built, paired.skip_bad)
    sizes = replace(paired.geometry, prompts=2 * paired.geometry.prompts, group=1)
    probes = {} if found.held_out is None else {"pairs": HeldOutPairs(found.held_out)}
    return Run(
        name=name,
        model=built,
        objective=replace(objective, share=found.train.share),
        source=Labelled(found.train, sizes, paired.dropout),
        optimizer=paired.optimizer,
        budget=paired.budget,
        evaluation=replace(held_out.evaluation(), probes=probes),
        keeping=Keeping(every=held_out.every),
        origin={"data": found.facts} | told(found.held),
    )


def portraits_diffusion_dpo(
    objective: DiffusionDPO = DiffusionDPO(beta=500.0),
    paired: Settings = Paired(),
    held_out: HeldOut = HeldOut(every=75),
    model: Start = Start(),
) -> Run:
    """Diffusion-DPO: the winner's denoising error falls, the loser's rises."""
    return on_pairs("portraits_diffusion_dpo", objective, paired, held_out, model)


def portraits_flow_dpo(
    objective: FlowDPO = FlowDPO(beta=500.0),
    paired: Settings = Paired(),
    held_out: HeldOut = HeldOut(every=75),
    model: Start = Start(),
) -> Run:
    """Flow-DPO: Diffusion-DPO on velocity errors, which is what the portraits have."""
    return on_pairs("portraits_flow_dpo", objective, paired, held_out, model)


def portraits_diffusion_kto(
    objective: DiffusionKTO = DiffusionKTO(beta=250.0),
    paired: Settings = Paired(),
    held_out: HeldOut = HeldOut(every=75),
    model: Start = Start(),
) -> Run:
    """Diffusion-KTO: every picture alone is desirable or not.

    A file may hold pairs, or single pictures with labels.
    """
    if holds_labels(paired.pairs):
        return on_labels("portraits_diffusion_kto", objective, paired, held_out, model)
    return on_pairs("portraits_diffusion_kto", objective, paired, held_out, model)


def portraits_mapo(
    objective: MaPO = MaPO(),
    paired: Settings = Paired(),
    held_out: HeldOut = HeldOut(every=75),
    model: Start = Start(),
) -> Run:
    """MaPO: a bounded margin beside the winner's error, no reference."""
    return on_pairs("portraits_mapo", objective, paired, held_out, model)


def portraits_diffusion_orpo(
    objective: DiffusionORPO = DiffusionORPO(),
    paired: Settings = Paired(),
    held_out: HeldOut = HeldOut(every=75),
    model: Start = Start(),
) -> Run:
    """ORPO on denoising errors, with the sign that its aim needs."""
    return on_pairs("portraits_diffusion_orpo", objective, paired, held_out, model)


def portraits_dspo(
    objective: DSPO = DSPO(),
    paired: Settings = Paired(),
    held_out: HeldOut = HeldOut(every=75),
    model: Start = Start(),
) -> Run:
    """DSPO: winners, with targets moved along the step away from the reference."""
    return on_pairs("portraits_dspo", objective, paired, held_out, model)


def portraits_inpo(
    objective: InPO = InPO(beta=500.0),
    paired: Settings = Paired(),
    held_out: HeldOut = HeldOut(every=75),
    model: Start = Start(),
) -> Run:
    """InPO: Diffusion-DPO in the noise that the network reads out of the pictures."""
    return on_pairs("portraits_inpo", objective, paired, held_out, model)


def portraits_smpo(
    objective: SmPO = SmPO(beta=410.0, low=0.0, high=1.0),
    paired: Settings = Paired(),
    held_out: HeldOut = HeldOut(every=75),
    model: Start = Start(),
) -> Run:
    """SmPO: weights by the gap of scores, in noise from ReNoise inversion."""
    return on_pairs("portraits_smpo", objective, paired, held_out, model)


def portraits_dmpo(
    objective: DMPO = DMPO(beta=500.0),
    paired: Settings = Paired(),
    held_out: HeldOut = HeldOut(every=75),
    model: Start = Start(),
) -> Run:
    """DMPO: reverse KL to a smoothed label."""
    return on_pairs("portraits_dmpo", objective, paired, held_out, model)


def portraits_rainbow_po(
    objective: DiffusionRainbowPO = DiffusionRainbowPO(beta=500.0),
    paired: Settings = Paired(),
    held_out: HeldOut = HeldOut(every=75),
    model: Start = Start(),
) -> Run:
    """RainbowPO's components on denoising errors: our extension, a hypothesis."""
    return on_pairs("portraits_rainbow_po", objective, paired, held_out, model)


def portraits_sdpo(
    objective: DiffusionDPO = DiffusionDPO(beta=500.0, safeguard=0.9),
    paired: Settings = Paired(),
    held_out: HeldOut = HeldOut(every=75),
    model: Start = Start(),
) -> Run:
    """Diffusion-SDPO: Diffusion-DPO whose loser may not undo the winner."""
    return on_pairs("portraits_sdpo", objective, paired, held_out, model)


def portraits_pnapo(
    objective: PNAPO = PNAPO(beta=2000.0),
    paired: Settings = Paired(),
    held_out: HeldOut = HeldOut(every=75),
    model: Start = Start(),
) -> Run:
    """PNAPO: Diffusion-DPO on the noise the pictures were made from; needs the model's own pairs.

    β falls over the rounds of the budget.
    """
    if paired.budget.rounds is not None:
        objective = replace(objective, total=paired.budget.rounds)
    return on_pairs("portraits_pnapo", objective, paired, held_out, model)


def portraits_curriculum_dpo(
    objective: DiffusionDPO = DiffusionDPO(beta=500.0),
    paired: Settings = Paired(),
    held_out: HeldOut = HeldOut(every=75),
    model: Start = Start(),
    curriculum: Curriculum = Curriculum(every=25),
) -> Run:
    """Curriculum-DPO: Diffusion-DPO on pairs with a large gap of scores first."""
    name = "portraits_curriculum_dpo"
    return on_pairs(name, objective, paired, held_out, model, curriculum)
