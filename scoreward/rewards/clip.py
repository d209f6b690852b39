"""Rewards by likeness of picture and prompt in a shared space: CLIP, SigLIP, PickScore, HPSv2.1.

All of them are an image tower, a text tower and a cosine; they differ in what the towers were
trained on and in a factor. LAION's aesthetic score is a small head on CLIP's image tower alone. All
are differentiable in the media. Weights come from transformers folders or hub identifiers and are
read at the first call; the towers follow the device of the media.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from scoreward.data.unread import unread
from scoreward.rewards.open_clip import clip_of
from scoreward.rewards.pictures import Preparation, checked
from scoreward.rewards.weights import (
    checkpoint,
    filled,
    frozen,
    preprocessor,
    pretrained,
    tokenizer,
)

CLIP_L = "openai/clip-vit-large-patch14"
CLIP_H = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
SIGLIP = "google/siglip-so400m-patch14-384"
PICKSCORE = "yuvalkirstain/PickScore_v1"
HPS, HPS_FILE = "xswu/HPSv2", "HPS_v2.1_compressed.pt"
AESTHETIC, AESTHETIC_FILE = "trl-lib/ddpo-aesthetic-predictor", "aesthetic-model.pth"
REMEMBERED = 4096  # prompts whose embeddings are kept; ours


@dataclass(frozen=True)
class Towers:
    """Pictures and prompts as unit vectors in one space, in float32.

    `kind` is the class in transformers. `processor` says where tokenizer and preprocessing come
    from, "" for the folder of the weights. The towers run in `dtype`; vectors, and whatever is done
    with them, are float32.
    """

    reward: str
    weights: str
    kind: str = "CLIPModel"
    processor: str = ""
    dtype: torch.dtype = torch.float32
    batch: int = 32  # pictures at once; memory only
    padded: bool = False  # whole pictures on black, where the processor would crop them
    load: Callable[[str, str, str, torch.dtype], Any] = pretrained

    def pictures(
        self, media: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch width_of_the_space"]:
        model = self.model.to(media.device)
        parts = [
            model.get_image_features(pixel_values=self.preparation(part).to(self.dtype))
            for part in media.split(self.batch)
        ]
        return torch.cat([_unit(part) for part in parts])

    def prompts(
        self, prompts: Sequence[str], device: torch.device
    ) -> Float[Tensor, "batch width_of_the_space"]:
        """Computed once per prompt."""
        known = self._known
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in known]
        if len(known) + len(new) > REMEMBERED:
            known.clear()
            new = list(dict.fromkeys(prompts))
        for start in range(0, len(new), self.batch):
            part = new[start : start + self.batch]
            known.update(zip(part, self._encoded(part, device)))
        return torch.stack([known[prompt].to(device) for prompt in prompts])

    def unread(self, prompts: Sequence[str]) -> str:
        """What the text tower does not see of these prompts, in a sentence; "" if it sees all."""
        made = self.tokenizer
        reader = (lambda texts: made(list(texts), verbose=False).input_ids, made.model_max_length)
        return unread(prompts, [reader]).sentence(self.reward)

    @torch.no_grad()
    def _encoded(self, prompts: list[str], device: torch.device) -> Tensor:
        ids = self.tokenizer(
            prompts,
            # SigLIP saw texts filled up to the full length, and no mask
            padding="max_length" if self.kind == "SiglipModel" else True,
            truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        )
        names = ["input_ids"] if self.kind == "SiglipModel" else ["input_ids", "attention_mask"]
        inputs = {name: ids[name].to(device) for name in names}
        return _unit(self.model.to(device).get_text_features(**inputs))

    @property
    def scale(self) -> float:
        """exp of the learned log-temperature; 100 for the public CLIPs."""
        return float(self.model.logit_scale.float().exp())

    @cached_property
    def model(self) -> Any:
        return self.load(self.reward, self.kind, self.weights, self.dtype)

    @cached_property
    def tokenizer(self) -> Any:
        return tokenizer(self.reward, self.processor or self.weights)

    @cached_property
    def preparation(self) -> Preparation:
        config = preprocessor(self.reward, self.processor or self.weights)
        if self.padded:
            config = {
                **config,
                "size": {"shortest_edge": self.model.config.vision_config.image_size},
            }
        return replace(Preparation.read(config), padded=self.padded)

    @cached_property
    def _known(self) -> dict[str, Tensor]:
        return {}


def _unit(features: Any) -> Float[Tensor, "batch width_of_the_space"]:
    """transformers 5 wraps the tensor that transformers 4 returned."""
    tensor = features if isinstance(features, Tensor) else features.pooler_output
    return F.normalize(tensor.float(), dim=-1)


def from_open_clip(reward: str, kind: str, where: str, dtype: torch.dtype) -> Any:
    """The towers from a checkpoint in open_clip's layout, in which HPSv2 is published."""
    model, state = clip_of(reward, checkpoint(reward, where, HPS_FILE))
    filled(reward, model, state, where)
    return frozen(model.to(dtype))


