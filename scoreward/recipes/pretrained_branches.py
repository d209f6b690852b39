"""TempFlow-GRPO with its released settings: branches at every step, on SD3.5-M and on FLUX.1-dev.

Each step of a start's trunk has six branches, so a round is 48 prompts × 4 starts × 9 steps × 6
branches = 10,368 finished pictures; `--geometry.group` counts a prompt's branches at one step.
"""

from dataclasses import replace

from scoreward.advantage import Advantages
from scoreward.models.diffusers import Loading
from scoreward.objectives.temp_flow import TempFlowGRPO
from scoreward.recipes.pretrained import Measured, Setup, Task, everywhere, on_pretrained
from scoreward.recipes.pretrained_flux import FLUX
from scoreward.recipes.pretrained_sd35 import SD35
from scoreward.recipes.sampling import Forked
from scoreward.recipes.shared import Flat, Shared
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Run


def sizes(rounds: int, rollout_batch: int = 8, micro_batch: int = 6) -> Shared:
    """A round of the release, two updates of it; batches in memory are ours."""
    return Shared(
        geometry=Geometry(48, 24, 2, rollout_batch=rollout_batch, micro_batch=micro_batch),
        advantages=Advantages(scale="group"),  # of the six branches of a start, code
        optimizer=Optimizer(lr=3e-4, weight_decay=1e-4, ema_every=8, ema_steps=2),  # code
        budget=Budget(rounds=rounds),
    )


def sd35_temp_flow(
    model: str = SD35,
    loading: Loading = Loading(height=512, width=512, dtype="bf16", rank=32, alpha=64.0),
    task: Task = Task(),
    objective: TempFlowGRPO = TempFlowGRPO(kl=0.001, constant=2.25),
    rollout: Forked = Forked("flow_sde", 0.7, steps=10),
    shared: Flat = sizes(1000),
    measured: Measured = Measured(),
    guidance: float = 4.5,
) -> Run:
    """TempFlow-GRPO on SD3.5-M: four starts a prompt, six branches at each of nine steps."""
    setup = Setup(model, loading, task, measured, guidance)
    run = on_pretrained("sd35_temp_flow", setup, objective, everywhere(rollout), shared)
    return replace(run, source=rollout.source(run.source, objective))


def flux_temp_flow(
    model: str = FLUX,
    loading: Loading = Loading(
        height=1024,
        width=1024,
        dtype="bf16",
        rank=64,
        alpha=128.0,
        guidance_input=3.5,
        checkpointing=True,
        offload=True,
    ),
    task: Task = Task(reward=("hpsv3",)),
    objective: TempFlowGRPO = TempFlowGRPO(skip_uniform=False, constant=1.73),
    rollout: Forked = Forked("flow_sde", 0.9, steps=10, shift=3.0),
    shared: Flat = sizes(250, rollout_batch=4, micro_batch=1),
    measured: Measured = Measured(steps=50),
) -> Run:
    """TempFlow-GRPO on FLUX.1-dev: the same with a = 0.9; flat groups stay in."""
    setup = Setup(model, loading, task, measured)
    run = on_pretrained("flux_temp_flow", setup, objective, everywhere(rollout), shared)
    return replace(run, source=rollout.source(run.source, objective))
