"""Where the time of a round goes: network forward, backward, rewards, optimiser, the rest."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic

import torch
from torch import Tensor

from scoreward.core.denoiser import Answer, Asked, NetworkReading


@dataclass
class Clock:
    """Seconds by section; sections do not nest.

    On a device a section is the time between two marks in the device's own queue: from when it gets
    to the section's first work until it has done the last, waiting for the host in between
    included. Nobody waits for the marks until `settle`, once a round.
    """

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    device: torch.device = torch.device("cpu")
    marks: list[tuple[str, torch.Event, torch.Event]] = field(default_factory=list)

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        if self.device.type == "cpu":
            start = time.perf_counter()
            try:
                yield
            finally:
                self.seconds[name] += time.perf_counter() - start
            return
        first, last = (torch.Event(self.device, enable_timing=True) for _ in range(2))
        first.record()
        try:
            yield
        finally:
            last.record()
            self.marks.append((name, first, last))

    def settle(self) -> None:
        """Wait for the device once, and read what the sections took."""
        if self.marks:
            self.marks[-1][2].synchronize()
        for name, first, last in self.marks:
            self.seconds[name] += first.elapsed_time(last) / 1000
        self.marks.clear()

    def profile(self, total: float) -> dict[str, object]:
        """Seconds of each section, the rest, and the share spent inside the network."""
        self.settle()
        known = dict(self.seconds)
        known["other"] = max(0.0, total - sum(known.values()))
        inside = known.get("forward", 0.0) + known.get("backward", 0.0)
        return {"seconds": known, "share_in_network": inside / total if total else 0.0}


@dataclass
class Watched(Generic[Asked, Answer]):
    """A reading that counts its evaluations and times its calls.

    `trained` are those made where gradients are recorded, `count` all of them.
    """

    reading: NetworkReading[Asked, Answer]
    clock: Clock
    count: int = 0
    trained: int = 0

    def __call__(self, x: Tensor, at: Tensor, asked: Asked, /) -> Answer:
        self.count += len(x)
        self.trained += len(x) if torch.is_grad_enabled() else 0
        with self.clock.section("forward"):
            return self.reading(x, at, asked)
