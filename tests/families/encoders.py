"""Tiny random text encoders, and a tokenizer whose tokens are bytes."""

from typing import Any

import transformers as installed
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

transformers: Any = installed  # its classes say less about their arguments than they take

WORDS = 260  # bytes, and what stands between them
T5_SIZE: dict[str, Any] = {
    "vocab_size": WORDS,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "pad_token_id": 0,
}
TEMPLATE = (
    "{% for m in messages %}{% if m.content is string %}{{ m.content }}"
    "{% else %}{{ m.content[0].text }}{% endif %}{% endfor %}"
)


def tokenizer(length: int = 77, pad: str = "<pad>") -> PreTrainedTokenizerFast:
    """Bytes as tokens, with a start, an end and a chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<pad>", "<s>", "</s>", "<unk>", *alphabet]
    core = Tokenizer(models.BPE({n: i for i, n in enumerate(names)}, [], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token=pad,
        model_max_length=length,
        chat_template=TEMPLATE,
    )


def clip(projected: bool = False, width: int = 32) -> Any:
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    config = transformers.CLIPTextConfig(
        vocab_size=WORDS,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=width,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return kind(config)


def t5(width: int = 32) -> Any:
    return transformers.T5EncoderModel(transformers.T5Config(**T5_SIZE, d_model=width))


def umt5(width: int = 32) -> Any:
    return transformers.UMT5EncoderModel(transformers.UMT5Config(**T5_SIZE, d_model=width))


def language(kind: str, layers: int = 2, width: int = 32) -> Any:
    """A small decoder of the named transformers class."""
    settings: dict[str, Any] = {
        "vocab_size": WORDS,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    model = getattr(transformers, kind)
    return model(model.config_class(**settings))


def qwen_vl(width: int = 32) -> Any:
    """Qwen2.5-VL with a vision tower nobody uses."""
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            "vocab_size": WORDS,
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
            "rope_theta": 1e6,
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": width,
        },
        vision_start_token_id=151652,  # as published; older versions have no default
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)
