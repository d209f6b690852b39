"""What crosses between a trainer and a source: the means to make a round, and the round."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from scoreward.core.chain import Transitions
from scoreward.core.denoiser import Cond
from scoreward.models.weights import Weights
from scoreward.objectives.base import Objective, Policy, Score
from scoreward.training.clock import Clock
from scoreward.training.team import Team


@dataclass(frozen=True)
class Collected:
    """One process's share of a round; `graphs` are the answers of the paths, with gradients."""

    samples: Any  # rows: of pictures `Samples`, of texts what their objectives read
    paths: Transitions | None
    metrics: dict[str, float]
    graphs: tuple[Tensor, ...] = ()
    score: Score | None = None
    flat: Tensor | None = None  # of all samples of the round: whether their groups teach nothing


@dataclass(frozen=True)
class Work:
    """What a source needs besides its own settings to make a round."""

    model: Any  # `Model` for a source of pictures, `LanguageModel` for one of texts
    policy: Policy
    team: Team
    clock: Clock
    objective: Objective
    weights: Weights | None = None  # the snapshots behind the policy's readings


@dataclass(frozen=True)
class Generated:
    """What a rollout leaves behind."""

    x0: Tensor
    cond: Cond
    paths: Transitions | None = None
    graphs: tuple[Tensor, ...] = ()
