"""FLUX.1-dev: V-GRPO, DiffusionNFT, MixGRPO, DanceGRPO, Flow-GRPO; and the editor Kontext.

Most published runs train all weights of FLUX on many cards; these train adapters, and
docs/published.md says where that departs. Guidance is an input of this model, so no second call is
needed.
"""

from dataclasses import replace

from scoreward.advantage import Advantages
from scoreward.models.diffusers import Loading
from scoreward.models.diffusers.family import JOINT
from scoreward.objectives.dance_grpo import DanceGRPO
from scoreward.objectives.diffusion_nft import DiffusionNFT
from scoreward.objectives.flow_grpo import FlowGRPO
from scoreward.objectives.mixgrpo import MixGRPO
from scoreward.objectives.vgrpo import VGRPO
from scoreward.recipes.pretrained import (
    Measured,
    Setup,
    Task,
    everywhere,
    inside,
    on_pretrained,
)
from scoreward.recipes.sampling import Noisy, Sampling, Windowed
from scoreward.recipes.shared import Flat, Shared
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Run
from scoreward.windows import Window

FLUX = "black-forest-labs/FLUX.1-dev"
KONTEXT = "black-forest-labs/FLUX.1-Kontext-dev"
LOADING = Loading(
    height=720, width=720, dtype="bf16", guidance_input=3.5, checkpointing=True, offload=True
)
LAYERS = tuple(f"attn.{name}" for name in JOINT) + tuple(
    f"{part}.net.{layer}" for part in ("ff", "ff_context") for layer in ("0.proj", "2")
)
SIZES = Shared(
    geometry=Geometry(prompts=32, group=12, minibatches=4, rollout_batch=4, micro_batch=1),
    advantages=Advantages(scale="group", floor=1e-8, unbiased=True),  # MixGRPO and DanceGRPO
    optimizer=Optimizer(lr=1e-4, weight_decay=1e-4),  # ours, for adapters; all weights: 1e-5
    budget=Budget(rounds=300),
)
DANCE = replace(
    SIZES,
    geometry=replace(SIZES.geometry, prompts=16, minibatches=2),
    optimizer=Optimizer(lr=3e-4, weight_decay=1e-4),
    budget=Budget(rounds=301),
)
FLOW = replace(
    SIZES,
    geometry=replace(SIZES.geometry, prompts=48, group=24, minibatches=2),
    advantages=Advantages(scale="batch"),
    optimizer=Optimizer(lr=3e-4, weight_decay=1e-4, ema_every=8, ema_steps=6),
)
ONE_UPDATE = Shared(
    geometry=Geometry(prompts=32, group=12, rollout_batch=4, micro_batch=1),
    advantages=Advantages(scale="group"),
    optimizer=Optimizer(lr=1e-4, weight_decay=1e-4),
    budget=Budget(rounds=300),
)
WINDOW = Windowed(
    Noisy("flow_sde", 0.7, steps=25, shift=3.0),
    Window("progressive", width=4, every=25, roll_back=True),
)
FIRST = Task(reward=("hpsv2",))  # HPSv2.1, as in the published runs


def flux_vgrpo(
    model: str = FLUX,
    loading: Loading = LOADING,
    task: Task = FIRST,
    objective: VGRPO = VGRPO(soft_clip=None, clip=1e-2),
    sampling: Sampling = Sampling("dpmpp", steps=16, shift=3.0),
    shared: Flat = SIZES,
    measured: Measured = Measured(steps=28),
) -> Run:
    """V-GRPO on FLUX.1-dev: 16 DPM-Solver++ steps, four pairs, clipped ratio."""
    setup = Setup(model, loading, task, measured)
    return on_pretrained("flux_vgrpo", setup, objective, everywhere(sampling), shared)


def flux_diffusion_nft(
    model: str = FLUX,
    loading: Loading = LOADING,
    task: Task = FIRST,
    objective: DiffusionNFT = DiffusionNFT(pairs=4, times="stratified"),
    sampling: Sampling = Sampling("dpmpp", steps=16, shift=3.0),
    shared: Flat = ONE_UPDATE,
    measured: Measured = Measured(steps=28),
) -> Run:
    """DiffusionNFT on FLUX.1-dev; no published settings for this model, so ours."""
    setup = Setup(model, loading, task, measured)
    return on_pretrained("flux_diffusion_nft", setup, objective, everywhere(sampling), shared)


def flux_mixgrpo(
    model: str = FLUX,
    loading: Loading = LOADING,
    task: Task = FIRST,
    objective: MixGRPO = MixGRPO(),
    rollout: Windowed = WINDOW,
    shared: Flat = SIZES,
    measured: Measured = Measured(steps=28),
) -> Run:
    """MixGRPO on FLUX.1-dev: 25 steps, a window of four that moves every 25 rounds."""
    setup = Setup(model, loading, task, measured)
    return on_pretrained("flux_mixgrpo", setup, objective, inside(rollout), shared, 0.0)


def flux_dance_grpo(
    model: str = FLUX,
    loading: Loading = replace(LOADING, rank=128),
    task: Task = FIRST,
    objective: DanceGRPO = DanceGRPO(),
    rollout: Noisy = Noisy("dance_sde", 0.3, steps=12, shift=3.0),
    shared: Flat = DANCE,
    measured: Measured = Measured(steps=28),
) -> Run:
    """DanceGRPO on FLUX.1-dev, its launcher for adapters: constant noise, six of 12 steps."""
    setup = Setup(model, loading, task, measured)
    return on_pretrained("flux_dance_grpo", setup, objective, everywhere(rollout), shared, 0.0)


def flux_flow_grpo(
    model: str = FLUX,
    loading: Loading = replace(LOADING, height=512, width=512, rank=64, targets=LAYERS),
    task: Task = Task(),
    objective: FlowGRPO = FlowGRPO(kl=0.0),
    rollout: Noisy = Noisy("flow_sde", 0.9, steps=6),
    shared: Flat = FLOW,
    measured: Measured = Measured(steps=28),
) -> Run:
    """Flow-GRPO on FLUX.1-dev: six steps with more noise, larger adapters, no KL."""
    setup = Setup(model, loading, task, measured)
    return on_pretrained("flux_flow_grpo", setup, objective, everywhere(rollout), shared)


def kontext_vgrpo(
    task: Task,
    model: str = KONTEXT,
    loading: Loading = LOADING,
    objective: VGRPO = VGRPO(soft_clip=None, clip=1e-2),
    sampling: Sampling = Sampling("dpmpp", steps=16, shift=3.0),
    shared: Flat = SIZES,
    measured: Measured = Measured(steps=28),
) -> Run:
    """V-GRPO on FLUX.1-Kontext: prompts are instructions about a picture, from a file."""
    setup = Setup(model, loading, task, measured)
    return on_pretrained("kontext_vgrpo", setup, objective, everywhere(sampling), shared)
