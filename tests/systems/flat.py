"""Rounds that teach nothing: every objective where rewards have no spread, alone and in a team.

The network refuses to be asked about nothing, as real ones do. python -m tests.systems.flat FOLDER
is one process of a team.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scoreward.core.chain import Tree
from scoreward.data.preferences.records import TextPair
from scoreward.losses.diffusion import AutomaticBeta
from scoreward.methods.sampling import Noisy, Sampling
from scoreward.methods.texts import trained
from scoreward.models.analytic import GaussianPolicy
from scoreward.models.base import Model
from scoreward.objectives.base import Objective
from scoreward.objectives.gradients.align_prop import AlignProp
from scoreward.objectives.gradients.draft import DRaFT
from scoreward.objectives.gradients.refl import ReFL
from scoreward.objectives.paths.base import PathObjective
from scoreward.objectives.paths.branch_grpo import BranchGRPO
from scoreward.objectives.paths.d3po import D3PO
from scoreward.objectives.paths.dance_grpo import DanceGRPO
from scoreward.objectives.paths.ddpo import DDPO
from scoreward.objectives.paths.denoised_value import DenoisedValue
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
from scoreward.tasks.toy import CORNERS, closeness, toy_model
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.sources.online import Online, Source
from scoreward.training.sources.pairs import PairData, Preferences
from scoreward.training.sources.stored import Offline
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
from tests.objectives.texts import named, tales, trainer_of
from tests.training.preferring import pair_data

STEPS, GROUP, ROUNDS = 4, 6, 3  # the mean of six equal numbers is off by rounding
SDE = Noisy("flow_sde", 0.7, steps=STEPS).sampler()
DDIM_1 = Noisy("ddim", 1.0, steps=STEPS).sampler()
ODE = Sampling(steps=STEPS).sampler()
FIRST = Optimizer(lr=0.02, weight_decay=0.1)  # what would move weights without any gradient
SMALL = DenoisedValue(hidden=8, first_passes=2, passes=1)


class Asked(GaussianPolicy):
    """A network that cannot be asked about nothing."""

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        if not len(x):
            raise RuntimeError("the network was asked about 0 samples")
        return super().forward(x, t, cond)


def picky() -> Model:
    return replace(toy_model(), network=Asked(len(CORNERS), 2))


# Objectives as they are, and with everything that asks the reference or another policy

PATHS: dict[str, Objective] = {
    "paths": PathObjective(),
    "ddpo": DDPO(),
    "ddpo_sf": DDPO(estimator="sf"),
    "dpok": DPOK(),
    "flow_grpo": FlowGRPO(),
    "flow_grpo_plain": FlowGRPO(kl=0.0),
    "flow_grpo_fast": FlowGRPOFast(),
    "mixgrpo": MixGRPO(squared_log_ratio=1.0),
    "dance_grpo": DanceGRPO(fraction=1.0),
    "grpo_guard": GRPOGuard(),
    "flow_dppo": FlowDPPO(),
    "temp_flow": TempFlowGRPO(),
    "score_as_action": ScoreAsAction(value=SMALL),
}
HELD = {f"{n}_kl": replace(o, kl=0.1) for n, o in PATHS.items() if n != "flow_grpo_plain"}  # pyright: ignore
SKIPPING = {
    f"{n}_kl_skips": replace(HELD[f"{n}_kl"], skip_uniform=True)  # pyright: ignore
    for n in ("paths", "dpok", "dance_grpo", "score_as_action")
}
STEPWISE: dict[str, Objective] = {
    "d3po": D3PO(),
    "spo": SPO(first=0, least=0.01),
    "lpo": LPO(bounds=(0.01, 0.02)),
    "fdfo": FDFO(anchor=0.1),
    "dance_grpo_some": DanceGRPO(kl=0.1, best_of=1),
}
SAMPLES: dict[str, Objective] = {
    "vgrpo": VGRPO(proximal=0.3, anchor=0.1, norm_guard=0.1),
    "diffusion_nft": DiffusionNFT(anchor=0.1),
    "awm": AWM(pairs=3, anchor=0.1),
    "fpo": FPO(pairs=3, anchor=0.1),
    "epg": EPG(pairs=3, anchor=0.1),
    "pepg": PEPG(anchor=0.1),
    "par": PAR(anchor=0.1),
    "ram": RAM(pairs=3, anchor=0.1),
    "dgpo": DGPO(pairs=2, fraction=1.0, clip=1e-2, anchor=0.1),
    "crd": CRD(pairs=3, anchor=0.1, anchor_guidance=1.0),
}
PAIRED: dict[str, Objective] = {
    "diffusion_dpo": DiffusionDPO(beta=20.0),
    "diffusion_dpo_automatic": DiffusionDPO(automatic=AutomaticBeta(high=5.0)),
    "diffusion_dpo_sdpo": DiffusionDPO(beta=20.0, safeguard=0.6),
    "diffusion_ipo": DiffusionDPO(beta=20.0, link="ipo"),
    "diffusion_kto": DiffusionKTO(beta=20.0),
    "flow_dpo": FlowDPO(beta=20.0),
    "mapo": MaPO(),
    "diffusion_orpo": DiffusionORPO(),
    "dspo": DSPO(),
    "inpo": InPO(beta=20.0),
    "smpo": SmPO(beta=20.0, low=0.0, high=2.0),
    "dmpo": DMPO(beta=20.0),
    "diffusion_rainbow_po": DiffusionRainbowPO(beta=20.0, alpha=0.9, phi="gap"),
    "pnapo": PNAPO(beta=20.0),
}
STARTS: dict[str, Objective] = {
    "refl": ReFL(anchor=0.1),
    "draft": DRaFT(anchor=0.1),
    "align_prop": AlignProp(mean=0.5, anchor=0.1),
}
TEXTS = (
    *("dpo", "simpo", "rainbow_po", "odpo", "wpo", "exo", "discopop"),
    *("bco", "aot", "aot_unpaired", "kto"),
)
TREE = Tree((1, 2))  # four leaves


def constant(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """0.1 for everything: a number whose mean over equal ones is off by rounding."""
    return 0.1 + 0 * media.flatten(1).sum(1)


def northern(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """Only northern prompts have a spread, so that rounds are flat in part, and some as a whole."""
    north = torch.tensor([p.startswith("north") for p in prompts], device=media.device)
    return torch.where(north, closeness(media, prompts), constant(media, prompts))


REWARDS = {"flat": constant, "mixed": northern}
SIZES = {
    "two": Geometry(prompts=2, group=GROUP, minibatches=2, micro_batch=3),
    "one": Geometry(prompts=1, group=GROUP),
    "remembered": Geometry(prompts=2, group=GROUP, remember=10**4),
}


def online(objective: Objective, reward: str, sizes: Geometry) -> Source:
    rollout, tree = (SDE, None) if objective.needs.data == "paths" else (ODE, None)
    if isinstance(objective, DDPO | DPOK | ScoreAsAction | D3PO | SPO | LPO):
        rollout = DDIM_1
    if isinstance(objective, BranchGRPO):
        tree, sizes = TREE, replace(sizes, group=4)
    made = Online(list(CORNERS), {"mine": REWARDS[reward]}, rollout, sizes, tree=tree)
    return replace(made, weights={"mine": 3.0})


def fits(objective: Objective, sizes: Geometry) -> bool:
    """Whether two processes may train it; a collective one is refused without a sample each."""
    units = sizes.samples // sizes.unit(objective.needs.whole_groups)
    return not objective.needs.everyone or units >= 2


def trainer(objective: Objective, source: Source) -> Callable[[Path], Trainer]:
    return lambda folder: Trainer(picky(), objective, source, FIRST, Team())


def drawn() -> dict[str, Callable[[Path], Trainer]]:
    """Every objective on rewards, of every size and kind of flatness."""
    everyone = PATHS | HELD | SKIPPING | STEPWISE | SAMPLES | PAIRED | STARTS
    everyone |= {"branch_grpo": BranchGRPO(), "branch_grpo_kl": BranchGRPO(kl=0.1)}
    everyone |= {"branch_grpo_kl_skips": BranchGRPO(kl=0.1, skip_uniform=True)}
    everyone = {n: o for n, o in everyone.items() if n != "pnapo"}  # needs noise of the data
    return {
        f"{name}-{reward}-{size}": trainer(objective, online(objective, reward, sizes))
        for name, objective in everyone.items()
        for reward in REWARDS
        for size, sizes in SIZES.items()
        if fits(objective, sizes) and (size != "remembered" or objective.needs.graphs)
    }


def alike() -> PairData:
    """Pairs of one picture with itself, with equal scores."""
    data = pair_data(8)
    same, noise = data.winner, data.winner_noise
    return PairData(same, same, data.prompts, torch.zeros(8), noise, noise)


def stored() -> dict[str, Callable[[Path], Trainer]]:
    """Objectives on data whose pairs say nothing."""
    sizes = Geometry(prompts=3, group=2, minibatches=2)
    found = {
        f"{name}-alike": trainer(objective, Preferences(alike(), sizes, 0.0))
        for name, objective in PAIRED.items()
    }
    data, words = torch.zeros(4, 2), list(CORNERS)
    for count in (1, 3):
        pictures = Geometry(prompts=count, group=1)
        found[f"denoising-{count}"] = trainer(Denoising(), Offline(data, words, pictures, 0.0))
    few = Offline(data, words, Geometry(prompts=3, group=1), 0.0, DDIM_1)
    return found | {"few_step-3": trainer(FewStep(critic_steps=2), few)}


def written() -> dict[str, Callable[[Path], Trainer]]:
    """Losses of texts on pairs of a text with itself; with one pair a process has none."""

    def make(name: str, sizes: Geometry) -> Callable[[Path], Trainer]:
        same = [TextPair(r.prompt, r.chosen, r.chosen, r.score_w, r.score_l) for r in tales(5)]
        return lambda folder: trainer_of(named(name), folder, same, sizes)

    return {
        f"{name}-{count}": make(name, Geometry(prompts=count, group=1))
        for name in TEXTS
        for count in (1, 3)
        if count > 1 or not trained(named(name)).needs.everyone
    }


CASES = drawn() | stored() | written()
IN_TEAMS = [
    name
    for name in CASES
    if name.partition("-")[0] not in PATHS and not name.endswith(("-flat-two", "-flat-remembered"))
]
"""Each objective where a process has no row, or fewer than the other; with a KL, if it can."""


def outcome(make: Callable[[Path], Trainer], folder: Path) -> dict[str, Any]:
    """Metrics of the rounds, the weights after them and what was remembered; or why not."""
    try:
        made = make(folder)
        metrics = [made.step().metrics for _ in range(ROUNDS)]
    except (ValueError, RuntimeError, ZeroDivisionError, IndexError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    live = torch.cat([p.detach().double().flatten() for p in made.weights.parameters.values()])
    memory = {k: v.detach().clone() for k, v in made.memory.items()}
    return {"metrics": metrics, "live": live, "memory": memory}


def everything(folder: Path, names: Iterable[str] = CASES) -> dict[str, dict[str, Any]]:
    return {name: outcome(CASES[name], folder) for name in names}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    Team()
    with tempfile.TemporaryDirectory() as own:
        torch.save(everything(Path(own), IN_TEAMS), folder / f"rank{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
