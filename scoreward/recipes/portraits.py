"""What the recipes on the built-in portraits share, V-GRPO and pretraining.

All methods start from one model, see the same prompts and the same reward, and share the sizes of a
round; what differs is the objective, how the rollout draws its steps, and the learning rate and the
regularisers (benchmarks/online).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from torch import Tensor

from scoreward.advantage import Advantages
from scoreward.chain import Sampler, Tree
from scoreward.data import portraits as data
from scoreward.models import builtin
from scoreward.models.base import Model
from scoreward.models.lora import LoRA, add_lora
from scoreward.models.transformer import NetworkSize
from scoreward.objectives.base import Objective
from scoreward.objectives.denoising import Denoising
from scoreward.objectives.vgrpo import VGRPO
from scoreward.recipes.sampling import Sampling
from scoreward.recipes.shared import Shared
from scoreward.rewards.base import Reward
from scoreward.rewards.palette import PaletteCheck, nearest_picture
from scoreward.rewards.portraits import (
    AllRight,
    AttributeReward,
    ShareRight,
    Verifier,
    attribute_table,
)
from scoreward.training.checkpoint import read_tensors
from scoreward.training.evaluation import Evaluation
from scoreward.training.gap import Gap
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
    gap: Gap = Gap()  # noises and grids to compare besides

    def samplers(self) -> dict[str, Sampler]:
        """The ODE and the SDE."""
        return {
            "ode": Sampling(steps=self.steps).sampler(),
            "sde": Sampling(steps=self.steps, eta=self.eta).sampler(),
        }

    def evaluation(self) -> Evaluation:
        """The evaluation of a portraits run."""
        return Evaluation(
            prompts=data.load(self.split).captions[: self.prompts],
            samplers=self.samplers(),
            scorers=scorers(),
            tables={"attributes": AttributeTable(verifier("b"))},
            every=self.every,
            gap=self.gap,
        )


@dataclass(frozen=True)
class Start:
    """The model that training starts from."""

    weights: Path | None = None  # a weights file instead of the shipped one
    lora: bool = False  # train low-rank adapters instead of all weights
    rank: int = 32  # of the adapters
    alpha: float | None = None  # of the adapters; default: twice the rank

    def load(self, weights: Mapping[str, Tensor] | None) -> Model:
        """The portraits model, with the shipped weights for None."""
        return builtin.portraits(weights)

    def build(self) -> Model:
        """The built-in model, with adapters if asked."""
        model = self.load(None if self.weights is None else read_tensors(self.weights))
        if self.lora:
            add_lora(model.network, LoRA(self.rank, self.alpha))
        return model


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
        "reward": ShareRight(verifier("a")),
        "judge": ShareRight(verifier("b")),
        "strict": AllRight(verifier("b")),
        "palette": PaletteCheck.load(),
        "nearest": nearest_picture,
    }


Rollout = Sampler | Callable[[int], Sampler]


def on_portraits(
    name: str,
    objective: Objective,
    rollout: Rollout,
    shared: Shared,
    held_out: HeldOut,
    model: Start,
) -> Run:
    """The run of a method; the reward is the share of attributes that are right."""
    return Run(
        name=name,
        model=model.build(),
        objective=objective,
        source=Online(
            prompts=data.load("train").captions,
            rewards={"attributes": ShareRight(verifier("a"))},
            rollout=rollout,
            geometry=shared.geometry,
            advantages=shared.advantages,
        ),
        optimizer=shared.optimizer,
        budget=shared.budget,
        evaluation=held_out.evaluation(),
        keeping=Keeping(every=held_out.every),
    )


def online_source(run: Run) -> Online:
    """The source of a run that draws its own samples."""
    if not isinstance(run.source, Online):
        raise TypeError(f"{run.name} does not draw its own samples")
    return run.source


def started(run: Run, own: float) -> Run:
    """A share `own` of the starting noise is a sample's own, the rest its prompt's."""
    return replace(run, source=replace(online_source(run), own_start=own))


def branched(run: Run, tree: Tree) -> Run:
    """Every group is a tree."""
    return replace(run, source=replace(online_source(run), tree=tree))


def rewarded(run: Run, rewards: Mapping[str, Reward], weights: Mapping[str, float]) -> Run:
    """Other rewards."""
    return replace(run, source=replace(online_source(run), rewards=rewards, weights=weights))


def confident(run: Run) -> Run:
    """The verifier's mean probability as the reward: the share of right attributes has steps."""
    return rewarded(run, {"confidence": AttributeReward(verifier("a"))}, {})


def portraits_vgrpo(
    objective: VGRPO = VGRPO(clip=None, anchor=0.15),
    sampling: Sampling = Sampling(),
    geometry: Geometry = Geometry(prompts=16, group=8),
    advantages: Advantages = Advantages(scale="batch", floor=0.05),
    optimizer: Optimizer = Optimizer(lr=2e-4, decay="linear"),
    budget: Budget = Budget(rounds=75),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """V-GRPO on the built-in model; the reward is the share of attributes that are right.

    Strictly on-policy (one update per round), so the ratio clip is off and the soft clip is on. The
    anchor is ours; its weight, the floor and the learning rate were chosen on validation prompts,
    see docs/LOG.md.
    """
    shared = Shared(geometry, advantages, optimizer, budget)
    return on_portraits("portraits_vgrpo", objective, sampling.sampler(), shared, held_out, model)


@dataclass(frozen=True)
class Captions:
    """How well pretraining pictures are described; both ours, see docs/decisions.md."""

    misnamed: float = 0.1  # probability that a caption names an attribute wrongly
    dropout: float = 0.1  # share of captions left out, so that guidance is possible


def portraits_pretrain(
    objective: Denoising = Denoising(),
    size: NetworkSize = NetworkSize(),
    geometry: Geometry = Geometry(prompts=3200, group=1, minibatches=50),
    optimizer: Optimizer = Optimizer(
        lr=1e-3,
        betas=(0.9, 0.99),
        weight_decay=1e-4,
        warmup=100,
        decay="linear",
        ema=0.999,
    ),
    budget: Budget = Budget(rounds=100),
    held_out: HeldOut = HeldOut(split="validation", every=10),
    captions: Captions = Captions(),
    start: Path | None = None,
) -> Run:
    """Pretraining of the built-in model; `start` goes on from a weights file."""
    train = data.load("train")
    words = data.careless_captions(train, captions.misnamed)
    model = builtin.untrained(size)
    if start is not None:
        model = builtin.portraits(read_tensors(start), size)
    return Run(
        name="portraits_pretrain",
        model=model,
        objective=objective,
        source=Offline(train.images, words, geometry, captions.dropout),
        optimizer=optimizer,
        budget=budget,
        evaluation=held_out.evaluation(),
        keeping=Keeping(every=held_out.every),
    )