@dataclass(frozen=True)
class ClipScore:
    """cos(picture, prompt), or with `divisor` the logits exp(temperature) · cos / divisor."""

    towers: Towers
    divisor: float | None = None

    def unread(self, prompts: Sequence[str]) -> str:
        """What is not seen of these prompts, in a sentence; "" if all is."""
        return self.towers.unread(prompts)

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        if not len(checked(media, prompts)):
            return media.new_zeros(0)
        pictures = self.towers.pictures(media)
        value = (pictures * self.towers.prompts(prompts, media.device)).sum(1)
        return value if self.divisor is None else value * (self.towers.scale / self.divisor)


def clip_score(weights: str = CLIP_L, dtype: torch.dtype = torch.float32) -> ClipScore:
    """Logits / 100 of CLIP ViT-L/14, which is the cosine: about 0.15 to 0.35."""
    return ClipScore(Towers("clip_score", weights, dtype=dtype), divisor=100)


def siglip_score(weights: str = SIGLIP, dtype: torch.dtype = torch.float32) -> ClipScore:
    """The cosine in SigLIP's space; the model's own probability is a sigmoid of it."""
    return ClipScore(Towers("siglip_score", weights, kind="SiglipModel", dtype=dtype))


def pickscore(
    weights: str = PICKSCORE, processor: str = "", dtype: torch.dtype = torch.float32
) -> ClipScore:
    """Logits / 26 as in Flow-GRPO's code, about 0.7 to 0.95; papers print logits / 100.

    `processor` is CLIP-H's, unless the folder of the weights has one of its own.
    """
    processor = processor or _own_processor(weights)
    return ClipScore(Towers("pickscore", weights, processor=processor, dtype=dtype), divisor=26)


def hpsv2(weights: str = HPS, processor: str = "", dtype: torch.dtype = torch.float32) -> ClipScore:
    """HPSv2.1, the cosine: about 0.20 to 0.37.

    Pictures are looked at whole, as in the released code: the longer side is brought to the size of
    the network, and black at both ends makes a square of it before the normalisation.

    `weights` is the public HPS_v2.1_compressed.pt, a folder or a hub id that holds it, or a folder
    of transformers (one with a config.json). `processor` as in `pickscore`.
    """
    processor = processor or _own_processor(weights)
    folder = (Path(weights) / "config.json").is_file()
    load = pretrained if folder else from_open_clip
    towers = Towers("hpsv2", weights, processor=processor, dtype=dtype, padded=True, load=load)
    return ClipScore(towers)


def _own_processor(weights: str) -> str:
    """The folder of the weights if it has a processor, else CLIP-H's identifier."""
    path = Path(weights)
    folder = path.parent if path.is_file() else path
    return str(folder) if (folder / "preprocessor_config.json").is_file() else CLIP_H


class AestheticHead(nn.Module):
    """LAION's predictor: five linear layers without activations, on a CLIP-L/14 unit vector."""

    def __init__(self, width: int = 768) -> None:
        super().__init__()
        self.layers = linear_head(width)

    def forward(self, x: Float[Tensor, "batch width"]) -> Float[Tensor, " batch"]:
        return self.layers(x)[:, 0]


def linear_head(width: int) -> nn.Sequential:
    """width-1024-128-64-16-1 with dropout between, as the public checkpoints number it."""
    return nn.Sequential(
        *(nn.Linear(width, 1024), nn.Dropout(0.2), nn.Linear(1024, 128), nn.Dropout(0.2)),
        *(nn.Linear(128, 64), nn.Dropout(0.1), nn.Linear(64, 16), nn.Linear(16, 1)),
    )


@dataclass(frozen=True)
class Aesthetic:
    """LAION's aesthetic score of a picture, about 1 to 10, mostly 4.5 to 6.5; no prompt enters."""

    head: str = AESTHETIC  # a file, a folder with aesthetic-model.pth, or a hub id that has it
    clip: Towers = Towers("aesthetic", CLIP_L)

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        vectors = self.clip.pictures(checked(media, prompts))
        return self._network.to(media.device)(vectors)

    @cached_property
    def _network(self) -> AestheticHead:
        state = checkpoint("aesthetic", self.head, AESTHETIC_FILE)
        network = AestheticHead(self.clip.model.config.projection_dim)
        filled("aesthetic", network, state, self.head)
        return frozen(network)
