"""Models of the real classes with tiny random weights, saved to disk as the real ones are.

The image processors are those that transformers has for PIL: they are the reference for what the
library does on tensors.
"""

from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

WORDS = ("a", "red", "green", "blue", "circle", "square", "cat", "on", "the", "two")


def clip_tokenizer() -> transformers.CLIPTokenizer:
    """CLIP's byte pairs with the letters, three merges and the two ends."""
    letters = [chr(c) for c in range(33, 127)]
    merges: Any = [("r", "e"), ("re", "d</w>"), ("c", "a")]
    tokens = [*letters, *(c + "</w>" for c in letters), *("".join(pair) for pair in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=16)


def word_tokenizer(ends: dict[str, str], **given: Any) -> transformers.PreTrainedTokenizerFast:
    """One token per word."""
    tokens = [*dict.fromkeys(ends.values()), *WORDS]
    level = models.WordLevel({token: i for i, token in enumerate(tokens)}, ends["unk_token"])
    made = Tokenizer(level)
    made.normalizer = normalizers.Lowercase()  # pyright: ignore
    made.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **ends, **given)


def clip_config(words: int, heads: int = 4) -> transformers.CLIPConfig:
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    tower |= {"num_attention_heads": heads, "hidden_act": "gelu", "projection_dim": 24}
    ends = {"bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1}
    text = {**tower, **ends, "vocab_size": words, "max_position_embeddings": 16}
    vision = {**tower, "image_size": 28, "patch_size": 7}
    return transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)


def save_clip(folder: Path, heads: int = 4) -> transformers.CLIPModel:
    torch.manual_seed(1)
    words = clip_tokenizer()
    model = transformers.CLIPModel(clip_config(len(words), heads)).eval()
    spread(model)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=28).save_pretrained(folder)
    return model


def save_siglip(folder: Path) -> transformers.SiglipModel:
    torch.manual_seed(1)
    words = word_tokenizer({"pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"})
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    tower |= {"num_attention_heads": 4}
    text = {**tower, "vocab_size": len(words), "max_position_embeddings": 12}
    vision = {**tower, "image_size": 28, "patch_size": 7}
    config = transformers.SiglipConfig(text_config=text, vision_config=vision)
    model = transformers.SiglipModel(config).eval()
    spread(model)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 28, "width": 28}).save_pretrained(folder)
    return model


def save_owl(folder: Path) -> None:
    torch.manual_seed(1)
    words = clip_tokenizer()
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    tower |= {"num_attention_heads": 4}
    ends = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1, "pad_token_id": 0}
    text = {**tower, **ends, "vocab_size": len(words), "max_position_embeddings": 16}
    vision = {**tower, "image_size": 32, "patch_size": 8}
    config = transformers.OwlViTConfig(text_config=text, vision_config=vision, projection_dim=32)
    model = transformers.OwlViTForObjectDetection(config)
    spread(model)
    model.save_pretrained(folder)
    pictures = OwlViTImageProcessorPil(size={"height": 32, "width": 32})
    transformers.OwlViTProcessor(pictures, words).save_pretrained(folder)


def save_detr(folder: Path, kinds: tuple[str, ...] = ("cat", "dog", "kite")) -> None:
    torch.manual_seed(1)
    size: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1]}
    size["out_features"] = ["stage2"]
    backbone = transformers.ResNetConfig(**size)
    given: dict[str, Any] = {"backbone": None, "use_timm_backbone": False}
    given |= {"use_pretrained_backbone": False, "id2label": dict(enumerate(kinds))}
    for part in ("encoder", "decoder"):
        given |= {f"{part}_layers": 1, f"{part}_attention_heads": 2, f"{part}_ffn_dim": 24}
    config = transformers.DetrConfig(backbone_config=backbone, num_queries=6, d_model=16, **given)
    model = transformers.DetrForObjectDetection(config)
    model.save_pretrained(folder)
    DetrImageProcessorPil(size={"shortest_edge": 48, "longest_edge": 96}).save_pretrained(folder)


TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }} "
    "{% for c in message['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|> {% endfor %}<|im_start|>assistant"
)


def save_qwen(folder: Path) -> transformers.Qwen2VLForConditionalGeneration:
    """Configuration, tokenizer, and a checkpoint as HPSv3 is published: old names, a head."""
    torch.manual_seed(1)
    marks = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"]
    words: Any = word_tokenizer(
        {"pad_token": "<|endoftext|>", "unk_token": "<unk>"}, extra_special_tokens=marks
    )
    words.chat_template = TEMPLATE
    words.save_pretrained(folder)
    size = len(words)
    text: dict[str, Any] = {"vocab_size": size + 9, "hidden_size": 32, "intermediate_size": 48}
    text |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    text["rope_parameters"] = {"rope_type": "default", "mrope_section": [2, 1, 1]}
    text["rope_parameters"]["rope_theta"] = 10000.0
    vision: dict[str, Any] = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4}
    config: Any = transformers.Qwen2VLConfig(
        text_config=text,
        vision_config={**vision, "patch_size": 4},
        image_token_id=words.convert_tokens_to_ids("<|image_pad|>"),
        vision_start_token_id=words.convert_tokens_to_ids("<|vision_start|>"),
    )
    config.save_pretrained(folder)
    config.text_config.vocab_size = size + 1  # and the mark
    model = transformers.Qwen2VLForConditionalGeneration(config).eval()
    spread(model)
    return model


def spread(model: torch.nn.Module) -> None:
    """Weights large enough that different pictures get different answers."""
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and "position" not in name:
            torch.nn.init.normal_(weight, std=0.2)


def photograph(height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth shapes in 8 bits, [1, 3, height, width]: what resizing is made for."""
    made = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 7, generator=made)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    smooth[..., height // 3 : height // 2, width // 4 : width // 2] = 0.9  # and some edges
    return (smooth.clamp(0, 1) * 255).round() / 255


def as_files(media: Tensor) -> list[Image.Image]:
    whole = (media * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(picture) for picture in whole]


def features(output: Any) -> Tensor:
    tensor = output if isinstance(output, Tensor) else output.pooler_output
    return torch.nn.functional.normalize(tensor, dim=-1)
