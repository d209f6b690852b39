"""How many bytes of tensors live at the same time; works without memory, on the meta device."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only


@dataclass
class Living:
    """Bytes of the storages that were made while listening: now, and at most."""

    now: int = 0
    peak: int = 0
    known: set[int] = field(default_factory=set)

    def see(self, tensor: Tensor) -> None:
        """Count a tensor's storage once, until it is freed."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


class _Listening(TorchDispatchMode):
    """Every operation's results are counted."""

    def __init__(self, living: Living) -> None:
        super().__init__()
        self.living = living

    def __torch_dispatch__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        answer = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self.living.see, answer)
        return answer


@contextmanager
def living(*before: nn.Module) -> Iterator[Living]:
    """Count what is made inside; tensors of the modules in `before` are not made but there."""
    counted = Living()
    for module in before:
        for tensor in [*module.parameters(), *module.buffers()]:
            counted.known.add(tensor.untyped_storage()._cdata)
    with _Listening(counted):
        yield counted


def bytes_of(module: nn.Module, trainable: bool | None = None) -> int:
    """Of its parameters and buffers, or of those parameters that do or do not train."""
    if trainable is None:
        tensors = [*module.parameters(), *module.buffers()]
    else:
        tensors = [p for p in module.parameters() if p.requires_grad == trainable]
    return sum(t.numel() * t.element_size() for t in tensors)
