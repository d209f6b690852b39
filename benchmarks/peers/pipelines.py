"""Tiny pipelines with random weights, saved where every program of the comparison can read them.

    python benchmarks/peers/pipelines.py FOLDER

makes FOLDER/sd15 (a U-Net of 985 k parameters) and FOLDER/sd3 (a transformer of 286 k). The oldest
diffusers of the comparison has to write them, because newer ones read what older ones wrote.
"""

import sys
from pathlib import Path
from typing import Any

import diffusers as installed
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.families.coders import flow, table
from tests.families.encoders import clip, t5, tokenizer

diffusers: Any = installed  # its classes say less about their arguments than they take


def vae(shift: float | None = None) -> Any:
    """Two pixels a latent."""
    return diffusers.AutoencoderKL(
        block_out_channels=(32, 64),
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        sample_size=32,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=shift,
        scaling_factor=1.0,
    )


def sd15() -> Any:
    """Stable Diffusion 1.5 in small: one CLIP, a U-Net, the published schedule."""
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    return diffusers.StableDiffusionPipeline(
        vae=vae(),
        text_encoder=clip(),
        tokenizer=tokenizer(),
        unet=unet,
        scheduler=table(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sd3() -> Any:
    """Stable Diffusion 3 in small: two CLIPs, a T5, a transformer, a shifted flow."""
    network = diffusers.SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=64,
        pooled_projection_dim=32,
        out_channels=4,
        pos_embed_max_size=32,
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer=network,
        vae=vae(shift=0.1),
        scheduler=flow(),
        text_encoder=clip(projected=True, width=16),
        tokenizer=tokenizer(),
        text_encoder_2=clip(projected=True, width=16),
        tokenizer_2=tokenizer(),
        text_encoder_3=t5(32),
        tokenizer_3=tokenizer(256),
    )


def main() -> None:
    """Write both, the same each time."""
    folder = Path(sys.argv[1])
    for name, make in (("sd15", sd15), ("sd3", sd3)):
        torch.manual_seed(7)
        make().save_pretrained(folder / name)


if __name__ == "__main__":
    main()
