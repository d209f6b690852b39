"""Attribute verifiers of the pixel portraits: do the pictures show what their prompts say?

Two networks of different kinds, trained on disjoint halves of the training pictures: "a" (a
convolutional network) is meant as the reward, "b" (a patch mixer) as the judge that never enters
training. Both were taught to be unsure about noisy pictures, which makes noise a poor way of
fooling them. recipes/verifiers.py trains them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from scoreward.data.portraits import FIELDS, UNSAID, parse
from scoreward.rewards.base import beside

SIZES = [len(values) for values in FIELDS.values()]
_parse = lru_cache(maxsize=65536)(parse)


def labels_of(prompts: Sequence[str]) -> Int[Tensor, "batch 7"]:
    """The labels that prompts name, UNSAID (-1) where they name none."""
    return torch.tensor([_parse(prompt) for prompt in prompts], dtype=torch.long).reshape(-1, 7)


def convolutional() -> nn.Module:
    """Three convolutions and two linear layers, 0.43 M parameters."""
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(64, 96, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(96 * 16, 224), nn.ReLU()),
        nn.Linear(224, sum(SIZES)),
    )


class Mix(nn.Module):
    """One mixer block: an MLP across the patches, then one across the channels."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.across, self.within = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(tokens, 64), nn.GELU(), nn.Linear(64, tokens))
        self.channels = nn.Sequential(nn.Linear(width, 160), nn.GELU(), nn.Linear(160, width))

    def forward(
        self, x: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch tokens width"]:
        x = x + self.tokens(self.across(x).mT).mT
        return x + self.channels(self.within(x))


def mixer(width: int = 80, depth: int = 3) -> nn.Module:
    """An MLP mixer on 2 x 2 patches, 0.14 M parameters."""
    return nn.Sequential(
        *(nn.PixelUnshuffle(2), nn.Flatten(2), Transpose(), nn.Linear(12, width)),
        *(Mix(64, width) for _ in range(depth)),
        *(nn.LayerNorm(width), nn.Linear(width, 16), nn.Flatten(), nn.GELU()),
        nn.Linear(64 * 16, sum(SIZES)),
    )


class Transpose(nn.Module):
    """Swap the last two axes."""

    def forward(self, x: Float[Tensor, "batch channels tokens"]) -> Tensor:
        return x.mT


TRUNKS = {"a": convolutional, "b": mixer}


class Verifier(nn.Module):
    """Says of every attribute how likely each of its values is."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    @classmethod
    def load(cls, name: str) -> "Verifier":
        """Verifier "a" (the reward) or "b" (the judge), frozen, as shipped."""
        if name not in TRUNKS:
            raise ValueError(f'unknown verifier "{name}"; choose "a" (reward) or "b" (judge)')
        verifier = cls(TRUNKS[name]())
        path = files("scoreward") / "assets" / "portraits" / f"verifier_{name}.safetensors"
        weights = {k: v.float() for k, v in load_safetensors(path.read_bytes()).items()}
        verifier.load_state_dict(weights)
        return verifier.eval().requires_grad_(False)

    def forward(self, media: Float[Tensor, "batch 3 16 16"]) -> tuple[Tensor, ...]:
        """Logits per attribute, each [batch, number of values]; media in [0, 1]."""
        return beside(self.trunk, media)(media * 2 - 1).split(SIZES, dim=1)

    def probabilities(
        self, media: Float[Tensor, "batch 3 16 16"], prompts: Sequence[str]
    ) -> Float[Tensor, "batch 7"]:
        """The probability of what the prompt asks, per attribute; 1 where it asks nothing."""
        labels = labels_of(prompts).to(media.device)
        probabilities = [
            logits.softmax(1).gather(1, label.clamp(min=0)[:, None])[:, 0]
            for logits, label in zip(self(media), labels.unbind(1), strict=True)
        ]
        return torch.where(labels == UNSAID, 1.0, torch.stack(probabilities, 1))

    def right(
        self, media: Float[Tensor, "batch 3 16 16"], prompts: Sequence[str]
    ) -> Bool[Tensor, "batch 7"]:
        """Whether the likeliest value is the one asked for; true where nothing is asked."""
        labels = labels_of(prompts).to(media.device)
        found = torch.stack([logits.argmax(1) for logits in self(media)], 1)
        return (found == labels) | (labels == UNSAID)


@dataclass(frozen=True)
class AttributeReward:
    """Mean probability of the right value over the attributes that the prompt names, in [0, 1]."""

    verifier: Verifier

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, "batch"]:
        return _mean_named(self.verifier.probabilities(media, prompts), prompts, media)


@dataclass(frozen=True)
class ShareRight:
    """Share of the named attributes whose likeliest value is the one asked for, in [0, 1].

    Unlike `AttributeReward` it has no opinion among pictures that are right, so it does not pull
    them towards whatever the verifier is surest about.
    """

    verifier: Verifier

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, "batch"]:
        return _mean_named(self.verifier.right(media, prompts), prompts, media)


def _mean_named(values: Tensor, prompts: Sequence[str], media: Tensor) -> Float[Tensor, "batch"]:
    """Mean over the attributes that each prompt names."""
    named = (labels_of(prompts) != UNSAID).to(media)
    return (values * named).sum(1) / named.sum(1)


@dataclass(frozen=True)
class AllRight:
    """1 if every attribute that the prompt names is right, else 0."""

    verifier: Verifier

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, "batch"]:
        return self.verifier.right(media, prompts).all(1).to(media)


def attribute_table(
    verifier: Verifier, media: Float[Tensor, "batch 3 16 16"], prompts: Sequence[str]
) -> dict[str, float]:
    """Share of pictures that show the right value, per attribute, among prompts that name it."""
    right, named = verifier.right(media, prompts).cpu(), labels_of(prompts) != UNSAID
    return {
        field: float(right[:, k][named[:, k]].double().mean())
        for k, field in enumerate(FIELDS)
        if named[:, k].any()
    }


def portraits() -> AttributeReward:
    """The reward of that name."""
    return AttributeReward(Verifier.load("a"))
