"""Every method that trains a model of pictures or video, one row each.

Settings are those that were chosen on the portraits; what differs elsewhere stands in
`scoreward.settings`.
"""

from scoreward.core.advantage import Advantages
from scoreward.core.windows import Window
from scoreward.methods.base import Method, Shared
from scoreward.methods.drawn import Drawn
from scoreward.methods.sampling import Forked, Noisy, Sampling
from scoreward.methods.stored import OnPairs, OnPictures
from scoreward.objectives.gradients.align_prop import AlignProp
from scoreward.objectives.gradients.draft import DRaFT
from scoreward.objectives.gradients.refl import ReFL
from scoreward.objectives.paths.branch_grpo import BranchGRPO
from scoreward.objectives.paths.d3po import D3PO
from scoreward.objectives.paths.dance_grpo import DanceGRPO
from scoreward.objectives.paths.ddpo import DDPO
from scoreward.objectives.paths.dpok import DPOK
from scoreward.objectives.paths.fdfo import FDFO
from scoreward.objectives.paths.flow_dppo import FlowDPPO
from scoreward.objectives.paths.flow_grpo import FlowGRPO, FlowGRPOFast
from scoreward.objectives.paths.grpo_guard import GRPOGuard
from scoreward.objectives.paths.lpo import LPO
from scoreward.objectives.paths.mixgrpo import MixGRPO
from scoreward.objectives.paths.score_as_action import ScoreAsAction
from scoreward.objectives.paths.spo import SPO
from scoreward.objectives.paths.temp_flow import TempFlowGRPO
from scoreward.objectives.pictures.diffusion_dpo import DiffusionDPO
from scoreward.objectives.pictures.diffusion_kto import DiffusionKTO
from scoreward.objectives.pictures.diffusion_orpo import DiffusionORPO
from scoreward.objectives.pictures.diffusion_rainbow_po import DiffusionRainbowPO
from scoreward.objectives.pictures.dmpo import DMPO
from scoreward.objectives.pictures.dspo import DSPO
from scoreward.objectives.pictures.flow_dpo import FlowDPO
from scoreward.objectives.pictures.inpo import InPO
from scoreward.objectives.pictures.mapo import MaPO
from scoreward.objectives.pictures.pnapo import PNAPO
from scoreward.objectives.pictures.smpo import SmPO
from scoreward.objectives.samples.awm import AWM
from scoreward.objectives.samples.crd import CRD
from scoreward.objectives.samples.denoising import Denoising
from scoreward.objectives.samples.dgpo import DGPO
from scoreward.objectives.samples.diffusion_nft import DiffusionNFT
from scoreward.objectives.samples.epg import EPG, PAR, PEPG
from scoreward.objectives.samples.few_step import FewStep
from scoreward.objectives.samples.fpo import FPO
from scoreward.objectives.samples.ram import RAM
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget
from scoreward.training.sources.pairs import Curriculum

FLOW_SDE, DDIM = Noisy("flow_sde", 0.7), Noisy("ddim", 1.0)
BY_PROMPT = Shared(advantages=Advantages(scale="prompt"))
CENTRED = Shared(advantages=Advantages(scale="none", bound=50.0))  # EPG's `size` makes the bound 5
BRANCHED = Shared(
    geometry=Geometry(prompts=4, group=6, minibatches=2),  # one start a prompt; two updates, code
    advantages=Advantages(scale="group"),  # code
)
TWOS = Shared(geometry=Geometry(prompts=32, group=2))
SHORT = Sampling(solver="dpmpp", steps=5)

