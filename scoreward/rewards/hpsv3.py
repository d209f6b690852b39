"""HPSv3: Qwen2-VL reads picture, instruction and prompt; a small head scores one marked token.

The public checkpoint (HPSv3.safetensors, 8 billion parameters) is the whole model with its head:
hidden-1024-16-2 with ReLU, whose two numbers are mean and log-deviation of the preference; the mean
is the reward. It was trained with text positions for picture tokens as well, so they are passed.

The instruction it was trained with is part of HPSv3's code and not shipped here: save that text
(INSTRUCTION, with {text_prompt} where the prompt goes) as instruction.txt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor, sqrt
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scoreward.rewards.pictures import CLIP_MEAN, CLIP_STD, Preparation, in_batches
from scoreward.rewards.weights import checkpoint, filled, frozen, needs, reading, tokenizer

WEIGHTS, FILE = "MizzenAI/HPSv3", "HPSv3.safetensors"
BASE = "Qwen/Qwen2-VL-7B-Instruct"  # its configuration and tokenizer
MARK = "<|Reward|>"  # the token whose state is scored
ENDING = f"\nPlease provide the overall ratings of this image: {MARK}\n\nEND\n"
PAD = "<|image_pad|>"
PIXELS = 256 * 28 * 28  # every picture is brought to about this many


@dataclass(frozen=True)
class HPSv3:
    """The mean of the predicted preference, higher is better; differentiable in the media."""

    weights: str = WEIGHTS  # HPSv3.safetensors, a folder that holds it, or a hub id
    instruction: str = "instruction.txt"  # a file; its own folder is that of the weights
    base: str = BASE
    dtype: torch.dtype = torch.bfloat16
    batch: int = 4
    pixels: int = PIXELS

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        return in_batches(self.batch, media, prompts, self._means)

    def _means(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        model, head = self._network
        for part in self._network:
            part.to(media.device)
        eyes = model.config.vision_config
        factor = eyes.patch_size * eyes.spatial_merge_size
        size = smart_size(media.shape[2], media.shape[3], self.pixels, factor)
        pixels = Preparation(size, None, CLIP_MEAN, CLIP_STD)(media)
        grid = [1, size[0] // eyes.patch_size, size[1] // eyes.patch_size]
        places = grid[1] * grid[2] // eyes.spatial_merge_size**2
        texts = [self._text(prompt, places) for prompt in prompts]
        words = self._tokenizer(
            texts, padding=True, padding_side="right", return_tensors="pt"
        ).to(media.device)  # fmt: skip
        ids: Tensor = words["input_ids"]
        marked = ids == self._tokenizer.convert_tokens_to_ids(MARK)
        if not bool((marked.sum(1) == 1).all()):
            raise ValueError(
                f"each text must hold {MARK} once; the prompt was too long or holds it"
            )
        state = model.model(
            input_ids=ids,
            attention_mask=words["attention_mask"],
            position_ids=torch.arange(ids.shape[1], device=ids.device).expand(3, *ids.shape),
            pixel_values=patches(pixels, eyes).to(self.dtype),
            image_grid_thw=torch.tensor([grid] * len(media), device=ids.device),
        ).last_hidden_state
        return head(state[marked].float())[:, 0]

    def _text(self, prompt: str, places: int) -> str:
        """The chat, with as many places as the picture has tokens."""
        question = self._instruction.replace("{text_prompt}", prompt.replace(MARK, "")) + ENDING
        content = [{"type": "image"}, {"type": "text", "text": question.replace(PAD, "")}]
        chat = [{"role": "user", "content": content}]
        text = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return text.replace(PAD, PAD * places)

    @cached_property
    def _network(self) -> tuple[Any, nn.Module]:
        needs("hpsv3", "transformers", "rewards")
        import transformers

        state = checkpoint("hpsv3", self.weights, FILE)
        rows = next((v for k, v in state.items() if k.endswith("embed_tokens.weight")), None)
        if rows is None or "rm_head.0.weight" not in state:
            raise ValueError(
                f"reward 'hpsv3': {self.weights!r} has no 'rm_head.0.weight'; expected {FILE} of "
                f"{WEIGHTS}"
            )
        with reading("hpsv3", self.base):
            config = transformers.AutoConfig.from_pretrained(self.base)
        config.get_text_config().vocab_size = len(rows)  # with the marks that were added
        rest = {k: v for k, v in state.items() if not k.startswith("rm_head.")}
        build: Any = transformers.Qwen2VLForConditionalGeneration
        model, info = build.from_pretrained(
            None, config=config, state_dict=rest, dtype=self.dtype, output_loading_info=True
        )
        if wrong := sorted([*info["missing_keys"], *info["unexpected_keys"]]):
            raise ValueError(f"reward 'hpsv3': {self.weights!r} and {BASE} differ at {wrong[0]!r}")
        head = head_of(rows.shape[1])
        filled(
            "hpsv3",
            head,
            {k.removeprefix("rm_head."): v for k, v in state.items() if k.startswith("rm_head.")},
            self.weights,
        )
        return frozen(model), frozen(head)

    @cached_property
    def _tokenizer(self) -> Any:
        words = tokenizer("hpsv3", self.base)
        words.add_special_tokens({"additional_special_tokens": [MARK]})
        return words

    @cached_property
    def _instruction(self) -> str:
        path = Path(self.instruction)
        beside = Path(self.weights)
        beside = (beside if beside.is_dir() else beside.parent) / path.name
        path = path if path.is_file() else beside
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if "{text_prompt}" not in text:
            raise FileNotFoundError(
                f"reward 'hpsv3' needs the instruction that HPSv3 was trained with, a text with "
                f"{{text_prompt}}; save INSTRUCTION of its code as {path.name} beside the weights"
            )
        return text


def head_of(width: int) -> nn.Sequential:
    """width-1024-16-2, numbered as in the checkpoint."""
    return nn.Sequential(
        *(nn.Linear(width, 1024), nn.ReLU(), nn.Dropout(0.05), nn.Linear(1024, 16), nn.ReLU()),
        nn.Linear(16, 2),
    )


def smart_size(height: int, width: int, pixels: int, factor: int) -> tuple[int, int]:
    """Multiples of `factor` near the picture's shape, with about `pixels` in all; Qwen2-VL's."""
    rounded = [max(factor, round(side / factor) * factor) for side in (height, width)]
    if rounded[0] * rounded[1] == pixels:
        return rounded[0], rounded[1]
    whole = floor if rounded[0] * rounded[1] > pixels else ceil
    scale = sqrt(pixels / (height * width))
    sides = [max(factor, whole(side * scale / factor) * factor) for side in (height, width)]
    return sides[0], sides[1]


def patches(pixels: Float[Tensor, "batch 3 height width"], eyes: Any) -> Float[Tensor, "n values"]:
    """Squares in the order that Qwen2-VL merges them, each twice, as a film of one picture."""
    size, merged, times = eyes.patch_size, eyes.spatial_merge_size, eyes.temporal_patch_size
    batch, channels, height, width = pixels.shape
    tall, wide = height // (size * merged), width // (size * merged)
    x = pixels.reshape(batch, channels, tall, merged, size, wide, merged, size)
    x = x.permute(0, 2, 5, 3, 6, 1, 4, 7)  # places, then those merged, then colours and pixels
    x = x[..., None, :, :].expand(*x.shape[:6], times, size, size)
    return x.reshape(batch * tall * wide * merged**2, channels * times * size**2)
