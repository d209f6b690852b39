"""Tiny autoencoders and the schedulers of the published pipelines."""

from typing import Any

import diffusers as installed

diffusers: Any = installed  # its classes say less about their arguments than they take


def vae(channels: int = 4, shift: float | None = None, **more: Any) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(16, 32),
        in_channels=3,
        out_channels=3,
        latent_channels=channels,
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        sample_size=32,
        shift_factor=shift,
        scaling_factor=0.7,
        **more,
    )


def flow(shift: float = 3.0, **more: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(shift=shift, **more)


def table(**more: Any) -> Any:
    """The schedule of Stable Diffusion."""
    settings: dict[str, Any] = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    }
    return diffusers.DDIMScheduler(**settings | more)
