"""The pretrained models that have a name here, one row each."""

from dataclasses import replace

from scoreward.core.advantage import Advantages
from scoreward.methods.base import Shared
from scoreward.methods.stored import Paired
from scoreward.models.diffusers import Loading
from scoreward.tasks.base import Goal
from scoreward.tasks.pretrained import PAIRED, SIZES, Measured, Pretrained
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget

LARGE = Loading(
    height=720, width=720, dtype="bf16", guidance_input=3.5, checkpointing=True, offload=True
)
CLIP = Loading(
    height=240, width=416, frames=33, dtype="bf16", checkpointing=True, offload=True, tiling=True
)
TABLE = Shared(
    geometry=Geometry(prompts=32, group=8, minibatches=2, rollout_batch=8, micro_batch=4),
    advantages=Advantages(scale="prompt", floor=1e-6),  # DDPO code
    optimizer=Optimizer(lr=3e-4, weight_decay=1e-4),
    budget=Budget(rounds=100),
)
ONE_UPDATE = Shared(
    geometry=Geometry(prompts=32, group=12, rollout_batch=4, micro_batch=1),
    advantages=Advantages(scale="group"),
    optimizer=Optimizer(lr=1e-4, weight_decay=1e-4),
    budget=Budget(rounds=300),
)
VIDEO = Shared(
    geometry=Geometry(prompts=16, group=8, rollout_batch=1, micro_batch=1),
    advantages=Advantages(scale="group"),
    optimizer=Optimizer(lr=1e-4, weight_decay=1e-4),
    budget=Budget(rounds=200),
)
LAUNCHED = Paired(  # of the Diffusion-DPO launchers
    pairs_share=0.05,
    dropout=0.2,  # code
    geometry=Geometry(prompts=2048, group=2, rollout_batch=4, micro_batch=4),
    optimizer=Optimizer(lr=2.048e-5, weight_decay=1e-2, warmup=500),
    budget=Budget(rounds=2000),
)
HPS = Goal("animals", reward=("hpsv2",))  # HPSv2.1, as in the published runs
CLIPS = Measured(prompts=8, spread_prompts=2, batch=1)

MODELS = (
    Pretrained(
        "sd15",
        "Stable Diffusion 1.5",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        Loading(rank=32),
        measured=Measured(steps=50),
        flow=False,
        steps=25,
        shared=TABLE,
        paired=LAUNCHED,
    ),
    Pretrained(
        "sdxl",
        "Stable Diffusion XL",
        "stabilityai/stable-diffusion-xl-base-1.0",
        Loading(dtype="bf16", checkpointing=True, offload=True),
        measured=Measured(steps=30),
        guidance=5.0,
        flow=False,
        steps=30,
        shared=TABLE,
        paired=replace(
            LAUNCHED,
            geometry=Geometry(prompts=2048, group=2, rollout_batch=1, micro_batch=2),
            optimizer=Optimizer(lr=2.048e-5, weight_decay=1e-2, warmup=200),
        ),
    ),
    Pretrained(
        "sd35",
        "Stable Diffusion 3.5 medium",
        "stabilityai/stable-diffusion-3.5-medium",
        Loading(height=512, width=512, dtype="bf16", rank=32),
        steps=10,
    ),
    Pretrained(
        "flux",
        "FLUX.1-dev",
        "black-forest-labs/FLUX.1-dev",
        LARGE,
        HPS,
        Measured(steps=28),
        guided=False,
        steps=16,
        shift=3.0,
        shared=ONE_UPDATE,
    ),
    Pretrained(
        "kontext",
        "FLUX.1-Kontext, an editor: prompts are instructions about a picture, from a file",
        "black-forest-labs/FLUX.1-Kontext-dev",
        LARGE,
        Goal(reward=("pickscore",)),
        Measured(steps=28),
        edits=True,
        guided=False,
        steps=16,
        shift=3.0,
        shared=ONE_UPDATE,
    ),
    Pretrained(
        "wan",
        "Wan 2.1 1.3B, video: 33 frames of 240 x 416",
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        CLIP,
        measured=CLIPS,
        shared=VIDEO,
    ),
    Pretrained(
        "diffusers",
        "any diffusers pipeline with an adapter: --model FOLDER_OR_ID",
        None,
        Loading(dtype="bf16", checkpointing=True),
        shared=SIZES,
        paired=PAIRED,
    ),
)
