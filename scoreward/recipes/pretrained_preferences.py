"""Diffusion-DPO on pairs of pictures for SD 1.5 and SDXL, Flow-DPO for SD 3.5.

Settings are those of the public Diffusion-DPO launchers (β, rate times effective batch, warm-up,
rounds), with adapters where the launchers train all weights; docs/published.md lists what differs.
None has been run on the real weights. The latents are the means of the VAE, not samples of it, and
pictures are not flipped.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from scoreward.data.holding import Held, unseen
from scoreward.models.diffusers import Loading, load
from scoreward.objectives.base import Objective
from scoreward.objectives.diffusion_dpo import DiffusionDPO
from scoreward.objectives.flow_dpo import FlowDPO
from scoreward.recipes.preference_data import from_file
from scoreward.recipes.pretrained import Measured, Task
from scoreward.recipes.pretrained_more import SD15, SDXL
from scoreward.recipes.pretrained_sd35 import LOADING, SD35
from scoreward.recipes.shared import told
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.preferences import HeldOutPairs, Preferences
from scoreward.training.run import Budget, Keeping, Run


@dataclass(frozen=True)
class Fed:
    """Which part of the file, sizes of a round, optimiser and budget."""

    skip_bad: bool = False  # go on without rows that cannot be used
    held_out: float = 0.05  # share of the prompts that only measure
    dropout: float = 0.2  # share of pairs whose caption is dropped, code
    geometry: Geometry = Geometry(prompts=2048, group=2, rollout_batch=4, micro_batch=4)
    optimizer: Optimizer = Optimizer(lr=2.048e-5, weight_decay=1e-2, warmup=500)
    budget: Budget = Budget(rounds=2000)


Settings = Annotated[Fed, tyro.conf.arg(prefix_name=False, name="")]
"""The same as options without a prefix."""
WIDE = Fed(
    geometry=Geometry(prompts=2048, group=2, rollout_batch=1, micro_batch=2),
    optimizer=Optimizer(lr=2.048e-5, weight_decay=1e-2, warmup=200),
)
FLOW = Fed(
    geometry=Geometry(prompts=64, group=2, rollout_batch=4, micro_batch=2),
    optimizer=Optimizer(lr=1e-5, weight_decay=1e-4),
    budget=Budget(rounds=1000),
)


@dataclass(frozen=True)
class Origin:
    """A pretrained model, what it draws while it is measured, and the file of pairs."""

    model: str
    loading: Loading
    task: Task
    pairs: Path


def on_files(name: str, origin: Origin, objective: Objective, fed: Fed, measured: Measured) -> Run:
    """The run of a method on a pretrained model and a preference file."""
    made = load(origin.model, origin.loading)
    split = from_file(origin.pairs, made, fed.skip_bad, fed.held_out)
    prompts, trained = origin.task.read(), split.train.prompts
    fresh = unseen(prompts.held_out, trained) or unseen(prompts.train, trained)
    drawn = Held("prompts to draw", len(fresh), prompts.cut.of, min(len(fresh), measured.prompts))
    evaluation = measured.evaluation(made, origin.task, fresh or prompts.measured)
    probe = HeldOutPairs(split.held_out, batch=fed.geometry.rollout_batch)
    return Run(
        name=name,
        model=made,
        objective=objective,
        source=Preferences(split.train, fed.geometry, fed.dropout),
        optimizer=fed.optimizer,
        budget=fed.budget,
        evaluation=replace(evaluation, probes={"pairs": probe}),
        keeping=Keeping(every=measured.every),
        origin={"data": split.facts} | told(split.held, drawn),
        mixed_precision=origin.loading.precision,
    )


def sd15_diffusion_dpo(
    pairs: Path,
    model: str = SD15,
    loading: Loading = Loading(rank=16, alpha_per_rank=1.0, dtype="bf16", checkpointing=True),
    task: Task = Task(),
    objective: DiffusionDPO = DiffusionDPO(beta=5000.0),
    fed: Settings = Fed(),
    measured: Measured = Measured(steps=50, every=100),
) -> Run:
    """Diffusion-DPO on SD 1.5 from a preference file; the launcher's β 5000 and rate 2.048e-5."""
    origin = Origin(model, loading, task, pairs)
    return on_files("sd15_diffusion_dpo", origin, objective, fed, measured)


def sdxl_diffusion_dpo(
    pairs: Path,
    model: str = SDXL,
    loading: Loading = Loading(dtype="bf16", checkpointing=True, offload=True),
    task: Task = Task(),
    objective: DiffusionDPO = DiffusionDPO(beta=5000.0),
    fed: Settings = WIDE,
    measured: Measured = Measured(steps=30, every=100),
) -> Run:
    """Diffusion-DPO on SDXL from a preference file; AdamW where the launcher has Adafactor."""
    origin = Origin(model, loading, task, pairs)
    return on_files("sdxl_diffusion_dpo", origin, objective, fed, measured)


def sd35_flow_dpo(
    pairs: Path,
    model: str = SD35,
    loading: Loading = LOADING,
    task: Task = Task(),
    objective: FlowDPO = FlowDPO(beta=100.0),
    fed: Settings = FLOW,
    measured: Measured = Measured(every=100),
) -> Run:
    """Flow-DPO on SD 3.5 from a preference file; of Flow-GRPO's online form it has β and layers."""
    origin = Origin(model, loading, task, pairs)
    return on_files("sd35_flow_dpo", origin, objective, fed, measured)
