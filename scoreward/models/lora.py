"""LoRA through peft: only low-rank updates of chosen linear layers are trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from logging import ERROR, getLogger

import torch
from torch import nn


@dataclass(frozen=True)
class LoRA:
    """W + (α/r) B A with A of rank r; B starts at 0, so the model starts unchanged.  [lora] (3)"""

    rank: int = 32  # r, Flow-GRPO and V-GRPO on SD3.5-M
    alpha: float | None = None  # α; default: `alpha_per_rank` times the rank
    targets: Sequence[str] = ("qkv", "out", "up", "down")  # names of linear layers, ours
    alpha_per_rank: float = 2.0  # α/r, the same as the rank; another rank keeps this scale

    def __post_init__(self) -> None:
        scales = [s for s in (self.alpha, self.alpha_per_rank) if s is not None]
        if self.rank < 1 or min(scales) <= 0 or not self.targets:
            raise ValueError(
                "LoRA needs a rank of at least 1, a positive alpha and some targets, got "
                f"rank={self.rank}, alpha={self.alpha}, alpha_per_rank={self.alpha_per_rank}, "
                f"targets={list(self.targets)}"
            )

    @property
    def scale(self) -> float:
        """α/r, what the low-rank product is multiplied by."""
        return self.alpha_per_rank if self.alpha is None else self.alpha / self.rank


def add_lora(network: nn.Module, settings: LoRA) -> nn.Module:
    """Freeze the network and add trainable adapters in place.  Raises ValueError if none fit."""
    # with bitsandbytes installed, peft imports it, and it says what its CPU kernels lack
    getLogger("bitsandbytes.backends.cpu.ops").setLevel(ERROR)
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ImportError(
            'LoRA needs peft; install it with pip install "scoreward[lora]"'
        ) from None
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.scale * settings.rank,  # pyright: ignore[reportArgumentType] (a fraction works too)
        target_modules=list(settings.targets),
        lora_dropout=0.0,  # dropout would make old and new passes differ
        init_lora_weights=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the same adapters on every process, and in every run of a process
        return inject_adapter_in_model(config, network)
