"""Recipes on the built-in pixel portraits: pretraining, V-GRPO, and how both are measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch import Tensor

from scoreward.advantage import Advantages
from scoreward.data import portraits as data
from scoreward.models import builtin
from scoreward.models.portraits import PortraitSize
from scoreward.objectives.denoising import Denoising
from scoreward.objectives.vgrpo import VGRPO
from scoreward.recipes.sampling import Sampling
from scoreward.rewards.palette import PaletteCheck, nearest_picture
from scoreward.rewards.portraits import AllRight, AttributeReward, Verifier, attribute_table
from scoreward.training.checkpoint import read_tensors
from scoreward.training.evaluation import Evaluation
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.source import Offline, Online


@dataclass(frozen=True)
class HeldOut:
    """What to measure, on prompts whose attribute combination was never trained on."""

    split: str = "test"  # "validation" while tuning, "test" for what is reported
    prompts: int = 256
    every: int = 25  # rounds
    steps: int = 10
    eta: float = 1.0  # of the SDE sampler; the ODE is always measured too

    def evaluation(self) -> Evaluation:
        """The evaluation of a portraits run."""
        samplers = {
            "ode": Sampling(steps=self.steps).sampler(),
            "sde": Sampling(steps=self.steps, eta=self.eta).sampler(),
        }
        return Evaluation(
            prompts=data.load(self.split).captions[: self.prompts],
            samplers=samplers,
            scorers=scorers(),
            tables={"attributes": AttributeTable(verifier("b"))},
            every=self.every,
        )


@dataclass(frozen=True)
class AttributeTable:
    """Per-attribute accuracy by one verifier, as an evaluation table."""

    verifier: Verifier

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Mapping[str, float]:
        return attribute_table(self.verifier, media, prompts)


@cache
def verifier(name: str) -> Verifier:
    """A frozen attribute verifier: "a" rewards, "b" judges."""
    return Verifier.load(name)


def scorers() -> dict[str, Callable]:
    """Reward, the judge that never trains anything, and checks that use neither network."""
    return {
        "reward": AttributeReward(verifier("a")),
        "judge": AttributeReward(verifier("b")),
        "strict": AllRight(verifier("b")),
        "palette": PaletteCheck.load(),
        "nearest": nearest_picture,
    }


def portraits_vgrpo(
    objective: VGRPO = VGRPO(clip=None, anchor=0.1),
    sampling: Sampling = Sampling(),
    geometry: Geometry = Geometry(),
    advantages: Advantages = Advantages(),
    optimizer: Optimizer = Optimizer(lr=1e-4),
    budget: Budget = Budget(rounds=150),
    held_out: HeldOut = HeldOut(),
    start: Path | None = None,
) -> Run:
    """V-GRPO on the built-in model: reward = mean probability of the prompt's attributes.

    Strictly on-policy (one update per round), so the ratio clip is off and the soft clip is on. The
    anchor is ours. `start` is a weights file to begin from instead of the shipped model.
    """
    return Run(
        name="portraits_vgrpo",
        model=builtin.portraits(None if start is None else read_tensors(start)),
        objective=objective,
        source=Online(
            prompts=data.load("train").captions,
            rewards={"attributes": AttributeReward(verifier("a"))},
            rollout=sampling.sampler(),
            geometry=geometry,
            advantages=advantages,
        ),
        optimizer=optimizer,
        budget=budget,
        evaluation=held_out.evaluation(),
        keeping=Keeping(every=held_out.every),
    )


def portraits_pretrain(
    objective: Denoising = Denoising(),
    size: PortraitSize = PortraitSize(),
    geometry: Geometry = Geometry(prompts=3200, group=1, minibatches=50),
    optimizer: Optimizer = Optimizer(
        lr=1e-3, weight_decay=1e-4, warmup=100, decay="linear", total=5000, ema=0.999
    ),
    budget: Budget = Budget(rounds=100),
    held_out: HeldOut = HeldOut(split="validation", every=10),
    dropout: float = 0.1,
    start: Path | None = None,
) -> Run:
    """Pretraining of the built-in model; `start` goes on from a weights file."""
    train = data.load("train")
    model = builtin.untrained(size)
    if start is not None:
        model = builtin.portraits(read_tensors(start), size)
    return Run(
        name="portraits_pretrain",
        model=model,
        objective=objective,
        source=Offline(train.images, train.captions, geometry, dropout),
        optimizer=optimizer,
        budget=budget,
        evaluation=held_out.evaluation(),
        keeping=Keeping(every=held_out.every),
    )
