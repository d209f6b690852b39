"""Tiny pipelines of pictures: FLUX.2, Qwen-Image, Sana, Z-Image, PixArt."""

from typing import Any

import diffusers as installed
import torch

from tests.families.coders import flow, vae
from tests.families.encoders import language, qwen_vl, t5, tokenizer

diffusers: Any = installed  # its classes say less about their arguments than they take


def flux2_parts(guided: bool, encoder: Any, width: int) -> dict[str, Any]:
    network = diffusers.Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * width,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guided,
    )
    coder = diffusers.AutoencoderKLFlux2(
        block_out_channels=(16, 32),
        latent_channels=4,
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        sample_size=32,
    )
    with torch.no_grad():
        coder.bn.running_mean.normal_()
        coder.bn.running_var.uniform_(0.5, 2)
    return {
        "transformer": network,
        "vae": coder,
        "scheduler": flow(use_dynamic_shifting=True),
        "text_encoder": encoder,
        "tokenizer": tokenizer(512),
    }


def flux2_dev() -> Any:
    return diffusers.Flux2Pipeline(**flux2_parts(True, language("MistralForCausalLM", 30, 16), 16))


def flux2_klein() -> Any:
    return diffusers.Flux2KleinPipeline(
        **flux2_parts(False, language("Qwen3ForCausalLM", 27, 16), 16)
    )


def qwen_image() -> Any:
    coder = diffusers.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1],
        num_res_blocks=1,
        temperal_downsample=[False],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.0, 2.0, 0.5, 1.5],
    )
    network = diffusers.QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 4, 8),
    )
    return diffusers.QwenImagePipeline(
        transformer=network,
        vae=coder,
        scheduler=flow(use_dynamic_shifting=True),
        text_encoder=qwen_vl(),
        tokenizer=tokenizer(1024),
    )


def sana() -> Any:
    coder = diffusers.AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.4,
    )
    network = diffusers.SanaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=32,
        sample_size=16,
    )
    return diffusers.SanaPipeline(
        transformer=network,
        vae=coder,
        scheduler=flow(),
        text_encoder=language("Gemma2Model"),
        tokenizer=tokenizer(4096),
    )


def z_image() -> Any:
    network = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=32,
        axes_dims=[4, 4, 8],
        axes_lens=[1024, 64, 64],
    )
    with torch.no_grad():  # older versions leave these as they find the memory
        network.x_pad_token.normal_()
        network.cap_pad_token.normal_()
    return diffusers.ZImagePipeline(
        transformer=network,
        vae=vae(shift=0.1, use_quant_conv=False, use_post_quant_conv=False),
        scheduler=flow(),
        text_encoder=language("Qwen3Model"),
        tokenizer=tokenizer(512),
    )


def pixart() -> Any:
    network = diffusers.PixArtTransformer2DModel(
        sample_size=16,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_channels=32,
        in_channels=4,
        cross_attention_dim=16,
        out_channels=8,
        attention_bias=True,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        use_additional_conditions=False,
    )
    return diffusers.PixArtSigmaPipeline(
        transformer=network,
        vae=vae(),
        scheduler=diffusers.DDIMScheduler(
            beta_start=0.0001,
            beta_end=0.02,
            beta_schedule="linear",
            clip_sample=False,
            set_alpha_to_one=True,
        ),
        text_encoder=t5(),
        tokenizer=tokenizer(300),
    )
