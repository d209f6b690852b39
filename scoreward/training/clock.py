"""Where the time of a round goes: network forward, backward, rewards, optimiser, the rest."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Clock:
    """Seconds by section; sections do not nest."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        start = _now()
        try:
            yield
        finally:
            self.seconds[name] += _now() - start

    def profile(self, total: float) -> dict[str, object]:
        """Seconds of each section, the rest, and the share spent inside the network."""
        known = dict(self.seconds)
        known["other"] = max(0.0, total - sum(known.values()))
        inside = known.get("forward", 0.0) + known.get("backward", 0.0)
        return {"seconds": known, "share_in_network": inside / total if total else 0.0}


@dataclass
class Watched:
    """A denoiser, or any other reading, that counts its evaluations and times its calls.

    `trained` are those made where gradients are recorded, `count` all of them.
    """

    denoiser: Callable[[Any, Any, Any], Any]
    clock: Clock
    count: int = 0
    trained: int = 0

    def __call__(self, x_t: Tensor, t: Tensor, cond: Any) -> Any:
        self.count += len(x_t)
        self.trained += len(x_t) if torch.is_grad_enabled() else 0
        with self.clock.section("forward"):
            return self.denoiser(x_t, t, cond)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
