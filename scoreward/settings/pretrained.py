"""Settings on pretrained models: what authors published for a model, or ours where nobody did.

Which published numbers they are, and where they differ and why, is in docs/published.md.
"""

from dataclasses import replace

from scoreward.core.advantage import Advantages
from scoreward.core.windows import Window
from scoreward.methods.sampling import Forked, Noisy, Sampling
from scoreward.models.diffusers import Loading
from scoreward.models.diffusers.family import JOINT
from scoreward.objectives.paths.flow_grpo import FlowGRPO
from scoreward.objectives.paths.mixgrpo import MixGRPO
from scoreward.objectives.paths.score_as_action import ScoreAsAction
from scoreward.objectives.paths.temp_flow import TempFlowGRPO
from scoreward.objectives.pictures.diffusion_dpo import DiffusionDPO
from scoreward.objectives.pictures.flow_dpo import FlowDPO
from scoreward.objectives.samples.awm import AWM
from scoreward.objectives.samples.diffusion_nft import DiffusionNFT
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.settings.row import ours, row, sizes
from scoreward.tasks.base import Goal
from scoreward.tasks.models import CLIPS, LARGE, ONE_UPDATE, TABLE, VIDEO
from scoreward.tasks.pretrained import SIZES, Measured
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget

ADAM = SIZES.optimizer
RARELY = replace(ADAM, ema_every=8, ema_steps=2)  # Flow-GRPO code: two micro-batches an update
SLOWLY = replace(ADAM, ema=0.99)  # AWM code
UNBIASED = Advantages(scale="group", floor=1e-8, unbiased=True)  # MixGRPO and DanceGRPO
TEN = Sampling("dpmpp", steps=10)
EPG_ROUND = replace(
    SIZES,
    advantages=Advantages(scale="none", bound=50.0),
    optimizer=replace(ADAM, max_norm=5.0),
    budget=Budget(rounds=360),
)
FORKS = replace(
    SIZES,
    geometry=replace(SIZES.geometry, minibatches=2, micro_batch=6),
    advantages=Advantages(scale="group"),  # of the six branches of a start, code
    optimizer=Optimizer(lr=3e-4, weight_decay=1e-4, ema_every=8, ema_steps=2),  # code
    budget=Budget(rounds=1000),
)
GENEVAL = Goal("animals", reward=("geneval",))
ON_SD35 = (
    row(
        "vgrpo",
        "sd35",
        "V-GRPO on SD3.5-M, its first stage: 40 DPM-Solver++ steps without guidance.",
        sampling=Sampling("dpmpp", steps=40),
        objective=VGRPO(clip=None),
        shared=replace(SIZES, budget=Budget(rounds=150)),
    ),
    row(
        "diffusion_nft",
        "sd35",
        "DiffusionNFT on SD3.5-M: ten DPM-Solver++ steps without guidance, nine times trained.",
        sampling=TEN,
        shared=SIZES,
    ),
    row(
        "mixgrpo",
        "sd35",
        "MixGRPO on SD3.5-M: noise in a window of four of ten steps, guidance 4.5.",
        objective=MixGRPO(kl=0.001),
        rollout=Noisy("flow_sde", 0.7, steps=10),
        window=Window("progressive", width=4, every=150),
        shared=sizes(SIZES, UNBIASED),
        guidance=4.5,
    ),
    row(
        "flow_grpo",
        "sd35",
        "Flow-GRPO on SD3.5-M: ten noisy steps, nine trained, two updates a round, guidance 4.5.",
        objective=FlowGRPO(kl=0.01),
        rollout=Noisy("flow_sde", 0.7, steps=10),
        shared=replace(sizes(SIZES, minibatches=2), optimizer=RARELY),
        guidance=4.5,
    ),
    row(
        "flow_grpo_fast",
        "sd35",
        "Flow-GRPO-Fast on SD3.5-M: three Flow-CPS steps in the first half, two updates a round.",
        rollout=Noisy("cps", 0.8, steps=10),
        window=Window("random", width=3, end=5),
        shared=replace(sizes(SIZES, prompts=64, group=18, minibatches=2), optimizer=RARELY),
    ),
    *(
        row(
            "awm",
            "sd35",
            about,
            variant,
            sampling=Sampling("dpmpp", steps=14),
            shared=replace(sizes(SIZES, prompts=prompts), optimizer=SLOWLY),
            **changes,
        )
        for about, variant, prompts, changes in (
            (
                "AWM on SD3.5-M; the rollout is DPM-Solver++ in place of the published SA-Solver.",
                "",
                24,
                {"objective": AWM(anchor=1e-4, times="discrete")},
            ),
            (
                "AWM on SD3.5-M for GenEval: three times the prompts, a stronger anchor, never "
                "pure noise.",
                "geneval",
                72,
                {"goal": GENEVAL},
            ),
            (
                "AWM on SD3.5-M for text in pictures: as for GenEval, a still stronger anchor.",
                "ocr",
                72,
                {"goal": Goal("signs", reward=("legible",)), "objective": AWM(anchor=3e-3)},
            ),
        )
    ),
    *(
        row(name, "sd35", about, sampling=TEN, shared=EPG_ROUND, goal=GENEVAL)
        for name, about in (
            ("epg", "EPG on SD3.5-M: ten DPM-Solver++ steps without guidance, one update a round."),
            ("pepg", "PEPG on SD3.5-M: EPG with a pull back to the policy that sampled."),
            ("par", "PAR on SD3.5-M: a regression with PEPG's gradient."),
        )
    ),
    row(
        "temp_flow",
        "sd35",
        "TempFlow-GRPO on SD3.5-M: four starts a prompt, six branches at each of nine steps.",
        loading=Loading(height=512, width=512, dtype="bf16", rank=32, alpha=64.0),
        objective=TempFlowGRPO(kl=0.001, constant=2.25),
        rollout=Forked("flow_sde", 0.7, steps=10),
        shared=FORKS,
        guidance=4.5,
    ),
    row(
        "flow_dpo",
        "sd35",
        "Flow-DPO on SD 3.5; of Flow-GRPO's online form it has β and layers.",
        objective=FlowDPO(beta=100.0),
    ),
    ours("sft", "sd35", "settings are ours", goal=Goal("animals", reward=("clip_score",))),
)
LAYERS = tuple(f"attn.{name}" for name in JOINT) + tuple(
    f"{part}.net.{layer}" for part in ("ff", "ff_context") for layer in ("0.proj", "2")
)
FLUX_ROUND = replace(
    sizes(ONE_UPDATE, UNBIASED, minibatches=4),
    optimizer=Optimizer(lr=1e-4, weight_decay=1e-4),  # ours, for adapters; all weights: 1e-5
)
SHIFTED = Sampling("dpmpp", steps=16, shift=3.0)
ON_FLUX = (
    *(
        whose(
            "vgrpo",
            task,
            about,
            objective=VGRPO(soft_clip=None, clip=1e-2),
            sampling=SHIFTED,
            shared=FLUX_ROUND,
        )
        for whose, task, about in (
            (
                row,
                "flux",
                "V-GRPO on FLUX.1-dev: 16 DPM-Solver++ steps, four pairs, clipped ratio.",
            ),
            (ours, "kontext", "V-GRPO on FLUX.1-Kontext, with the settings of FLUX.1-dev; ours."),
        )
    ),
    ours(
        "diffusion_nft",
        "flux",
        "DiffusionNFT on FLUX.1-dev; no published settings for this model, so ours.",
        objective=DiffusionNFT(pairs=4, times="stratified"),
        sampling=SHIFTED,
        shared=ONE_UPDATE,
    ),
    row(
        "mixgrpo",
        "flux",
        "MixGRPO on FLUX.1-dev: 25 steps, a window of four that moves every 25 rounds.",
        rollout=Noisy("flow_sde", 0.7, steps=25, shift=3.0),
        window=Window("progressive", width=4, every=25, roll_back=True),
        shared=FLUX_ROUND,
    ),
    row(
        "dance_grpo",
        "flux",
        "DanceGRPO on FLUX.1-dev, its launcher for adapters: constant noise, six of 12 steps.",
        loading=replace(LARGE, rank=128),
        rollout=Noisy("dance_sde", 0.3, steps=12, shift=3.0),
        shared=replace(
            sizes(FLUX_ROUND, prompts=16, minibatches=2),
            optimizer=Optimizer(lr=3e-4, weight_decay=1e-4),
            budget=Budget(rounds=301),
        ),
    ),
    row(
        "flow_grpo",
        "flux",
        "Flow-GRPO on FLUX.1-dev: six steps with more noise, larger adapters, no KL.",
        goal=Goal("animals", reward=("pickscore",)),
        loading=replace(LARGE, height=512, width=512, rank=64, targets=LAYERS),
        objective=FlowGRPO(kl=0.0),
        rollout=Noisy("flow_sde", 0.9, steps=6),
        shared=replace(
            sizes(FLUX_ROUND, Advantages(scale="batch"), prompts=48, group=24, minibatches=2),
            optimizer=Optimizer(lr=3e-4, weight_decay=1e-4, ema_every=8, ema_steps=6),
        ),
    ),
    row(
        "temp_flow",
        "flux",
        "TempFlow-GRPO on FLUX.1-dev: the same with a = 0.9; flat groups stay in.",
        loading=replace(LARGE, height=1024, width=1024, rank=64, alpha=128.0),
        goal=Goal("animals", reward=("hpsv3",)),
        objective=TempFlowGRPO(skip_uniform=False, constant=1.73),
        rollout=Forked("flow_sde", 0.9, steps=10, shift=3.0),
        shared=replace(sizes(FORKS, rollout_batch=4, micro_batch=1), budget=Budget(rounds=250)),
        measured=Measured(steps=50),
    ),
)
SMALL_ADAPTERS = Loading(rank=4, alpha_per_rank=1.0)
WAN_ROUND = replace(
    sizes(VIDEO, prompts=4, group=4, minibatches=2),
    optimizer=replace(VIDEO.optimizer, ema_every=8),
)
ON_MORE = (
    row(
        "ddpo",
        "sd15",
        "DDPO on SD 1.5: 50 DDIM steps with η = 1 and guidance 5, every transition trained.",
        loading=SMALL_ADAPTERS,
        goal=Goal("animals", reward=("aesthetic",)),
        rollout=Noisy("ddim", 1.0, steps=50),
        shared=replace(TABLE, budget=Budget(rounds=200)),
        guidance=5.0,
    ),
    row(
        "score_as_action",
        "sd15",
        "Score as action on SD 1.5: 50 DDIM steps with η = 1 and guidance 7, as in the public "
        "code; every step of every sample is decoded and rewarded once more, for the value "
        "function.",
        loading=SMALL_ADAPTERS,
        goal=Goal("animals", reward=("image_reward",)),
        objective=ScoreAsAction(),
        rollout=Noisy("ddim", 1.0, steps=50),
        shared=replace(TABLE, optimizer=Optimizer(lr=5e-5, weight_decay=1e-4)),
        guidance=7.0,
    ),
    *(
        ours(
            "vgrpo",
            task,
            about,
            objective=VGRPO(clip=None),
            sampling=Sampling(steps=steps),
            shared=shared,
        )
        for task, about, steps, shared in (
            ("sd15", "V-GRPO on SD 1.5; ours.", 25, TABLE),
            ("wan", "V-GRPO on Wan 2.1 1.3B, 33 frames of 240 x 416; ours.", 20, VIDEO),
        )
    ),
    ours(
        "ddpo",
        "sdxl",
        "DDPO on SDXL; settings of SD 1.5 with fewer steps, ours.",
        rollout=Noisy("ddim", 1.0, steps=30),
        shared=TABLE,
    ),
    row(
        "flow_grpo",
        "wan",
        "Flow-GRPO on Wan 2.1 1.3B, 33 frames of 240 x 416, noise linear in time.",
        objective=FlowGRPO(clip=1e-3, kl=0.004, kl_form="paper"),
        rollout=Noisy("linear_sde", 1.0, steps=20),
        shared=WAN_ROUND,
        measured=replace(CLIPS, steps=50),
        guidance=4.5,
    ),
    row(
        "diffusion_dpo",
        "sd15",
        "Diffusion-DPO on SD 1.5; the launcher's β 5000 and rate 2.048e-5.",
        loading=Loading(rank=16, alpha_per_rank=1.0, dtype="bf16", checkpointing=True),
        objective=DiffusionDPO(beta=5000.0),
    ),
    row(
        "diffusion_dpo",
        "sdxl",
        "Diffusion-DPO on SDXL; AdamW where the launcher has Adafactor.",
        objective=DiffusionDPO(beta=5000.0),
    ),
)
