"""ImageReward: BLIP reads the prompt while looking at the picture, a small head scores the result.

The public checkpoint (ImageReward.pt) names its parts as BLIP's own code does. They are read into
BLIP's vision and text models of transformers, which compute the same. Scores are standardised with
the numbers of the published code: about −2 to 2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scoreward.rewards.clip import linear_head
from scoreward.rewards.pictures import CLIP_MEAN, CLIP_STD, Preparation, in_batches
from scoreward.rewards.weights import checkpoint, filled, frozen, needs, tokenizer

WEIGHTS, FILE = "THUDM/ImageReward", "ImageReward.pt"
WORDS = "google-bert/bert-base-uncased"
LENGTH = 35  # tokens of a prompt
MEAN, STD = 0.16717362830052426, 1.0333394966054072  # of the published code
HEADS = {"vision": 16, "text": 12}  # of BLIP large; the tensors do not say
IN_A_BLOCK = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.qkv": "self_attn.qkv",
    "attn.proj": "self_attn.projection",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
VISION = {
    "cls_token": "embeddings.class_embedding",
    "pos_embed": "embeddings.position_embedding",
    "patch_embed.proj.weight": "embeddings.patch_embedding.weight",
    "patch_embed.proj.bias": "embeddings.patch_embedding.bias",
    "norm.weight": "post_layernorm.weight",
    "norm.bias": "post_layernorm.bias",
}
UNUSED = ("blip.vision_proj.", "blip.text_proj.", "blip.text_encoder.embeddings.position_ids")


@dataclass(frozen=True)
class ImageReward:
    """The standardised score; differentiable in the media.

    The transformers run in `dtype`, the head in float32.
    """

    weights: str = WEIGHTS  # ImageReward.pt, a folder that holds it, or a hub id
    words: str = WORDS  # the tokenizer
    dtype: torch.dtype = torch.float32
    batch: int = 16

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        network = self._network.to(media.device)
        side = network.vision.config.image_size
        preparation = Preparation(side, (side, side), CLIP_MEAN, CLIP_STD)

        def look(pictures: Tensor, texts: list[str]) -> Tensor:
            words = self._tokenizer(
                texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
            ).to(media.device)
            pixels = preparation(pictures).to(self.dtype)
            return network(pixels, words["input_ids"], words["attention_mask"])

        return in_batches(self.batch, media, prompts, look)

    @cached_property
    def _network(self) -> "ImageRewardNetwork":
        state = checkpoint("image_reward", self.weights, FILE)
        network = network_of(state)
        filled("image_reward", network, renamed(state), self.weights)
        for tower in (network.vision, network.text):
            tower.to(self.dtype)
        return frozen(network)

    @cached_property
    def _tokenizer(self) -> Any:
        return tokenizer("image_reward", self.words)


class ImageRewardNetwork(nn.Module):
    """The text model's first state, having looked at the picture, through the head."""

    def __init__(self, vision: Any, text: Any, head: nn.Module) -> None:
        super().__init__()
        self.vision, self.text, self.head = vision, text, head

    def forward(
        self, pixels: Float[Tensor, "batch 3 side side"], ids: Tensor, mask: Tensor
    ) -> Float[Tensor, " batch"]:
        seen = self.vision(pixel_values=pixels).last_hidden_state
        read = self.text(input_ids=ids, attention_mask=mask, encoder_hidden_states=seen)
        return (self.head(read.last_hidden_state[:, 0].float())[:, 0] - MEAN) / STD


def network_of(state: Mapping[str, Tensor]) -> ImageRewardNetwork:
    """An empty network of the checkpoint's size."""
    needs("image_reward", "transformers", "rewards")
    from transformers import BlipTextConfig, BlipVisionConfig, BlipVisionModel
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    seen, read = "blip.visual_encoder.", "blip.text_encoder."
    if f"{seen}patch_embed.proj.weight" not in state:
        raise ValueError(
            f"reward 'image_reward': the checkpoint has no '{seen}patch_embed.proj.weight'; "
            f"expected {FILE} of {WEIGHTS}"
        )
    width, _, patch, _ = state[f"{seen}patch_embed.proj.weight"].shape
    side = round((state[f"{seen}pos_embed"].shape[1] - 1) ** 0.5) * patch
    words, text_width = state[f"{read}embeddings.word_embeddings.weight"].shape
    vision = BlipVisionConfig(
        hidden_size=width,
        intermediate_size=len(state[f"{seen}blocks.0.mlp.fc1.weight"]),
        num_hidden_layers=_layers(state, f"{seen}blocks."),
        num_attention_heads=HEADS["vision"],
        image_size=side,
        patch_size=patch,
        layer_norm_eps=1e-6,
    )
    text = BlipTextConfig(
        vocab_size=words,
        hidden_size=text_width,
        encoder_hidden_size=width,
        intermediate_size=len(state[f"{read}encoder.layer.0.intermediate.dense.weight"]),
        num_hidden_layers=_layers(state, f"{read}encoder.layer."),
        num_attention_heads=HEADS["text"],
        max_position_embeddings=len(state[f"{read}embeddings.position_embeddings.weight"]),
        layer_norm_eps=1e-12,
    )
    reader = BlipTextModel(text, add_pooling_layer=False)
    return ImageRewardNetwork(BlipVisionModel(vision), reader, linear_head(text_width))


def _layers(state: Mapping[str, Tensor], start: str) -> int:
    return 1 + max(int(k.removeprefix(start).split(".")[0]) for k in state if k.startswith(start))


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The checkpoint's names → ours; unknown ones stay as they are, and are refused."""
    mapped = {}
    for key, value in state.items():
        if key.startswith(UNUSED):
            continue
        name = key.replace("mlp.layers.", "head.").replace("blip.text_encoder.", "text.")
        if key.startswith("blip.visual_encoder."):
            rest = key.removeprefix("blip.visual_encoder.")
            name = f"vision.{VISION.get(rest, rest)}"
            if rest.startswith("blocks."):
                _, number, layer = rest.split(".", 2)
                layer, _, part = layer.rpartition(".")
                name = f"vision.encoder.layers.{number}.{IN_A_BLOCK.get(layer, layer)}.{part}"
        mapped[name] = value
    return mapped
