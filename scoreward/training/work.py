"""What crosses between a trainer and a source: the means to make a round, and the round."""

from dataclasses import dataclass
from typing import Generic

from torch import Tensor

from scoreward.core.denoiser import Cond
from scoreward.core.policy import DiffusionPolicy, Rollout
from scoreward.models.base import Model, of_kind
from scoreward.models.texts.language import LanguageModel, TextPolicy
from scoreward.models.weights import Weights
from scoreward.objectives.base import Given_co, Needs, PolicyT
from scoreward.training.clock import Clock
from scoreward.training.team import Team


@dataclass(frozen=True)
class Collected(Generic[Given_co]):
    """One process's share of a round."""

    samples: Given_co
    metrics: dict[str, float]
    rollout: Rollout = Rollout()


@dataclass(frozen=True)
class Work(Generic[PolicyT]):
    """What a source needs besides its own settings to make a round."""

    model: object  # each source says in a sentence which kind it is for
    policy: PolicyT
    team: Team
    clock: Clock
    needs: Needs
    weights: Weights | None = None  # the snapshots behind the policy's readings


PictureWork = Work[DiffusionPolicy]


def pictured(work: PictureWork) -> Model:
    """The model of a source of pictures.  Raises ValueError for one that is not of pictures."""
    return of_kind(Model, work.model, "a source of pictures")


def worded(work: Work[TextPolicy]) -> LanguageModel:
    """The model of a source of texts.  Raises ValueError for one that is not of texts."""
    return of_kind(LanguageModel, work.model, "a source of texts")


@dataclass(frozen=True)
class Generated:
    """What a rollout leaves behind: samples, their conditions, and what was asked of the paths."""

    x0: Tensor
    cond: Cond
    rollout: Rollout = Rollout()
