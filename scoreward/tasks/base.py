"""A task: a model, what it draws for, who judges it, and what is measured.

Whatever draws is trained by every method that `refusal` does not turn down.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from scoreward.data.holding import Held
from scoreward.data.prompts import PromptSplit, read
from scoreward.methods.base import Draws, Given, Method, Settings
from scoreward.rewards.base import Reward
from scoreward.rewards.catalogue import NAMES, find, named, parted
from scoreward.rewards.combine import Combined, Weighted
from scoreward.rewards.pictures import Frames


@dataclass(frozen=True)
class Goal:
    """What to draw and who says how good it is.

    Example:
        >>> import scoreward as sw
        >>> goal = sw.Goal("animals", reward=("contrast", "colorfulness"), weights=(1.0, 0.5))
        >>> list(goal.measured())  # "reward" is their weighted sum
        ['reward', 'contrast', 'colorfulness']
    """

    prompts: str | None = None  # a file, "animals" or "signs"; default: the task's own
    reward: tuple[
        str, ...
    ] = ()  # [NAME=]REWARD, REWARD being a name, FILE.py:FUNCTION or URL; default: the task's own
    weights: tuple[float, ...] = ()  # of the rewards, in their order; default 1
    judge: tuple[str, ...] = ()  # measured on held-out prompts, never trained on; the first rules
    share: float = 0.1  # of the prompts of a file, held out

    def __post_init__(self) -> None:
        if self.weights and len(self.weights) != len(self.reward):
            raise ValueError(f"{len(self.reward)} rewards need as many weights, got {self.weights}")
        named(self.reward)
        named(self.judge[1:])

    def read(self) -> PromptSplit:
        """The prompts."""
        if self.prompts is None:
            raise ValueError("this task has no prompts of its own; give a file: --prompts FILE")
        return read(self.prompts, self.share)

    def rewards(self, video: bool = False) -> dict[str, Reward]:
        """What trains, by name."""
        return {name: seen(spec, video) for name, spec in named(self.reward).items()}

    def measured(self, video: bool = False) -> dict[str, Reward]:
        """What trains as "reward", which health and the report watch, and its parts."""
        parts = self.rewards(video)
        if len(parts) == 1:
            return {"reward": next(iter(parts.values()))}
        weights = tuple(self.weights or [1.0] * len(parts))
        return {"reward": Combined(parts, Weighted(weights))} | parts

    def judges(self, video: bool = False) -> dict[str, Reward]:
        """What only measures; the first is "judge", which health and the report watch."""
        return {name: seen(spec, video) for name, spec in self._judges.items()}

    @property
    def _judges(self) -> dict[str, str]:
        others = {f"judge_{name}": spec for name, spec in named(self.judge[1:]).items()}
        return ({"judge": parted(self.judge[0])[1]} if self.judge else {}) | others

    def weighted(self) -> dict[str, float]:
        """How much each counts."""
        return dict(zip(named(self.reward), self.weights))


def differentiable(name: str) -> bool:
    """Whether a reward is not known to be without a gradient."""
    what = parted(name)[1]
    known = NAMES.get(what.partition("=")[0])
    return "://" not in what.partition("=")[0] if known is None else known.gradient


def seen(name: str, video: bool) -> Reward:
    """A reward by name; one of pictures looks at the frames of a video, your own sees all of it."""
    reward = find(name)
    return Frames(reward) if video and ".py:" not in name else reward


def told(*held: Held | None) -> dict[str, Any]:
    """For `Run.origin`: what is held out, of each kind."""
    return {"held_out": [h.told for h in held if h is not None]}


@dataclass(frozen=True)
class Task(ABC):
    """A row of the table: where a method is used.

    A reward that is a function of your own makes another task:

    >>> from dataclasses import replace
    >>> import scoreward as sw
    >>> def inside(media, prompts):
    ...     return -media.square().sum(1)
    >>> mine = replace(sw.tasks["toy"], name="mine", reward=lambda smooth: {"inside": inside})
    >>> run = sw.Recipe(sw.methods["vgrpo"], mine).run()
    >>> run.name, list(run.source.rewards)
    ('mine_vgrpo', ['inside'])
    """

    draws: ClassVar[Draws] = "pictures"
    renamed: ClassVar[Mapping[str, str]] = {}
    """Earlier beginnings of options, and what they are called now."""

    name: str
    about: str

    @property
    def like(self) -> str:
        """The task whose tuned settings hold here too; itself if there is none."""
        return self.name

    def refusal(self, method: Method, goal: Goal | None = None) -> str | None:
        """Why this method cannot train here and what would do, in a sentence; None if it can."""
        asked = () if goal is None else goal.reward
        stepped = [name for name in asked if not differentiable(name)]
        if method.differentiates and stepped:
            return (
                f"{self.name}_{method.name} differentiates its reward, and {stepped[0]} has no "
                "gradient; choose another method, or a reward that has one: scoreward rewards "
                "--gradient"
            )
        if method.draws == self.draws:
            return None
        others = {"pictures": "smollm", "texts": "portraits"}
        return (
            f"{method.name} learns from {method.data}, and {self.name} draws {self.draws}; use it "
            f"--on {others[self.draws]}, or see what trains here: scoreward methods --on "
            f"{self.name}"
        )

    @abstractmethod
    def settings(self, method: Method) -> Settings:
        """What can be set about the task."""

    @abstractmethod
    def opened(self, method: Method, given: Given) -> Any:
        """The model alone, as it is before training; a `models.base.Trainable`."""

    @abstractmethod
    def place(self, method: Method, given: Given) -> Any:
        """The model and what is around it, as the method needs it."""

    def sized(self, method: Method) -> Method:
        """A method with the sizes of this task, where nobody has tuned the pair."""
        return method
