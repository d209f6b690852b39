"""Which network calls a round makes, and what they cost with nothing around them.

Plain torch, so that it runs in the interpreter of every program.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Call:
    """One call of a network: its inputs and whether gradients were wanted."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    named: dict[str, Any]
    trained: bool

    def again(self) -> None:
        """The forward pass, and the backward pass where there was one."""
        with torch.set_grad_enabled(self.trained):
            answer = self.module(*self.args, **self.named)
        if self.trained:
            first(answer).sum().backward()
            self.module.zero_grad(set_to_none=True)


@dataclass
class Recorder:
    """The calls of some networks while `recording`."""

    modules: Mapping[str, nn.Module]
    calls: list[Call] = field(default_factory=list)

    @contextmanager
    def recording(self) -> Iterator[None]:
        hooks = [
            module.register_forward_pre_hook(self._note(name), with_kwargs=True)
            for name, module in self.modules.items()
        ]
        self.calls.clear()
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _note(self, name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            trained = torch.is_grad_enabled() and any(p.requires_grad for p in module.parameters())
            held = {k: kept(v) for k, v in named.items()}
            self.calls.append(Call(name, module, tuple(map(kept, args)), held, trained))

        return note

    def bare(self) -> None:
        """All calls again, one by one."""
        for call in self.calls:
            call.again()

    def counts(self) -> dict[str, int]:
        """Rows by network, and whether they were trained."""
        found: dict[str, int] = {}
        for call in self.calls:
            name = f"{call.name} trained" if call.trained else call.name
            found[name] = found.get(name, 0) + rows(call)
        return found


def kept(value: Any) -> Any:
    """A tensor without its graph; anything else as it is."""
    return value.detach().clone() if isinstance(value, Tensor) else value


def rows(call: Call) -> int:
    """Samples in a call: the first axis of its first tensor with axes."""
    tensors = [v for v in (*call.args, *call.named.values()) if isinstance(v, Tensor) and v.ndim]
    return len(tensors[0])


def first(answer: Any) -> Tensor:
    """The tensor of an answer, which may be wrapped."""
    return answer if isinstance(answer, Tensor) else answer[0]
