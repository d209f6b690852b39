"""Methods that learn from what is there: pairs of pictures, captioned pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scoreward.data.preferences.columns import Reading
from scoreward.methods.base import Given, Method, Place, Setting, Settings
from scoreward.methods.sampling import Sampling
from scoreward.objectives.pictures.diffusion_kto import DiffusionKTO
from scoreward.objectives.pictures.pnapo import PNAPO
from scoreward.objectives.samples.denoising import Denoising
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Run
from scoreward.training.sources.online import Source
from scoreward.training.sources.pairs import Curriculum, HeldOutPairs, PairData, Preferences
from scoreward.training.sources.stored import Labelled, LabelledPictures, Offline


@dataclass(frozen=True)
class Paired:
    """Which pairs, sizes of a round, optimiser and budget."""

    pairs: Path | None = None  # a preference file or folder; None: the model's own samples
    skip_bad: bool = False  # go on without rows that cannot be used
    columns: tuple[str, ...] = ()  # of the file, where they are called otherwise: prompt=question
    split: str = "train"  # of a folder or a data set that has several
    layout: str = "auto"  # of the file, by its columns, or by name
    pictures: Path | None = None  # the folder that paths in the file lead into; default: its own
    pairs_share: float = 0.1  # of the prompts of a file, held out
    dropout: float = 0.0  # share of pairs whose caption is dropped, to keep guidance intact
    geometry: Geometry = Geometry(prompts=64, group=2)
    optimizer: Optimizer = Optimizer(lr=1e-4, decay="linear")
    budget: Budget = Budget(rounds=150)

    @property
    def reading(self) -> Reading:
        """How the file is read."""
        return Reading(self.layout, self.columns, self.pictures, self.split)


@dataclass(frozen=True)
class Making:
    """How a model makes pairs of itself: the best sample of a prompt against the worst."""

    prompts: int = 1024  # training prompts; those whose samples all earn the same give no pair
    group: int = 6  # samples per prompt
    steps: int = 10  # of the ODE
    seed: int = 0  # of the noise, not of training
    held_out: int = 128  # prompts to measure implicit rewards on, never trained on
    cache: bool = True  # keep them on disk ($SCOREWARD_CACHE)


@dataclass(frozen=True)
class OwnOrPaired(Paired):
    """The same where a model may make its own pairs."""

    making: Making = Making()


@dataclass(frozen=True)
class StoredPlace(Place):
    """A place that also has pairs or labelled pictures in it.

    `held_out` are pairs of other prompts to measure implicit rewards on, or None.
    """

    train: PairData | LabelledPictures = field(kw_only=True)
    held_out: PairData | None = None
    probed: int = HeldOutPairs.batch  # held-out pairs at once; memory only


@dataclass(frozen=True)
class OnPairs(Method):
    """Pairs of pictures for the same prompt, of which one is preferred."""

    data = "pairs of pictures"

    curriculum: Curriculum | None = None  # pairs with a large gap of scores first
    labels: bool = False  # single pictures with labels will do as well
    flows: bool = False  # it is for velocities of rectified flow
    own_noise: bool = False  # it needs the noise that pictures were made from

    @property
    def settings(self) -> Settings:
        made = {"objective": Setting(self.objective)}
        return made if self.curriculum is None else made | {"curriculum": Setting(self.curriculum)}

    def run(self, place: StoredPlace, given: Given) -> Run:
        paired: Paired = given["paired"]
        objective, source = self.learnt(place, given)
        other = place.held_out
        probes = {} if other is None else {"pairs": HeldOutPairs(other, batch=place.probed)}
        evaluation = replace(place.evaluation(None), probes=probes)
        sizes = paired.optimizer, paired.budget
        return place.run(self.name, objective, source, *sizes, evaluation)

    def learnt(self, place: StoredPlace, given: Given) -> tuple[Any, Source]:
        """The objective as it fits the data, and the data; of labels twice `geometry.prompts`."""
        objective, paired, data = given["objective"], given["paired"], place.train
        if isinstance(objective, PNAPO) and paired.budget.rounds is not None:
            objective = replace(objective, total=paired.budget.rounds)  # β falls over the budget
        if isinstance(data, LabelledPictures):
            sizes = replace(paired.geometry, prompts=2 * paired.geometry.prompts, group=1)
            assert isinstance(objective, DiffusionKTO)  # noqa: S101
            return replace(objective, share=data.share), Labelled(data, sizes, paired.dropout)
        return objective, Preferences(
            data, paired.geometry, paired.dropout, given.get("curriculum")
        )


@dataclass(frozen=True)
class WithPictures(Place):
    """A place with captioned pictures in it: x0 [n, …], and what each shows."""

    pictures: Any = None
    captions: Sequence[str] = ()
    dropout: float = 0.0  # share of captions left out, so that guidance is possible


@dataclass(frozen=True)
class OnPictures(Method):
    """Captioned pictures: pretraining, fine-tuning, and fewer steps without a reward."""

    data = "captioned pictures"

    geometry: Geometry = Geometry(prompts=32, group=1)
    optimizer: Optimizer = Optimizer(lr=1e-4)
    budget: Budget = Budget(rounds=100)
    dropout: float = 0.1  # share of captions left out, so that guidance is possible
    untrained: bool = False  # it starts from random weights
    sampling: Sampling | None = None  # of an objective that samples beside the data

    @property
    def settings(self) -> Settings:
        names = ["objective", *(["sampling"] if self.sampling else [])]
        return {n: Setting(getattr(self, n)) for n in [*names, "geometry", "optimizer", "budget"]}

    def run(self, place: WithPictures, given: Given) -> Run:
        objective = given["objective"]
        if isinstance(objective, Denoising):
            objective = replace(objective, target=place.model.kind)
        rollout = {} if self.sampling is None else {"rollout": given["sampling"].sampler()}
        stored = place.pictures, place.captions, given["geometry"], place.dropout
        source, sizes = Offline(*stored, **rollout), (given["optimizer"], given["budget"])
        return place.run(self.name, objective, source, *sizes)
