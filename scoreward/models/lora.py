"""LoRA through peft: only low-rank updates of chosen linear layers are trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from logging import ERROR, getLogger

from torch import nn


@dataclass(frozen=True)
class LoRA:
    """W + (α/r) B A with A of rank r; B starts at 0, so the model starts unchanged.  [lora] (3)"""

    rank: int = 32  # r, Flow-GRPO and V-GRPO on SD3.5-M
    alpha: float = 64.0  # α, the same
    targets: Sequence[str] = ("qkv", "out", "up", "down")  # names of linear layers, ours

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0 or not self.targets:
            raise ValueError(
                "LoRA needs a rank of at least 1, a positive alpha and some targets, got "
                f"rank={self.rank}, alpha={self.alpha}, targets={list(self.targets)}"
            )


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
        lora_alpha=settings.alpha,  # pyright: ignore[reportArgumentType] (a fraction works too)
        target_modules=list(settings.targets),
        lora_dropout=0.0,  # dropout would make old and new passes differ
        init_lora_weights=True,
    )
    return inject_adapter_in_model(config, network)
