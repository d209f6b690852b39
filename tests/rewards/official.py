"""The published networks in plain torch, to compare with what their checkpoints become.

State dictionaries have the names and the layout of the public checkpoints: open_clip's for CLIP,
and BLIP's own for ImageReward. They are written here anew, with torch's own attention.
"""

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def norm(state: State, name: str, x: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return mixed.transpose(1, 2).flatten(2)


class Made(dict):
    """Random tensors under the given names."""

    def weight(self, name: str, *shape: int) -> None:
        self[name] = torch.randn(shape) * (0.3 if len(shape) > 1 else 0.1)

    def layer(self, name: str, out: int, into: int) -> None:
        self.weight(f"{name}.weight", out, into)
        self.weight(f"{name}.bias", out)

    def norm(self, name: str, width: int) -> None:
        self[f"{name}.weight"] = 1 + torch.randn(width) * 0.1
        self.weight(f"{name}.bias", width)


# open_clip


def clip_state(words: int, width: int = 32, joint: int = 24, length: int = 16) -> State:
    torch.manual_seed(3)
    made = Made()
    for tower in ("visual.transformer", "transformer"):
        for i in range(2):
            start = f"{tower}.resblocks.{i}"
            made.norm(f"{start}.ln_1", width)
            made.norm(f"{start}.ln_2", width)
            made.weight(f"{start}.attn.in_proj_weight", 3 * width, width)
            made.weight(f"{start}.attn.in_proj_bias", 3 * width)
            made.layer(f"{start}.attn.out_proj", width, width)
            made.layer(f"{start}.mlp.c_fc", 40, width)
            made.layer(f"{start}.mlp.c_proj", width, 40)
    made.weight("visual.class_embedding", width)
    made.weight("visual.positional_embedding", 17, width)
    made.weight("visual.proj", width, joint)
    made.weight("visual.conv1.weight", width, 3, 7, 7)
    for name in ("visual.ln_pre", "visual.ln_post", "ln_final"):
        made.norm(name, width)
    made.weight("token_embedding.weight", words, width)
    made.weight("positional_embedding", length, width)
    made.weight("text_projection", width, joint)
    made["logit_scale"] = torch.tensor(4.6)
    return dict(made)


def clip_tower(state: State, name: str, x: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    for i in range(2):
        start = f"{name}.resblocks.{i}"
        h = norm(state, f"{start}.ln_1", x, 1e-5)
        h = F.linear(h, state[f"{start}.attn.in_proj_weight"], state[f"{start}.attn.in_proj_bias"])
        h = attention(*h.chunk(3, -1), heads, mask)
        x = x + linear(state, f"{start}.attn.out_proj", h)
        h = norm(state, f"{start}.ln_2", x, 1e-5)
        x = x + linear(state, f"{start}.mlp.c_proj", F.gelu(linear(state, f"{start}.mlp.c_fc", h)))
    return x


def clip_image(state: State, pixels: Tensor, heads: int) -> Tensor:
    patches = F.conv2d(pixels, state["visual.conv1.weight"], stride=7).flatten(2).mT
    first = state["visual.class_embedding"].expand(len(pixels), 1, -1)
    x = torch.cat([first, patches], 1) + state["visual.positional_embedding"]
    x = clip_tower(state, "visual.transformer", norm(state, "visual.ln_pre", x, 1e-5), heads, None)
    return norm(state, "visual.ln_post", x[:, 0], 1e-5) @ state["visual.proj"]


def clip_text(state: State, ids: Tensor, heads: int) -> Tensor:
    """`ids` filled up with zeros to the full length, as open_clip's tokenizer does."""
    length = ids.shape[1]
    x = state["token_embedding.weight"][ids] + state["positional_embedding"]
    causal = torch.full((length, length), -torch.inf).triu(1)
    x = norm(state, "ln_final", clip_tower(state, "transformer", x, heads, causal), 1e-5)
    return x[torch.arange(len(ids)), ids.argmax(1)] @ state["text_projection"]


# ImageReward


def blip_state(words: int, vision: int = 32, text: int = 24) -> State:
    torch.manual_seed(4)
    made = Made()
    made.weight("blip.visual_encoder.cls_token", 1, 1, vision)
    made.weight("blip.visual_encoder.pos_embed", 1, 17, vision)
    made.weight("blip.visual_encoder.patch_embed.proj.weight", vision, 3, 8, 8)
    made.weight("blip.visual_encoder.patch_embed.proj.bias", vision)
    made.norm("blip.visual_encoder.norm", vision)
    for i in range(2):
        start = f"blip.visual_encoder.blocks.{i}"
        made.norm(f"{start}.norm1", vision)
        made.norm(f"{start}.norm2", vision)
        made.layer(f"{start}.attn.qkv", 3 * vision, vision)
        made.layer(f"{start}.attn.proj", vision, vision)
        made.layer(f"{start}.mlp.fc1", 40, vision)
        made.layer(f"{start}.mlp.fc2", vision, 40)
    start = "blip.text_encoder.embeddings"
    made[f"{start}.position_ids"] = torch.arange(40)[None]
    made.weight(f"{start}.word_embeddings.weight", words, text)
    made.weight(f"{start}.position_embeddings.weight", 40, text)
    made.norm(f"{start}.LayerNorm", text)
    for i in range(2):
        start = f"blip.text_encoder.encoder.layer.{i}"
        for kind, source in (("attention", text), ("crossattention", vision)):
            made.layer(f"{start}.{kind}.self.query", text, text)
            made.layer(f"{start}.{kind}.self.key", text, source)
            made.layer(f"{start}.{kind}.self.value", text, source)
            made.layer(f"{start}.{kind}.output.dense", text, text)
            made.norm(f"{start}.{kind}.output.LayerNorm", text)
        made.layer(f"{start}.intermediate.dense", 40, text)
        made.layer(f"{start}.output.dense", text, 40)
        made.norm(f"{start}.output.LayerNorm", text)
    made.layer("blip.vision_proj", 256, vision)
    made.layer("blip.text_proj", 256, text)
    sizes = [text, 1024, 128, 64, 16, 1]
    for number, (into, out) in zip((0, 2, 4, 6, 7), pairwise(sizes)):
        made.layer(f"mlp.layers.{number}", out, into)
    return dict(made)


def image_reward(state: State, pixels: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    seen, heads = _blip_vision(state, pixels), 12
    e, hidden = "blip.text_encoder.embeddings", None
    hidden = state[f"{e}.word_embeddings.weight"][ids]
    hidden = hidden + state[f"{e}.position_embeddings.weight"][: ids.shape[1]]
    hidden = norm(state, f"{e}.LayerNorm", hidden, 1e-12)
    visible = mask[:, None, None, :].bool()
    for i in range(2):
        start = f"blip.text_encoder.encoder.layer.{i}"
        for kind, source, seen_by in (("attention", None, visible), ("crossattention", seen, None)):
            name, other = f"{start}.{kind}", hidden if source is None else source
            q = linear(state, f"{name}.self.query", hidden)
            k, v = (linear(state, f"{name}.self.{part}", other) for part in ("key", "value"))
            h = linear(state, f"{name}.output.dense", attention(q, k, v, heads, seen_by))
            hidden = norm(state, f"{name}.output.LayerNorm", h + hidden, 1e-12)
        h = F.gelu(linear(state, f"{start}.intermediate.dense", hidden))
        h = linear(state, f"{start}.output.dense", h)
        hidden = norm(state, f"{start}.output.LayerNorm", h + hidden, 1e-12)
    x = hidden[:, 0]
    for number in (0, 2, 4, 6, 7):
        x = linear(state, f"mlp.layers.{number}", x)
    return (x[:, 0] - 0.16717362830052426) / 1.0333394966054072


def _blip_vision(state: State, pixels: Tensor) -> Tensor:
    start, heads = "blip.visual_encoder", 16
    projection = (state[f"{start}.patch_embed.proj.{part}"] for part in ("weight", "bias"))
    patches = F.conv2d(pixels, *projection, stride=8).flatten(2).mT
    x = torch.cat([state[f"{start}.cls_token"].expand(len(pixels), -1, -1), patches], 1)
    x = x + state[f"{start}.pos_embed"]
    for i in range(2):
        block = f"{start}.blocks.{i}"
        h = linear(state, f"{block}.attn.qkv", norm(state, f"{block}.norm1", x, 1e-6))
        x = x + linear(state, f"{block}.attn.proj", attention(*h.chunk(3, -1), heads))
        h = norm(state, f"{block}.norm2", x, 1e-6)
        x = x + linear(state, f"{block}.mlp.fc2", F.gelu(linear(state, f"{block}.mlp.fc1", h)))
    return norm(state, f"{start}.norm", x, 1e-6)
