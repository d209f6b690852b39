"""A model is a network with the four things a sampler and a reward need around it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import torch
from PIL.Image import Image
from torch import Tensor, nn

from scoreward.core.chain import Sampler
from scoreward.core.denoiser import (
    Asked,
    Cond,
    Denoiser,
    Guided,
    JoinedT,
    NetworkDenoiser,
    NetworkReading,
)
from scoreward.core.policy import EXACT, DiffusionPolicy, Policy, Rollout
from scoreward.core.prediction import Kind
from scoreward.core.process import Process, time_grid

PolicyT = TypeVar("PolicyT", bound=Policy[object], covariant=True)

Save = Callable[[Mapping[str, Tensor], Path, bool], None]
"""(trained weights by parameter name, folder, merged into the whole) → files others can load."""


@dataclass(frozen=True)
class RoundFacts:
    """What a trainer knows of a round besides the readings; a model takes what it has use for."""

    sampler: Sampler  # that drew the samples
    on_policy: bool = False  # one update follows, and `old` equals `current` in it
    rounding: float = EXACT  # unit roundoff of what the network computes in
    rollout: Rollout = Rollout()


@runtime_checkable
class Trainable(Protocol[Asked, JoinedT, PolicyT]):
    """What the trainer needs of a model: a network, how to ask it, and what objectives see of it.

    A model of pictures answers (x_t, t, cond) with a prediction, a language model answers
    (tokens, mask, what else) with log-probabilities; the objective knows which it asks.
    """

    @property
    def network(self) -> nn.Module: ...

    @property
    def name(self) -> str: ...

    @property
    def reading(self) -> NetworkReading[Asked, JoinedT]:
        """The network as it is."""
        ...

    def guided(
        self, reading: NetworkReading[Asked, JoinedT], scale: float
    ) -> NetworkReading[Asked, JoinedT]:
        """A reading with guidance; 1 is none.  Raises ValueError where there is no guidance."""
        ...

    def policy(
        self,
        readings: Policy[NetworkReading[Asked, JoinedT]],
        slow: NetworkReading[Asked, JoinedT] | None,
        asking: RoundFacts,
    ) -> PolicyT:
        """What objectives see: the readings, and what else they need to know of the round."""
        ...


K = TypeVar("K")


def of_kind(kind: type[K], model: object, who: str) -> K:
    """The model, if `who` is for models of its kind.  Raises ValueError if not."""
    if not isinstance(model, kind):
        raise ValueError(
            f"{who} is for a {kind.__name__}, and a {type(model).__name__} came; give it one, or "
            "take a source, an objective and an evaluation that are made for this model"
        )
    return model


@dataclass(frozen=True)
class Model:
    """A network and what a sampler and a reward need around it; what a family adapter returns.

    `encode` turns prompts into a condition whose first axis is the batch, `decode` turns x0 into
    media in [0, 1], `null` gives the condition of guidance, `shape` is one sample's shape. `grid`
    gives the times at which a number of steps asks the network; `read` makes x0 of picture files,
    where there is more to it than reading pixels; `save` writes trained weights in
    the format of the model's own ecosystem, where it has one; `name` is where it was loaded from.

    >>> import torch
    >>> import scoreward as sw
    >>> class Linear(torch.nn.Linear):
    ...     def forward(self, x_t, t, cond): return super().forward(x_t)
    >>> whole = {"encode": lambda prompts: None, "decode": torch.sigmoid, "null": lambda cond: cond}
    >>> model = sw.Model(Linear(2, 2), sw.RectifiedFlow(), "velocity", shape=(2,), **whole)
    >>> model.denoiser(torch.zeros(5, 2), torch.ones(5), None).x0.shape
    torch.Size([5, 2])
    """

    network: nn.Module
    process: Process
    kind: Kind
    shape: tuple[int, ...]
    encode: Callable[[Sequence[str]], Cond]
    decode: Callable[[Tensor], Tensor]
    null: Callable[[Cond], Cond]
    grid: Callable[[int], tuple[float, ...]] = time_grid
    read: Callable[[Sequence[Path | Image]], Tensor] | None = None
    save: Save | None = None
    name: str = ""

    @property
    def device(self) -> torch.device:
        """Where the network is, and with it whatever is drawn."""
        held = next(self.network.parameters(), None)
        return torch.device("cpu") if held is None else held.device

    @property
    def denoiser(self) -> NetworkDenoiser:
        return NetworkDenoiser(self.network, self.process, self.kind)

    @property
    def reading(self) -> Denoiser:
        return self.denoiser

    def guided(self, reading: Denoiser, scale: float) -> Denoiser:
        return reading if scale == 1.0 else Guided(reading, scale, self.null)

    def policy(
        self, readings: Policy[Denoiser], slow: Denoiser | None, asking: RoundFacts
    ) -> DiffusionPolicy:
        return DiffusionPolicy(
            **vars(readings),
            **vars(asking),
            process=self.process,
            kind=self.kind,
            slow=slow,
            null=self.null,
        )
