"""scoreward's side: the usual objects, with the settings of the comparison."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from benchmarks.peers import settings
from scoreward.core.advantage import Advantages
from scoreward.methods.sampling import Noisy, Sampling
from scoreward.models.diffusers import Loading, load
from scoreward.objectives.base import Objective
from scoreward.objectives.paths.ddpo import DDPO
from scoreward.objectives.paths.flow_grpo import FlowGRPO
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.training.geometry import Geometry
from scoreward.training.guards import Guards
from scoreward.training.optimizer import Optimizer
from scoreward.training.sources.online import Online
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer

DDPO_ROUND: Objective = DDPO(clip=settings.CLIP)
FLOW_ROUND: Objective = FlowGRPO(clip=settings.CLIP, kl=0.0)
V_ROUND: Objective = VGRPO(clip=None)
PAIRS = settings.SAMPLES * settings.STEPS  # more answers than a round has


def redness(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """The reward of the comparison."""
    return settings.redness(media)


def rollout(objective: Objective, kind: str) -> Noisy | Sampling:
    """Noise for methods that train the path, none for the others."""
    if objective.stores == "samples":
        return Sampling(steps=settings.STEPS)
    noise = ("ddim", 1.0) if kind == "sd15" else ("flow_sde", settings.NOISE)
    return Noisy(noise[0], noise[1], settings.STEPS)  # pyright: ignore


def made(folder: Path, kind: str, objective: Objective, guided: bool, remember: int) -> Trainer:
    """A trainer on the saved pipeline."""
    loading = Loading(rank=settings.RANK, alpha=settings.ALPHA, tokens=settings.MAX_TOKENS)
    model = load(folder / kind, loading)
    advantages = Advantages(scale="batch" if kind == "sd15" else "group")
    source = Online(
        prompts=settings.PROMPTS,
        rewards={"redness": redness},
        rollout=rollout(objective, kind).sampler(model.grid(settings.STEPS)),
        geometry=Geometry(
            prompts=len(settings.PROMPTS),
            group=settings.GROUP,
            rollout_batch=settings.BATCH,
            micro_batch=settings.BATCH,
            remember=remember,
        ),
        advantages=advantages,
    )
    optimizer = Optimizer(
        lr=settings.LR,
        betas=settings.BETAS,
        weight_decay=settings.WEIGHT_DECAY,
        max_norm=settings.MAX_NORM,
        ema=0.0 if kind == "sd15" else 0.9,
    )
    guidance = settings.GUIDANCE[kind] if guided else 1.0
    guards = Guards(verify_every=settings.CHECKED)
    return Trainer(model, objective, source, optimizer, Team(), 0, guidance, guards)


class Ours:
    """Rounds of a trainer; the first and every tenth check the ratio with a second forward pass."""

    def __init__(
        self, folder: Path, kind: str, objective: Objective, guided: bool, remember: int
    ) -> None:
        self.trainer = made(folder, kind, objective, guided, remember)
        pipe = self.trainer.model.decode.pipe  # pyright: ignore
        denoiser: Any = self.trainer.model.network.main  # pyright: ignore
        self.modules: dict[str, nn.Module] = {"denoiser": denoiser, "vae": pipe.vae.decoder}

    def round(self) -> dict[str, Any]:
        checked = self.trainer.done % settings.CHECKED == 0
        metrics = self.trainer.step().metrics
        return {"checked": checked, "reward": metrics["reward/mean"]}


def arm(kind: str, objective: Objective, guided: bool, remember: int) -> Any:
    """What makes the program of one line of the table."""
    return lambda folder: Ours(folder, kind, objective, guided, remember)


ARMS = {
    f"{name}-{'guided' if guided else 'plain'}{'' if remember else '-again'}": arm(
        kind, objective, guided, remember
    )
    for name, kind, objective in (("ddpo", "sd15", DDPO_ROUND), ("flow_grpo", "sd3", FLOW_ROUND))
    for guided in (True, False)
    for remember in (PAIRS, 0)
} | {"vgrpo-plain": arm("sd3", V_ROUND, False, 0)}
