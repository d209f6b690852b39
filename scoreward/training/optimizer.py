"""AdamW, its schedule and the average of its weights."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import cos, pi
from typing import Literal

import torch
from torch import nn


@dataclass(frozen=True)
class Optimizer:
    """Settings of the update; a decay ends with the budget unless `total` says otherwise.

    Example:
        >>> import scoreward as sw
        >>> optimizer = sw.Optimizer(lr=1e-3, decay="linear").planned(rounds=100, updates=2)
        >>> optimizer.total, optimizer.factor(50)
        (200, 0.75)
    """

    lr: float = 1e-4  # ours, see docs/papers/vgrpo.md; 3e-4 and above collapsed full fine-tuning
    betas: tuple[float, float] = (0.9, 0.999)  # AdamW default
    weight_decay: float = 0.0  # ours
    max_norm: float | None = 1.0  # gradient norm limit, Flow-GRPO code
    warmup: int = 0  # updates of linear warm-up
    decay: Literal["constant", "linear", "cosine"] = "constant"
    total: int | None = None  # updates until the decay ends; default: those of the budget
    bits: Literal[32, 8] = 32  # of the moments; 8 needs bitsandbytes
    ema: float = 0.9  # decay of the evaluation average, Flow-GRPO code
    ema_every: int = 1  # updates between steps of the average, NFT code; Flow-GRPO code: 8
    ema_steps: int = 1  # of the average at each; Flow-GRPO code: one for every micro-batch

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"`lr` must be positive, got {self.lr}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"`ema` must be in [0, 1), got {self.ema}")
        if self.ema_every < 1 or self.ema_steps < 1:
            raise ValueError(
                "`ema_every` and `ema_steps` must be at least 1, got "
                f"{self.ema_every} and {self.ema_steps}"
            )

    def planned(self, rounds: int | None, updates: int, counted: bool = False) -> "Optimizer":
        """With `total` filled in from a budget of `rounds` of `updates` each.

        A budget that is `counted` in network evaluations needs none: the decay follows its spent
        fraction.
        """
        if self.decay == "constant" or self.total is not None or (counted and rounds is None):
            return self
        if rounds is None:
            raise ValueError(
                f"a {self.decay} decay must know where it ends: give the budget in `rounds` or "
                "`evaluations`, or the optimizer `total` updates"
            )
        return replace(self, total=rounds * updates)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        if self.bits == 8:
            return _in_8_bits(list(parameters), self)
        return torch.optim.AdamW(
            list(parameters),
            lr=self.lr,
            betas=self.betas,
            weight_decay=self.weight_decay,
            foreach=True,
        )

    def factor(self, step: int, spent: float = 0.0) -> float:
        """Learning rate of update `step` (from 0) relative to `lr`.

        `spent` is the fraction of the budget, by which a decay without `total` goes.
        """
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.decay == "constant":
            return warm
        rest = max(0.0, 1 - (spent if self.total is None else step / self.total))
        return warm * (rest if self.decay == "linear" else 0.5 - 0.5 * cos(pi * rest))

    def schedule(self, optimizer: torch.optim.Optimizer, spent: float = 0.0) -> None:
        """Set the learning rate of the coming update."""
        for group in optimizer.param_groups:
            group["lr"] = self.lr * self.factor(updates_made(optimizer), spent)

    def ema_decay(self, optimizer: torch.optim.Optimizer) -> float:
        """min((1 + k)/(10 + k), ema)^steps after k updates.  [flow-grpo] (EMA of the code)

        1, which leaves the average as it is, where k + 1 is no multiple of `ema_every`.
        """
        if not self.ema:
            return 0.0
        k = updates_made(optimizer)
        if (k + 1) % self.ema_every:
            return 1.0
        return min((1 + k) / (10 + k), self.ema) ** self.ema_steps


def _in_8_bits(parameters: list[nn.Parameter], settings: Optimizer) -> torch.optim.Optimizer:
    """AdamW with moments in 8 bits; those of fewer than 4096 numbers stay in 32."""
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError:
        raise ImportError(
            "optimizer.bits=8 needs bitsandbytes; install it with: "
            'pip install "scoreward[quantised]", or keep bits at 32'
        ) from None
    return AdamW8bit(
        parameters, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay
    )


def updates_made(optimizer: torch.optim.Optimizer) -> int:
    """Updates so far, read from the optimiser's own state so that resuming needs no counter."""
    for state in optimizer.state.values():
        return int(state["step"])
    return 0
