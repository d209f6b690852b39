"""Named snapshots of a network's trainable parameters, and denoisers that read through them.

With LoRA the trainable parameters are the adapters, so a snapshot of the start is the base model
and costs nothing of the base's size. Swapping happens outside of any graph: a snapshot's reading
never carries gradients.

A snapshot is read by other tensors in the parameters' places, not by other data inside the
parameters. Whatever remembers something of a parameter (autocast its cast to fewer bits, a compiled
graph that it is there) then sees another tensor, and cannot answer with what it remembers.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, cast

import torch
from torch import Tensor, nn

from scoreward.core.denoiser import Answer, Asked, NetworkReading

COMPILED = "_orig_mod."


class Weights:
    """Snapshots by name; `stepped` must be called whenever the live parameters change."""

    def __init__(self, network: nn.Module) -> None:
        # torch.compile wraps a network in another with longer names; checkpoints have plain ones
        named = ((n.replace(COMPILED, ""), p) for n, p in network.named_parameters())
        self.parameters = {n: p for n, p in named if p.requires_grad}
        if not self.parameters:
            raise ValueError("the network has no trainable parameters; unfreeze some or add LoRA")
        self._places = places(network, self.parameters)
        self._snapshots: dict[str, dict[str, Tensor]] = {}
        self._version = 0
        self._committed: dict[str, int] = {}
        self._swapped = False

    def stepped(self) -> None:
        """The live parameters are no longer those of any earlier snapshot."""
        self._version += 1

    def commit(self, name: str, decay: float = 0.0) -> None:
        """snapshot ← decay · snapshot + (1 − decay) · live; the first commit is a copy."""
        if name not in self._snapshots or decay == 0:
            self._snapshots[name] = {n: p.detach().clone() for n, p in self.parameters.items()}
            self._committed[name] = self._version
            return
        snapshot = self._snapshots[name]
        torch._foreach_lerp_(
            [snapshot[n] for n in self.parameters],
            [p.detach() for p in self.parameters.values()],
            1 - decay,
        )
        self._committed[name] = -1

    def names(self) -> list[str]:
        """The snapshots there are."""
        return list(self._snapshots)

    def snapshot(self, name: str) -> dict[str, Tensor]:
        """The tensors of a snapshot, by parameter name."""
        if name not in self._snapshots:
            raise ValueError(f"no snapshot {name!r}; have {', '.join(self._snapshots) or 'none'}")
        return self._snapshots[name]

    def restore(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Put back a stored snapshot."""
        self._snapshots[name] = {n: tensors[n].to(p) for n, p in self.parameters.items()}
        self._committed[name] = -1

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Overwrite the live parameters."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[name])
        self.stepped()

    def is_live(self, name: str) -> bool:
        """Whether the network runs with this snapshot's parameters now: no swap is needed."""
        return not self._swapped and self._committed.get(name) == self._version

    @contextmanager
    def using(self, name: str) -> Iterator[None]:
        """Run the network with a snapshot's parameters, then put the live ones back."""
        if self.is_live(name):
            yield
            return
        snapshot, outer = self.snapshot(name), self._swapped
        before = {n: cast(Tensor, module._parameters[own]) for module, own, n in self._places}
        try:
            self._swapped = True
            self._put(snapshot)
            yield
        finally:
            self._swapped = outer
            self._put(before)

    def _put(self, tensors: Mapping[str, Tensor]) -> None:
        """Put other tensors, or the parameters again, into those places."""
        for module, own, name in self._places:
            module._parameters[own] = cast(Any, tensors[name])
        for module, _, _ in self._places:
            if isinstance(module, nn.RNNBase):  # these keep a second list of their weights
                module._flat_weights = [getattr(module, n) for n in module._flat_weights_names]


def places(
    network: nn.Module, parameters: Mapping[str, nn.Parameter]
) -> list[tuple[nn.Module, str, str]]:
    """(module, name in it, name in the network) wherever one of the parameters is used.

    A parameter that two modules share has two places.
    """
    names = {id(p): n for n, p in parameters.items()}
    return [
        (module, own, names[id(p)])
        for module in network.modules()
        for own, p in module._parameters.items()
        if id(p) in names
    ]


@dataclass(frozen=True)
class Snapshot(Generic[Asked, Answer]):
    """A reading through a named snapshot, without gradients."""

    reading: NetworkReading[Asked, Answer]
    weights: Weights
    name: str

    @torch.no_grad()
    def __call__(self, x: Tensor, at: Tensor, asked: Asked, /) -> Answer:
        with self.weights.using(self.name):
            return self.reading(x, at, asked)
