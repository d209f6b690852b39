"""Tiny pipelines of pictures: Stable Diffusion to FLUX.1."""

from typing import Any

import diffusers as installed

from tests.families.coders import flow, table, vae
from tests.families.encoders import clip, t5, tokenizer

diffusers: Any = installed  # its classes say less about their arguments than they take


def unet(width: int, **more: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=8,
        norm_num_groups=8,
        **more,
    )


def sd15() -> Any:
    return diffusers.StableDiffusionPipeline(
        vae=vae(),
        text_encoder=clip(),
        tokenizer=tokenizer(),
        unet=unet(32),
        scheduler=table(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sd21() -> Any:
    """The same with v-prediction."""
    pipe = sd15()
    pipe.register_modules(scheduler=table(prediction_type="v_prediction"))
    return pipe


def sdxl() -> Any:
    return diffusers.StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=clip(),
        text_encoder_2=clip(projected=True),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=unet(
            64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=32 + 6 * 8,
        ),
        scheduler=table(),
        add_watermarker=False,
    )


def sd3() -> Any:
    network = diffusers.SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=64,
        caption_projection_dim=32,
        pooled_projection_dim=64,
        out_channels=4,
        pos_embed_max_size=16,
        qk_norm="rms_norm",
        dual_attention_layers=(0,),
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer=network,
        vae=vae(shift=0.1, use_quant_conv=False, use_post_quant_conv=False),
        scheduler=flow(),
        text_encoder=clip(projected=True),
        tokenizer=tokenizer(),
        text_encoder_2=clip(projected=True),
        tokenizer_2=tokenizer(),
        text_encoder_3=t5(64),
        tokenizer_3=tokenizer(256),
    )


def flux_network(guided: bool) -> Any:
    return diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=guided,
    )


def flux_parts(guided: bool, scheduler: Any) -> dict[str, Any]:
    return {
        "transformer": flux_network(guided),
        "vae": vae(shift=0.1, use_quant_conv=False, use_post_quant_conv=False),
        "scheduler": scheduler,
        "text_encoder": clip(),
        "tokenizer": tokenizer(),
        "text_encoder_2": t5(),
        "tokenizer_2": tokenizer(512),
    }


def flux_dev() -> Any:
    return diffusers.FluxPipeline(**flux_parts(True, flow(use_dynamic_shifting=True)))


def flux_schnell() -> Any:
    return diffusers.FluxPipeline(**flux_parts(False, flow(1.0)))


def flux_kontext() -> Any:
    return diffusers.FluxKontextPipeline(**flux_parts(True, flow(use_dynamic_shifting=True)))
