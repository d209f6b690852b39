"""Settings on built-in models, chosen on validation prompts (benchmarks/online, /preferences)."""

from dataclasses import replace

from scoreward.core.advantage import Advantages
from scoreward.methods.base import Shared
from scoreward.methods.pictures import PAIRS
from scoreward.methods.sampling import Sampling
from scoreward.objectives.samples.denoising import Denoising
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.settings.row import ours
from scoreward.tasks.builtin import HeldOut
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget

ON_PORTRAITS = (
    ours(
        "vgrpo",
        "portraits",
        "strictly on-policy, so the ratio clip is off and the soft clip is on; the anchor is ours",
        objective=VGRPO(clip=None, anchor=0.15),
        shared=Shared(geometry=Geometry(prompts=16, group=8), budget=Budget(rounds=75)),
    ),
    *(
        ours(
            one.name, "portraits", "β, rate and length of Diffusion-DPO", held_out=HeldOut(every=75)
        )
        for one in PAIRS
    ),
    ours(
        "pretrain",
        "portraits",
        "100 rounds",
        geometry=Geometry(prompts=3200, group=1, minibatches=50),
        budget=Budget(rounds=100),
        held_out=HeldOut(split="validation", every=10),
    ),
    ours(
        "few_step",
        "portraits",
        "measured with as many steps as are trained; rates ten times higher ruined it",
        held_out=HeldOut(steps=4),
    ),
)
PRETRAIN = Optimizer(
    lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4, warmup=100, decay="linear", ema=0.999
)
ON_OTHERS = (
    ours(
        "vgrpo",
        "toy",
        "a large rate",
        objective=VGRPO(clip=None),
        shared=Shared(
            Geometry(prompts=4, group=16), Advantages(), Optimizer(lr=2e-2), Budget(rounds=100)
        ),
    ),
    ours(
        "vgrpo",
        "digits_compressed",
        "20 steps and a stronger anchor",
        objective=VGRPO(clip=None, anchor=0.5),
        sampling=Sampling(steps=20),
        shared=Shared(
            geometry=Geometry(prompts=10, group=12), optimizer=Optimizer(lr=1e-4, decay="linear")
        ),
    ),
    ours(
        "pretrain",
        "emoji",
        "three styles; it stops at two thirds of the decay, to leave something for a reward",
        objective=Denoising(mean=0.5),
        optimizer=replace(PRETRAIN, total=6_000),
        held_out=HeldOut(split="validation", every=20),
    ),
    ours(
        "pretrain",
        "lettering",
        "times more often from the noisy half, where it is decided which letter is where; it stops "
        "at 40 % of the decay, to leave something for a reward",
        objective=Denoising(mean=0.8),
        optimizer=replace(PRETRAIN, total=10_000),
        held_out=HeldOut(split="validation", every=20),
    ),
    ours(
        "pretrain",
        "digits_compressed",
        "short on purpose: after 7 rounds both judges find samples as good as real digits, and "
        "they are as far from the training digits as these are from each other; 80 rounds remember "
        "them",
        geometry=Geometry(prompts=6400, group=1, minibatches=50, micro_batch=128),
        optimizer=replace(PRETRAIN, weight_decay=Optimizer.weight_decay),
        budget=Budget(rounds=7),
    ),
)
