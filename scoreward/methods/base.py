"""A method: what is learned, and how its data are drawn.

A method knows its objective, its sampler and the sizes of its rounds; a task (`scoreward.tasks`)
knows a model, prompts and rewards. `Method.run` joins the two.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import tyro

from scoreward.core.advantage import Advantages
from scoreward.models.base import Model
from scoreward.objectives.base import Objective
from scoreward.rewards.base import Reward
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.sources.online import Source

Draws = Literal["pictures", "texts"]


@dataclass(frozen=True)
class Setting:
    """A setting of a run: its default, its type where the default does not tell, and its options.

    A flat setting is a dataclass whose fields are options without a prefix: --geometry.group.
    """

    default: Any = ...  # ... for none: it has to be given
    type: Any = None
    flat: bool = False

    @property
    def hint(self) -> Any:
        """Its type as the command line needs it."""
        known = type(self.default) if self.type is None else self.type
        return Annotated[known, tyro.conf.arg(prefix_name=False, name="")] if self.flat else known


Settings = Mapping[str, Setting]
Given = Mapping[str, Any]
"""Settings by name, all of them given."""


@dataclass(frozen=True)
class Shared:
    """Sizes of a round, advantages, optimiser and budget."""

    geometry: Geometry = Geometry(prompts=8, group=8, remember=1024)
    advantages: Advantages = Advantages(scale="batch", floor=0.05)
    optimizer: Optimizer = Optimizer(lr=2e-4, decay="linear")
    budget: Budget = Budget(rounds=60)


@dataclass(frozen=True)
class Place:
    """What a task hands to a method: a model, what it draws for, who judges it, how it is measured.

    `rewards` takes whether the method needs a reward without steps. `evaluation` takes prompts to
    measure on instead of the task's own, or None.
    """

    name: str  # of the task
    model: Model
    prompts: Sequence[str]
    rewards: Callable[[bool], Mapping[str, Reward]]
    evaluation: Callable[[Sequence[str] | None], Any]
    every: int  # rounds between evaluations and checkpoints
    weights: Mapping[str, float] = field(default_factory=dict)
    grid: Callable[[Any], tuple[float, ...] | None] = lambda steps: None
    origin: Mapping[str, Any] = field(default_factory=dict)
    guidance: float = 1.0
    precision: str = "no"

    def run(
        self,
        method: str,
        objective: Objective,
        source: Source,
        optimizer: Optimizer,
        budget: Budget,
        evaluation: Any = None,
    ) -> Run:
        """A run of a method here; measured as the task is, unless told otherwise."""
        return Run(
            name=f"{self.name}_{method}",
            model=self.model,
            objective=objective,
            source=source,
            optimizer=optimizer,
            budget=budget,
            evaluation=self.evaluation(None) if evaluation is None else evaluation,
            keeping=Keeping(every=self.every),
            origin=self.origin,
            mixed_precision=self.precision,
        )


@dataclass(frozen=True)
class Method(ABC):
    """A row of the table: how a model is trained, wherever it draws.

    >>> import scoreward as sw
    >>> method = sw.methods["vgrpo"]
    >>> method.data, list(method.settings)
    ('its own samples', ['objective', 'sampling', 'shared'])
    """

    draws: ClassVar[Draws] = "pictures"
    data: ClassVar[str] = ""  # what it learns from, for the list

    name: str
    about: str
    objective: Any

    @property
    def differentiates(self) -> bool:
        """Whether the reward has to have a gradient."""
        return isinstance(self.objective, Objective) and self.objective.needs.data == "starts"

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """Everything about the method that can be set; a task adds its own."""

    @abstractmethod
    def run(self, place: Any, given: Given) -> Run:
        """The run of the method on what a task has made."""
