"""Tasks on the models that come with the package: what each has, and how a method meets it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from scoreward.core.chain import Sampler
from scoreward.methods.base import Given, Method, Place, Setting, Settings
from scoreward.methods.sampling import Sampling
from scoreward.methods.stored import OnPairs, OnPictures, OwnOrPaired, StoredPlace, WithPictures
from scoreward.models.base import Model
from scoreward.models.builtin.pictures import PictureModel
from scoreward.models.lora import LoRA, add_lora
from scoreward.rewards.base import Reward
from scoreward.rewards.catalogue import named
from scoreward.tasks.base import Goal, Task, told
from scoreward.tasks.pairs import PairSplit, from_file, holds_labels, labels, own_pairs
from scoreward.training.checkpoint import read_tensors
from scoreward.training.evaluations.gap import Gap
from scoreward.training.evaluations.pictures import Evaluation

Weights = Mapping[str, Tensor] | None


@dataclass(frozen=True)
class HeldOut:
    """What to measure, on prompts that were never trained on.

    Example:
        >>> import scoreward as sw
        >>> run = sw.recipe("vgrpo", on="toy").run(held_out=sw.HeldOut(prompts=16, every=5))
        >>> len(run.evaluation.prompts), run.evaluation.every
        (16, 5)
    """

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


@dataclass(frozen=True)
class Start:
    """The model that training starts from."""

    weights: Path | None = None  # a weights file instead of the shipped one
    lora: bool = False  # train low-rank adapters instead of all weights
    rank: int = 32  # of the adapters
    alpha: float | None = None  # of the adapters; default: twice the rank


@dataclass(frozen=True)
class Pretraining:
    """How a built-in model is made from its pictures.

    `model` and `pictures` take the settings; `settings` are those of the pictures and the network.
    """

    settings: Settings
    model: Callable[[Given], Model]
    pictures: Callable[[Given, Model], tuple[Tensor, Sequence[str]]]

    def dropout(self, given: Given) -> float:
        """Share of captions left out."""
        return given["captions"].dropout if "captions" in given else given["dropout"]

    def with_dropout(self, share: float) -> dict[str, Setting]:
        """The settings, with another default of that share."""
        made = dict(self.settings)
        if "captions" in made:
            made["captions"] = Setting(replace(made["captions"].default, dropout=share))
        else:
            made["dropout"] = Setting(share)
        return made


@dataclass(frozen=True)
class BuiltIn(Task):
    """A built-in model with prompts, rewards and judges of its own.

    `captions` gives the prompts of a split; `reward` what trains, without steps if asked.
    """

    open: Callable[[Weights], Model]
    captions: Callable[[str], Sequence[str]]
    reward: Callable[[bool], Mapping[str, Reward]]
    scorers: Callable[[], Mapping[str, Reward]]
    tables: Callable[[], Mapping[str, Any]] = dict
    start: Start = Start()
    file: Callable[[Any], Model] | None = None  # instead of `open`, where weights are not all
    held_out: HeldOut = HeldOut()
    again: bool = False  # captions come again, with other noise, where there are few
    spread: int = Evaluation.spread_prompts  # prompts whose diversity is measured
    tuned_as: str = ""
    no_gradient: str = ""  # why its reward cannot be differentiated
    judged: Callable[[], str] | None = None  # what identifies the reward, so that pairs can be kept
    pretraining: Pretraining | None = None
    renames: Mapping[str, str] = field(default_factory=dict)

    @property
    def like(self) -> str:
        return self.tuned_as or self.name

    @property
    def renamed(self) -> Mapping[str, str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return dict(self.renames)

    def refusal(self, method: Method, goal: Goal | None = None) -> str | None:
        own = goal is None or not goal.reward
        if method.differentiates and self.no_gradient and own:
            return (
                f"{self.name}_{method.name} differentiates its reward, and {self.no_gradient}; "
                "choose another method, or --reward one that has a gradient"
            )
        if isinstance(method, OnPictures) and self.pretraining is None:
            return (
                f"{method.name} learns from pictures, and {self.name} has none of its own; use it "
                "--on portraits"
            )
        return super().refusal(method, goal)

    def settings(self, method: Method) -> Settings:
        made = {"held_out": Setting(self.held_out)}
        if isinstance(method, OnPictures) and self.pretraining is not None:
            own = self.pretraining.with_dropout(method.dropout)
            if method.untrained:
                return made | own
            made |= {n: own[n] for n in ("captions", "dropout") if n in own}
            return made | {"model": Setting(self.start)}
        made |= {"model": Setting(self.start)}
        if isinstance(method, OnPairs):
            made |= {"paired": Setting(OwnOrPaired(), flat=True)}
        return made | {"goal": Setting(Goal(), flat=True)}

    def build(self, start: Start) -> Model:
        """The model, with adapters if asked."""
        if self.file is not None:
            model = self.file(start)
        else:
            model = self.open(None if start.weights is None else read_tensors(start.weights))
        if start.lora:
            add_lora(model.network, LoRA(start.rank, start.alpha))
        return model

    def evaluation(
        self, held_out: HeldOut, goal: Goal | None = None, prompts: Sequence[str] | None = None
    ) -> Evaluation:
        """What is measured: the task's own judges, and a reward that was asked for."""
        captions = list(self.captions(held_out.split)) if prompts is None else list(prompts)
        count = held_out.prompts
        if self.again:
            captions = [captions[i % len(captions)] for i in range(count)]
        scorers = dict(self.scorers())
        if goal is not None and goal.reward:
            named(goal.reward, {*scorers, *self.tables()} - {"reward"})
            scorers = goal.measured() | {n: s for n, s in scorers.items() if n != "reward"}
        if goal is not None:
            scorers |= goal.judges()
        return Evaluation(
            prompts=captions[:count],
            samplers=held_out.samplers(),
            scorers=scorers,
            tables=self.tables(),
            every=held_out.every,
            gap=held_out.gap,
            spread_prompts=self.spread,
        )

    def opened(self, method: Method, given: Given) -> Model:
        if isinstance(method, OnPictures) and method.untrained and self.pretraining is not None:
            return self.pretraining.model(given)
        return self.build(given["model"])

    def place(self, method: Method, given: Given) -> Place:
        held_out: HeldOut = given["held_out"]
        goal: Goal = given.get("goal", Goal())
        if said := self.refusal(method, goal):
            raise ValueError(said)
        train, measured, origin = list(self.captions("train")), None, {}
        if goal.prompts is not None:
            found = goal.read()
            train, measured = found.train, found.measured
            origin = told(found.cut.count("prompts", held_out.prompts))
        common: dict[str, Any] = {
            "name": self.name,
            "prompts": train,
            "rewards": lambda smooth: goal.rewards() if goal.reward else self.reward(smooth),
            "weights": goal.weighted(),
            "evaluation": lambda other: self.evaluation(held_out, goal, other or measured),
            "every": held_out.every,
        }
        if isinstance(method, OnPictures):
            return self._with_pictures(method, given, common)
        model = self.opened(method, given)
        if isinstance(method, OnPairs):
            asked = train, list(measured or self.captions(held_out.split))
            return self._with_pairs(method, given, model, common | {"asked": asked})
        return Place(model=model, origin=origin, **common)

    def _with_pictures(self, method: OnPictures, given: Given, common: Mapping) -> WithPictures:
        how = self.pretraining
        assert how is not None  # noqa: S101
        model = self.opened(method, given)
        pictures, captions = how.pictures(given, model)
        found = {"pictures": pictures, "captions": captions, "dropout": how.dropout(given)}
        return WithPictures(model=model, **found, **common)

    def _with_pairs(
        self, method: OnPairs, given: Given, model: Model, common: Mapping[str, Any]
    ) -> StoredPlace:
        paired: OwnOrPaired = given["paired"]
        common, asked = {k: v for k, v in common.items() if k != "asked"}, common["asked"]
        if method.labels and holds_labels(paired):
            known = labels(paired, model)
            origin = {"data": known.facts} | told(known.held)
            both = {"train": known.train, "held_out": known.held_out}
            return StoredPlace(model=model, origin=origin, **both, **common)
        if paired.pairs is None:
            split = self._own_pairs(paired, given, model, asked)
        else:
            split = from_file(paired, model)
        origin = {"data": split.facts} | told(split.held)
        return StoredPlace(
            model=model, origin=origin, train=split.train, held_out=split.held_out, **common
        )

    def _own_pairs(self, paired: OwnOrPaired, given: Given, model: Model, asked: Any) -> PairSplit:
        goal: Goal = given["goal"]
        rewards = goal.measured() if goal.reward else self.reward(False)
        judged = self.judged() if self.judged is not None and not goal.reward else ""
        return own_pairs(paired.making, model, asked, next(iter(rewards.values())), judged)


def from_scratch(
    model: PictureModel,
    pictures: Callable[[Given, Model], tuple[Tensor, Sequence[str]]],
    settings: Settings | None = None,
) -> Pretraining:
    """How a model of pictures is pretrained: untrained, or going on from a weights file."""

    def begun(given: Given) -> Model:
        start, size = given["start"], given["size"]
        return model.untrained(size) if start is None else model(read_tensors(start), size)

    usual = {
        "size": Setting(model.size),
        "start": Setting(None, Path | None),
        "dropout": Setting(0.1),
    }
    return Pretraining(usual if settings is None else settings, begun, pictures)
