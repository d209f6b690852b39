"""Stable Diffusion 3.5 medium: V-GRPO, DiffusionNFT, MixGRPO, Flow-GRPO and its fast form, AWM.

Settings are the published ones on this model, or stand in docs/published.md with a reason;
`--model` takes any flow model with an adapter.
"""

from dataclasses import replace

from scoreward.advantage import Advantages
from scoreward.models.diffusers import Loading
from scoreward.objectives.awm import AWM
from scoreward.objectives.diffusion_nft import DiffusionNFT
from scoreward.objectives.flow_grpo import FlowGRPO, FlowGRPOFast
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

SD35 = "stabilityai/stable-diffusion-3.5-medium"
LOADING = Loading(height=512, width=512, dtype="bf16", rank=32)
WINDOW = Windowed(Noisy("flow_sde", 0.7, steps=10), Window("progressive", width=4, every=150))
ADAM = Optimizer(lr=3e-4, weight_decay=1e-4, ema=0.9)
RARELY = replace(ADAM, ema_every=8, ema_steps=2)  # Flow-GRPO code: two micro-batches an update
SLOWLY = replace(ADAM, ema=0.99)  # AWM code
BY_BATCH = Advantages(scale="batch")


def sizes(
    prompts: int = 48,
    group: int = 24,
    minibatches: int = 1,
    advantages: Advantages = BY_BATCH,
    optimizer: Optimizer = ADAM,
) -> Shared:
    """A round of the SD3.5-M experiments; batches in memory are for a card of 24 GB."""
    return Shared(
        geometry=Geometry(prompts, group, minibatches, rollout_batch=8, micro_batch=4),
        advantages=advantages,
        optimizer=optimizer,
        budget=Budget(rounds=300),
    )


def sd35_vgrpo(
    model: str = SD35,
    loading: Loading = LOADING,
    task: Task = Task(),
    objective: VGRPO = VGRPO(clip=None),
    sampling: Sampling = Sampling("dpmpp", steps=40),
    shared: Flat = replace(sizes(), budget=Budget(rounds=150)),
    measured: Measured = Measured(),
    guidance: float = 1.0,
) -> Run:
    """V-GRPO on SD3.5-M, its first stage: 40 DPM-Solver++ steps without guidance."""
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("sd35_vgrpo", setup, objective, everywhere(sampling), shared)


def sd35_diffusion_nft(
    model: str = SD35,
    loading: Loading = LOADING,
    task: Task = Task(),
    objective: DiffusionNFT = DiffusionNFT(),
    sampling: Sampling = Sampling("dpmpp", steps=10),
    shared: Flat = sizes(),
    measured: Measured = Measured(),
    guidance: float = 1.0,
) -> Run:
    """DiffusionNFT on SD3.5-M: ten DPM-Solver++ steps without guidance, nine times trained."""
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("sd35_diffusion_nft", setup, objective, everywhere(sampling), shared)


def sd35_mixgrpo(
    model: str = SD35,
    loading: Loading = LOADING,
    task: Task = Task(),
    objective: MixGRPO = MixGRPO(kl=0.001),
    rollout: Windowed = Windowed(
        Noisy("flow_sde", 0.7, steps=10), Window("progressive", width=4, every=150)
    ),
    shared: Flat = sizes(advantages=Advantages(scale="group", floor=1e-8, unbiased=True)),
    measured: Measured = Measured(),
    guidance: float = 4.5,
) -> Run:
    """MixGRPO on SD3.5-M: noise in a window of four of ten steps, guidance 4.5."""
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("sd35_mixgrpo", setup, objective, inside(rollout), shared, 0.0)


def sd35_flow_grpo(
    model: str = SD35,
    loading: Loading = LOADING,
    task: Task = Task(),
    objective: FlowGRPO = FlowGRPO(kl=0.01),
    rollout: Noisy = Noisy("flow_sde", 0.7, steps=10),
    shared: Flat = sizes(minibatches=2, optimizer=RARELY),
    measured: Measured = Measured(),
    guidance: float = 4.5,
) -> Run:
    """Flow-GRPO on SD3.5-M: ten noisy steps, nine trained, two updates a round, guidance 4.5."""
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("sd35_flow_grpo", setup, objective, everywhere(rollout), shared)


def sd35_flow_grpo_fast(
    model: str = SD35,
    loading: Loading = LOADING,
    task: Task = Task(),
    objective: FlowGRPOFast = FlowGRPOFast(),
    rollout: Windowed = Windowed(Noisy("cps", 0.8, steps=10), Window("random", width=3, end=5)),
    shared: Flat = sizes(prompts=64, group=18, minibatches=2, optimizer=RARELY),
    measured: Measured = Measured(),
    guidance: float = 1.0,
) -> Run:
    """Flow-GRPO-Fast on SD3.5-M: three Flow-CPS steps in the first half, two updates a round."""
    setup = Setup(model, loading, task, measured, guidance)
    name = "sd35_flow_grpo_fast"
    return on_pretrained(name, setup, objective, inside(rollout), shared)


def sd35_awm(
    model: str = SD35,
    loading: Loading = LOADING,
    task: Task = Task(),
    objective: AWM = AWM(anchor=1e-4, times="discrete"),
    sampling: Sampling = Sampling("dpmpp", steps=14),
    shared: Flat = sizes(prompts=24, optimizer=SLOWLY),
    measured: Measured = Measured(),
    guidance: float = 1.0,
) -> Run:
    """AWM on SD3.5-M; the rollout is DPM-Solver++ in place of the published SA-Solver."""
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("sd35_awm", setup, objective, everywhere(sampling), shared)


def sd35_awm_geneval(
    model: str = SD35,
    loading: Loading = LOADING,
    task: Task = Task(reward=("geneval",)),
    objective: AWM = AWM(),
    sampling: Sampling = Sampling("dpmpp", steps=14),
    shared: Flat = sizes(prompts=72, optimizer=SLOWLY),
    measured: Measured = Measured(),
    guidance: float = 1.0,
) -> Run:
    """AWM on SD3.5-M for GenEval: three times the prompts, a stronger anchor, never pure noise."""
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("sd35_awm_geneval", setup, objective, everywhere(sampling), shared)


def sd35_awm_ocr(
    model: str = SD35,
    loading: Loading = LOADING,
    task: Task = Task("signs", reward=("legible",)),
    objective: AWM = AWM(anchor=3e-3),
    sampling: Sampling = Sampling("dpmpp", steps=14),
    shared: Flat = sizes(prompts=72, optimizer=SLOWLY),
    measured: Measured = Measured(),
    guidance: float = 1.0,
) -> Run:
    """AWM on SD3.5-M for text in pictures: as for GenEval, with a still stronger anchor."""
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("sd35_awm_ocr", setup, objective, everywhere(sampling), shared)
