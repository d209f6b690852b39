"""Checkpoints in open_clip's layout, read into the CLIPModel of transformers.

Both are the same network under other names; open_clip keeps query, key and value in one matrix and
stores its two projections transposed. Sizes are read off the tensors, the heads are CLIP-H's.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from scoreward.rewards.weights import needs

HEADS = 16  # of both towers of ViT-H/14; the tensors do not say
SINGLE = {
    "logit_scale": "logit_scale",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
TRANSPOSED = {
    "text_projection": "text_projection.weight",
    "visual.proj": "visual_projection.weight",
}
IN_A_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
TOWERS = {"visual.transformer.resblocks.": "vision_model", "transformer.resblocks.": "text_model"}


def clip_of(reward: str, state: Mapping[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """(an empty CLIPModel of the right size, the state in its names)."""
    needs(reward, "transformers", "rewards")
    from transformers import CLIPConfig, CLIPModel

    if "visual.proj" not in state or "text_projection" not in state:
        raise ValueError(
            f"reward {reward!r}: the checkpoint has no 'visual.proj'; expected open_clip's layout, "
            "as in HPS_v2.1_compressed.pt"
        )
    width, joint = state["visual.proj"].shape
    patch = state["visual.conv1.weight"].shape[-1]
    side = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
    vision = _tower(state, "visual.transformer.resblocks.", width)
    vision |= {"patch_size": patch, "image_size": side * patch}
    words, width = state["token_embedding.weight"].shape
    text = _tower(state, "transformer.resblocks.", width)
    # the end of a text is its largest id, and the last of the vocabulary
    text |= {"vocab_size": words, "bos_token_id": words - 2, "eos_token_id": words - 1}
    text |= {"max_position_embeddings": len(state["positional_embedding"]), "pad_token_id": 0}
    model = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=joint))
    return model, renamed(state)


def _tower(state: Mapping[str, Tensor], blocks: str, width: int) -> dict[str, int | str]:
    return {
        "hidden_size": width,
        "intermediate_size": len(state[f"{blocks}0.mlp.c_fc.weight"]),
        "num_hidden_layers": sum(f"{blocks}{i}.ln_1.weight" in state for i in range(len(state))),
        "num_attention_heads": HEADS,
        "hidden_act": "gelu",
        "projection_dim": state["visual.proj"].shape[1],
    }


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """open_clip's names and layout → those of transformers; unknown names stay, and are refused."""
    mapped: dict[str, Tensor] = {}
    for key, value in state.items():
        tower = next((prefix for prefix in TOWERS if key.startswith(prefix)), None)
        if tower is not None:
            number, _, rest = key.removeprefix(tower).partition(".")
            start = f"{TOWERS[tower]}.encoder.layers.{number}"
            layer, _, part = rest.rpartition(".")
            if rest.startswith("attn.in_proj_"):
                part = rest.removeprefix("attn.in_proj_")
                names = [f"{start}.self_attn.{name}_proj.{part}" for name in "qkv"]
                mapped |= dict(zip(names, torch.chunk(value, 3)))
            else:
                mapped[f"{start}.{IN_A_BLOCK.get(layer, layer)}.{part}"] = value
        elif key in TRANSPOSED:
            mapped[TRANSPOSED[key]] = value.T.contiguous()
        else:
            mapped[SINGLE.get(key, key)] = value
    return mapped