SAMPLES: tuple[Method, ...] = (
    Drawn(
        "vgrpo",
        "V-GRPO: clipped ratios of denoising errors, on pairs that a group shares.",
        VGRPO(clip=None),
    ),
    Drawn(
        "swift",
        "V-GRPO with short rollouts, two pairs, a guided anchor and a reward for variety.",
        VGRPO(pairs=2, clip=None, anchor=0.3, anchor_guidance=2.0),
        steps=SHORT,
        variety=1.0,
    ),
    Drawn(
        "diffusion_nft",
        "DiffusionNFT: contrast of an implicit better and an implicit worse policy.",
        DiffusionNFT(),
    ),
    Drawn(
        "awm",
        "AWM: advantage-weighted matching, anchored to the first model and to a slow average.",
        AWM(),
    ),
    Drawn("fpo", "FPO: a clipped ratio of flow-matching losses, one per sample.", FPO()),
    *(
        Drawn(name, about, objective, shared=CENTRED)
        for name, about, objective in (
            (
                "epg",
                "EPG: policy gradients on an ELBO of the sample, advantages without a deviation.",
                EPG(),
            ),
            ("pepg", "PEPG: EPG with a pull back to the policy that sampled.", PEPG()),
            (
                "par",
                "PAR: regression of the gain in likelihood on the advantage; PEPG's gradient.",
                PAR(),
            ),
        )
    ),
    Drawn("ram", "RAM: regression to the reference's velocity, shifted by reward.", RAM()),
    Drawn(
        "dgpo", "DGPO: a preference between the better and the worse samples of a group.", DGPO()
    ),
    Drawn("crd", "CRD: the centred implicit reward is matched to the centred reward.", CRD()),
)
PATHS: tuple[Method, ...] = (
    Drawn(
        "ddpo",
        "DDPO: every step is a DDIM step with η = 1, every transition is trained.",
        DDPO(),
        steps=DDIM,
        shared=BY_PROMPT,
    ),
    Drawn(
        "dpok",
        "DPOK: DDPO with a learned baseline and a distance to the first model.",
        DPOK(),
        steps=DDIM,
        shared=BY_PROMPT,
    ),
    Drawn(
        "score_as_action",
        "Score as action: every step earns what it adds to a learned value of the noisy picture.",
        ScoreAsAction(clip=1e-4),
        steps=DDIM,
    ),
    Drawn(
        "flow_grpo",
        "Flow-GRPO: noise at every step, all transitions but the last are trained.",
        FlowGRPO(),
        steps=FLOW_SDE,
    ),
    Drawn(
        "flow_grpo_fast",
        "Flow-GRPO-Fast: three Flow-CPS steps somewhere in the first part of the rollout.",
        FlowGRPOFast(),
        steps=Noisy("cps", 0.8),
        window=Window("random", width=3, end=7),
    ),
    Drawn(
        "cps",
        "Flow-CPS: steps that keep the noise level, with their own log-probability.",
        FlowGRPO(clip=1e-5, kl=0.0, log_prob="unit"),
        steps=Noisy("cps", 0.8),
    ),
    Drawn(
        "dance_grpo",
        "DanceGRPO: constant noise, one start per prompt, a random 60 % of the steps.",
        DanceGRPO(),
        steps=Noisy("dance_sde", 0.3),
        own_start=0.0,
    ),
    Drawn(
        "mixgrpo",
        "MixGRPO: noise and training inside a window that moves along the path.",
        MixGRPO(),
        steps=FLOW_SDE,
        window=Window("progressive", every=10),
        own_start=0.0,
    ),
    Drawn(
        "mixgrpo_flash",
        "MixGRPO-Flash: DPM-Solver++ after the window. Flash*: a frozen window and --flash 0.2.",
        MixGRPO(),
        steps=FLOW_SDE,
        window=Window("progressive", every=10),
        flash=0.4,
        own_start=0.0,
    ),
    Drawn(
        "branch_grpo",
        "BranchGRPO: groups are trees whose branches share steps, advantages at every depth.",
        BranchGRPO(),
        steps=Noisy("dance_sde", 0.3),
        splits=(0, 2, 4),
    ),
    Drawn(
        "temp_flow",
        "TempFlow-GRPO: branches at every step of a path without noise, weighted by their noise.",
        TempFlowGRPO(),
        steps=Forked("flow_sde", 0.7),
        shared=BRANCHED,
    ),
    Drawn(
        "temp_flow_window",
        "TempFlow-GRPO of the descriptions: noise at one random step a round, for all samples.",
        TempFlowGRPO(),
        steps=FLOW_SDE,
        window=Window("random", width=1, end=9),
        own_start=0.0,
    ),
    Drawn(
        "grpo_guard",
        "GRPO-Guard: Flow-GRPO with ratios that are unbiased and equal over the steps.",
        GRPOGuard(),
        steps=FLOW_SDE,
    ),
    Drawn(
        "flow_dppo",
        "Flow-DPPO: Flow-GRPO with a divergence mask instead of a ratio clip.",
        FlowDPPO(),
        steps=FLOW_SDE,
    ),
    Drawn(
        "fdfo",
        "FDFO: pairs that differ by little noise, so the reward is one without steps.",
        FDFO(),
        steps=Noisy("churn", 0.0025),
        shared=TWOS,
        smooth=True,
    ),
    *(
        Drawn(name, about, objective, steps=DDIM)
        for name, about, objective in (
            ("d3po", "D3PO: every step of the best path of a group against the worst's.", D3PO()),
            (
                "spo",
                "SPO: candidates for every step, the best against the worst.",
                SPO(least=0.05, first=2),
            ),
            ("lpo", "LPO: SPO with a threshold by the noise of the step.", LPO(bounds=(0.05, 0.1))),
        )
    ),
)
GRADIENTS: tuple[Method, ...] = (
    *(
        Drawn(name, about, objective, smooth=True)
        for name, about, objective in (
            (
                "refl",
                "ReFL: the reward's gradient through one step to the predicted picture.",
                ReFL(weight=1.0),
            ),
            ("draft", "DRaFT-K: the reward's gradient through the last K steps.", DRaFT()),
            (
                "align_prop",
                "AlignProp: the reward's gradient through a random number of last steps.",
                AlignProp(weight=1.0),
            ),
        )
    ),
    Drawn(
        "swift_direct",
        "Swift for a reward with a gradient: ReFL, short rollouts, a guided anchor, variety.",
        ReFL(weight=1.0, anchor=2.0, anchor_step="any", anchor_guidance=2.0),
        steps=SHORT,
        smooth=True,
        variety=0.55,
    ),
)
PAIRS: tuple[Method, ...] = (
    OnPairs(
        "diffusion_dpo",
        "Diffusion-DPO: the winner's denoising error falls, the loser's rises.",
        DiffusionDPO(beta=500.0),
    ),
    OnPairs(
        "flow_dpo",
        "Flow-DPO: Diffusion-DPO on velocity errors, which is what flow models have.",
        FlowDPO(beta=500.0),
        flows=True,
    ),
    OnPairs(
        "diffusion_kto",
        "Diffusion-KTO: every picture alone is desirable or not; a file may hold labels.",
        DiffusionKTO(beta=250.0),
        labels=True,
    ),
    OnPairs("mapo", "MaPO: a bounded margin beside the winner's error, no reference.", MaPO()),
    OnPairs(
        "diffusion_orpo",
        "ORPO on denoising errors, with the sign that its aim needs.",
        DiffusionORPO(),
    ),
    OnPairs(
        "dspo", "DSPO: winners, with targets moved along the step away from the reference.", DSPO()
    ),
    OnPairs(
        "inpo",
        "InPO: Diffusion-DPO in the noise that the network reads out of the pictures.",
        InPO(beta=500.0),
    ),
    OnPairs(
        "smpo",
        "SmPO: weights by the gap of scores, in noise from ReNoise inversion.",
        SmPO(beta=410.0, low=0.0, high=1.0),
    ),
    OnPairs("dmpo", "DMPO: reverse KL to a smoothed label.", DMPO(beta=500.0)),
    OnPairs(
        "sdpo",
        "Diffusion-SDPO: Diffusion-DPO whose loser may not undo the winner.",
        DiffusionDPO(beta=500.0, safeguard=0.9),
    ),
    OnPairs(
        "pnapo",
        "PNAPO: Diffusion-DPO on the noise the pictures were made from; β falls over the rounds.",
        PNAPO(beta=2000.0),
        own_noise=True,
    ),
    OnPairs(
        "curriculum_dpo",
        "Curriculum-DPO: Diffusion-DPO on pairs with a large gap of scores first.",
        DiffusionDPO(beta=500.0),
        curriculum=Curriculum(every=25),
    ),
    OnPairs(
        "rainbow_po",
        "RainbowPO's components on denoising errors: our extension, a hypothesis.",
        DiffusionRainbowPO(beta=500.0),
    ),
)
PICTURES: tuple[Method, ...] = (
    OnPictures(
        "pretrain",
        "Training of a built-in model from nothing on its own pictures.",
        Denoising(),
        untrained=True,
        geometry=Geometry(prompts=3200, group=1, minibatches=100),
        optimizer=Optimizer(
            lr=1e-3,
            betas=(0.9, 0.99),
            weight_decay=1e-4,
            warmup=100,
            decay="linear",
            ema=0.999,
        ),
        budget=Budget(rounds=40),
    ),
    OnPictures(
        "sft",
        "Fine-tuning on captioned pictures, where preferences and rewards often start from.",
        Denoising(),
        geometry=Geometry(prompts=32, group=1, micro_batch=4),
        optimizer=Optimizer(lr=1e-4, weight_decay=1e-4, warmup=100),
        budget=Budget(rounds=1000),
    ),
    OnPictures(
        "few_step",
        "Few-step fine-tuning: a sampler of 4 steps with noise goes down a learned energy.",
        FewStep(critic_steps=3),
        dropout=0.0,
        sampling=Sampling(steps=4, eta=1.0),
        geometry=Geometry(prompts=64, group=1),
        optimizer=Optimizer(lr=1e-5, warmup=30),
        budget=Budget(rounds=80),
    ),
)
METHODS = SAMPLES + PATHS + GRADIENTS + PAIRS + PICTURES
