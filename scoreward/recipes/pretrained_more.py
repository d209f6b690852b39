"""SD 1.5 with DDPO and score as action, SDXL with DDPO, and video: Wan 2.1 with two methods.

`sd15_ddpo`, `sd15_score_as_action` and `wan_flow_grpo` have published settings (docs/published.md);
the others are ours.
"""

from dataclasses import replace

from scoreward.advantage import Advantages
from scoreward.models.diffusers import Loading
from scoreward.objectives.ddpo import DDPO
from scoreward.objectives.flow_grpo import FlowGRPO
from scoreward.objectives.score_as_action import ScoreAsAction
from scoreward.objectives.vgrpo import VGRPO
from scoreward.recipes.pretrained import Measured, Setup, Task, everywhere, on_pretrained
from scoreward.recipes.sampling import Noisy, Sampling
from scoreward.recipes.shared import Flat, Shared
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Run

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
WAN = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
TABLE = Shared(
    geometry=Geometry(prompts=32, group=8, minibatches=2, rollout_batch=8, micro_batch=4),
    advantages=Advantages(scale="prompt", floor=1e-6),  # DDPO code
    optimizer=Optimizer(lr=3e-4, weight_decay=1e-4),
    budget=Budget(rounds=100),
)
VIDEO = Shared(
    geometry=Geometry(prompts=16, group=8, rollout_batch=1, micro_batch=1),
    advantages=Advantages(scale="group"),
    optimizer=Optimizer(lr=1e-4, weight_decay=1e-4),
    budget=Budget(rounds=200),
)
WAN_ROUND = replace(
    VIDEO,
    geometry=replace(VIDEO.geometry, prompts=4, group=4, minibatches=2),
    optimizer=replace(VIDEO.optimizer, ema_every=8),
)
CLIP = Loading(
    height=240, width=416, frames=33, dtype="bf16", checkpointing=True, offload=True, tiling=True
)


def sd15_ddpo(
    model: str = SD15,
    loading: Loading = Loading(rank=4, alpha_per_rank=1.0),
    task: Task = Task(reward=("aesthetic",)),
    objective: DDPO = DDPO(),
    rollout: Noisy = Noisy("ddim", 1.0, steps=50),
    shared: Flat = replace(TABLE, budget=Budget(rounds=200)),
    measured: Measured = Measured(steps=50),
    guidance: float = 5.0,
) -> Run:
    """DDPO on SD 1.5: 50 DDIM steps with η = 1 and guidance 5, every transition trained."""
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("sd15_ddpo", setup, objective, everywhere(rollout), shared)


def sd15_score_as_action(
    model: str = SD15,
    loading: Loading = Loading(rank=4, alpha_per_rank=1.0),
    task: Task = Task(reward=("image_reward",)),
    objective: ScoreAsAction = ScoreAsAction(),
    rollout: Noisy = Noisy("ddim", 1.0, steps=50),
    shared: Flat = replace(TABLE, optimizer=Optimizer(lr=5e-5, weight_decay=1e-4)),
    measured: Measured = Measured(steps=50),
    guidance: float = 7.0,
) -> Run:
    """Score as action on SD 1.5: 50 DDIM steps with η = 1 and guidance 7, as in the public code.

    Every step of every sample is decoded and rewarded once more, which the value function needs.
    """
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("sd15_score_as_action", setup, objective, everywhere(rollout), shared)


def sd15_vgrpo(
    model: str = SD15,
    loading: Loading = Loading(rank=32),
    task: Task = Task(),
    objective: VGRPO = VGRPO(clip=None),
    sampling: Sampling = Sampling(steps=25),
    shared: Flat = TABLE,
    measured: Measured = Measured(steps=50),
    guidance: float = 1.0,
) -> Run:
    """V-GRPO on SD 1.5; ours."""
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("sd15_vgrpo", setup, objective, everywhere(sampling), shared)


def sdxl_ddpo(
    model: str = SDXL,
    loading: Loading = Loading(dtype="bf16", checkpointing=True, offload=True),
    task: Task = Task(),
    objective: DDPO = DDPO(),
    rollout: Noisy = Noisy("ddim", 1.0, steps=30),
    shared: Flat = TABLE,
    measured: Measured = Measured(steps=30),
    guidance: float = 5.0,
) -> Run:
    """DDPO on SDXL; settings of SD 1.5 with fewer steps, ours."""
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("sdxl_ddpo", setup, objective, everywhere(rollout), shared)


def wan_flow_grpo(
    model: str = WAN,
    loading: Loading = CLIP,
    task: Task = Task(),
    objective: FlowGRPO = FlowGRPO(clip=1e-3, kl=0.004, kl_form="paper"),
    rollout: Noisy = Noisy("linear_sde", 1.0, steps=20),
    shared: Flat = WAN_ROUND,
    measured: Measured = Measured(prompts=8, steps=50, spread_prompts=2, batch=1),
    guidance: float = 4.5,
) -> Run:
    """Flow-GRPO on Wan 2.1 1.3B, 33 frames of 240 x 416, noise linear in time."""
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("wan_flow_grpo", setup, objective, everywhere(rollout), shared)


def wan_vgrpo(
    model: str = WAN,
    loading: Loading = CLIP,
    task: Task = Task(),
    objective: VGRPO = VGRPO(clip=None),
    sampling: Sampling = Sampling(steps=20),
    shared: Flat = VIDEO,
    measured: Measured = Measured(prompts=8, spread_prompts=2, batch=1),
    guidance: float = 1.0,
) -> Run:
    """V-GRPO on Wan 2.1 1.3B, 33 frames of 240 x 416; ours."""
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("wan_vgrpo", setup, objective, everywhere(sampling), shared)
