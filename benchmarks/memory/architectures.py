"""Published architectures as configuration alone, written to folders that can be planned.

The numbers are those of the public configuration files; `PARAMETERS` are the counts that the
denoisers are known to have, and a test holds ours to them.
"""

from pathlib import Path
from typing import Any

import diffusers as installed_diffusers
import torch
import transformers as installed_transformers

from tests.families.encoders import tokenizer

diffusers: Any = installed_diffusers
transformers: Any = installed_transformers

PARAMETERS = {
    "sd15": 859_520_964,
    "sdxl": 2_567_463_684,
    "sd35": 2_243_171_520,
    "flux": 11_901_408_320,
    "wan": 1_418_996_800,
}


def kl_vae(channels: int, **more: Any) -> Any:
    """The image VAE of Stable Diffusion and its relatives."""
    return diffusers.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=channels,
        sample_size=512,
        **more,
    )


def clip_l(projected: bool = False) -> Any:
    config = transformers.CLIPTextConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        projection_dim=768,
    )
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(config)


def clip_g() -> Any:
    return transformers.CLIPTextModelWithProjection(
        transformers.CLIPTextConfig(
            hidden_size=1280,
            intermediate_size=5120,
            num_hidden_layers=32,
            num_attention_heads=20,
            projection_dim=1280,
            hidden_act="gelu",
        )
    )


def t5_xxl(multilingual: bool = False) -> Any:
    settings = {
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
        "vocab_size": 256384 if multilingual else 32128,
    }
    if multilingual:
        return transformers.UMT5EncoderModel(transformers.UMT5Config(**settings))
    return transformers.T5EncoderModel(transformers.T5Config(**settings))


def sd15() -> tuple[str, dict[str, Any]]:
    unet = diffusers.UNet2DConditionModel(
        sample_size=64, cross_attention_dim=768, attention_head_dim=8
    )
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
    )
    parts = {"vae": kl_vae(4), "text_encoder": clip_l(), "unet": unet, "scheduler": scheduler}
    return "StableDiffusionPipeline", parts


def sdxl() -> tuple[str, dict[str, Any]]:
    unet = diffusers.UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 2, 10],
        attention_head_dim=[5, 10, 20],
        cross_attention_dim=2048,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
        use_linear_projection=True,
    )
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
    )
    parts = {"vae": kl_vae(4), "text_encoder": clip_l(), "text_encoder_2": clip_g()}
    return "StableDiffusionXLPipeline", parts | {"unet": unet, "scheduler": scheduler}


def sd35() -> tuple[str, dict[str, Any]]:
    network = diffusers.SD3Transformer2DModel(
        sample_size=128,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=24,
        attention_head_dim=64,
        num_attention_heads=24,
        joint_attention_dim=4096,
        caption_projection_dim=1536,
        pooled_projection_dim=2048,
        pos_embed_max_size=384,
        qk_norm="rms_norm",
        dual_attention_layers=tuple(range(13)),
    )
    vae = kl_vae(16, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.0609)
    parts = {"transformer": network, "vae": vae, "text_encoder": clip_l(projected=True)}
    parts |= {"text_encoder_2": clip_g(), "text_encoder_3": t5_xxl()}
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    return "StableDiffusion3Pipeline", parts | {"scheduler": scheduler}


def flux() -> tuple[str, dict[str, Any]]:
    network = diffusers.FluxTransformer2DModel(guidance_embeds=True)
    vae = kl_vae(16, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1159)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    parts = {"transformer": network, "vae": vae, "text_encoder": clip_l()}
    return "FluxPipeline", parts | {"text_encoder_2": t5_xxl(), "scheduler": scheduler}


def wan() -> tuple[str, dict[str, Any]]:
    network = diffusers.WanTransformer3DModel(
        num_attention_heads=12, ffn_dim=8960, num_layers=30, text_dim=4096
    )
    vae = diffusers.AutoencoderKLWan()
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    parts = {"transformer": network, "vae": vae, "text_encoder": t5_xxl(multilingual=True)}
    return "WanPipeline", parts | {"scheduler": scheduler}


ARCHITECTURES = {"sd15": sd15, "sdxl": sdxl, "sd35": sd35, "flux": flux, "wan": wan}


def write(name: str, folder: Path) -> int:
    """Write the configuration of a pipeline, without weights; the denoiser's parameters."""
    import json

    with torch.device("meta"):
        pipeline, parts = ARCHITECTURES[name]()
    index: dict[str, Any] = {"_class_name": pipeline, "_diffusers_version": diffusers.__version__}
    for part, value in parts.items():
        library = "transformers" if part.startswith("text") else "diffusers"
        index[part] = [library, type(value).__name__]
        (folder / part).mkdir(parents=True)
        if library == "transformers":
            value.config.save_pretrained(folder / part)
        else:
            value.save_config(folder / part)
    for number in ("", "_2", "_3"):
        encoder = parts.get(f"text_encoder{number}")
        if encoder is not None:
            length = 77 if type(encoder).__name__.startswith("CLIP") else 512
            tokenizer(length).save_pretrained(folder / f"tokenizer{number}")
            index[f"tokenizer{number}"] = ["transformers", "PreTrainedTokenizerFast"]
    if pipeline == "StableDiffusionPipeline":
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
        index["requires_safety_checker"] = False
    (folder / "model_index.json").write_text(json.dumps(index))
    denoiser = parts["unet"] if "unet" in parts else parts["transformer"]
    return sum(p.numel() for p in denoiser.parameters())
