"""How well a picture fits a text: EfficientNet-lite0 and MiniLM, joined by small linear heads.

Both networks are frozen and were made for other things (ImageNet, sentences); only two linear maps
into a shared space were trained, on drawings of emoji (tools/emoji/train_reward.py). The result is
like CLIP and PickScore in form, range and weaknesses: it has a gradient, is right more often than
not, and can be fooled.

`reward` was trained on three styles, `judge` on a fourth with another seed and at another size. The
judge never enters training, but it looks through the same EfficientNet, so what fools one may fool
the other. `Likeness` uses no network at all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from scoreward.data.emoji import FOLDER, JUDGE_STYLE, STYLES, cleaned, drawings, every_caption
from scoreward.rewards.imagenet import lite0

HEADS = {"reward": FOLDER / "reward.safetensors", "judge": FOLDER / "openmoji/judge.safetensors"}

Encode = Callable[[Sequence[str]], Tensor]
"""Texts → [batch, 384], what MiniLM says of each."""


def features(
    media: Float[Tensor, "batch 3 height width"], side: int
) -> Float[Tensor, "batch 1280"]:
    """What EfficientNet sees in pictures brought to `side` pixels, averaged over places."""
    network = lite0().to(media.device)
    size = (side, side)
    fitted = F.interpolate(media.float(), size, mode="bilinear", antialias=True)
    return network.extract_features((fitted * 255 - 127) / 128).mean((2, 3))


@dataclass(frozen=True)
class Heads:
    """Several pairs of linear maps into a shared space; the first is the one that is used alone."""

    side: int  # pixels that pictures are brought to
    mean: Float[Tensor, " features"]
    std: Float[Tensor, " features"]
    image: Float[Tensor, "heads shared features"]
    text: Float[Tensor, "heads shared words"]

    @classmethod
    def load(cls, name: str) -> "Heads":
        """Heads "reward" or "judge", as shipped."""
        if name not in HEADS:
            raise ValueError(f'unknown heads "{name}"; choose "reward" or "judge"')
        with safe_open(HEADS[name], "pt") as file:
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
            side = int(file.metadata()["side"])
        return cls(side, **tensors)

    def tensors(self) -> Mapping[str, Tensor]:
        """What is saved."""
        return {"mean": self.mean, "std": self.std, "image": self.image, "text": self.text}

    def of_pictures(
        self, seen: Float[Tensor, "batch features"], count: int
    ) -> Float[Tensor, "count batch shared"]:
        """Unit vectors of pictures, by the first `count` heads."""
        mean, std, image = (v.to(seen) for v in (self.mean, self.std, self.image[:count]))
        return F.normalize(((seen - mean) / std) @ image.mT, dim=-1)

    def of_texts(
        self, vectors: Float[Tensor, "batch words"], count: int
    ) -> Float[Tensor, "count batch shared"]:
        """Unit vectors of texts, by the first `count` heads."""
        return F.normalize(vectors @ self.text[:count].to(vectors).mT, dim=-1)


@dataclass(frozen=True)
class EmojiMatch:
    """Cosine between picture and text, in [-1, 1]; about 0 for a text that does not fit.

    With several heads the mean of their cosines, less `caution` standard deviations: pictures that
    only please one of them earn less.
    """

    heads: Heads
    encode: Encode
    count: int = 1  # heads asked
    caution: float = 0.0  # standard deviations taken off

    def __post_init__(self) -> None:
        if not 1 <= self.count <= len(self.heads.image):
            raise ValueError(f"`count` must be 1 to {len(self.heads.image)}, got {self.count}")
        if self.caution < 0 or (self.caution and self.count == 1):
            raise ValueError(
                f"`caution` must not be negative, and one head has no deviation; got "
                f"caution={self.caution}, count={self.count}"
            )

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        return self.of(features(media, self.heads.side), prompts)

    def of(
        self, seen: Float[Tensor, "batch features"], prompts: Sequence[str]
    ) -> Float[Tensor, " batch"]:
        """The same from features that were already computed."""
        vectors = self.heads.of_texts(self.encode(list(prompts)).to(seen.device), self.count)
        cosines = (self.heads.of_pictures(seen, self.count) * vectors).sum(-1)
        if not self.caution:
            return cosines.mean(0)
        return cosines.mean(0) - self.caution * cosines.var(0, correction=0).add(1e-8).sqrt()


@dataclass(frozen=True)
class Retrieval:
    """1 where the text is among the `best` of all `captions` for the picture, else 0."""

    heads: Heads
    encode: Encode
    captions: Sequence[str]
    best: int = 10

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        with torch.no_grad():
            seen = features(media, self.heads.side)
        return (self.ranks(seen, prompts) < self.best).float()

    def ranks(
        self, seen: Float[Tensor, "batch features"], prompts: Sequence[str]
    ) -> Float[Tensor, " batch"]:
        """How many captions fit the pictures, given by their features, better than their own."""
        pictures = self.heads.of_pictures(seen, 1)[0]
        texts, others = (
            self.heads.of_texts(self.encode(list(lines)).to(seen.device), 1)[0]
            for lines in (prompts, self.captions)
        )
        mine = (pictures * texts).sum(-1, keepdim=True)
        return (pictures @ others.T > mine + 1e-6).sum(1).float()


@dataclass(frozen=True)
class Likeness:
    """Share of the other captions whose drawings are all farther away than the prompt's nearest.

    0.5 is chance, 1 is best. Distances are between pixels, pooled by two: no network is asked, so
    none can be fooled. Only for prompts that are captions.
    """

    styles: tuple[str, ...] = (*STYLES, JUDGE_STYLE)

    def __call__(
        self, media: Float[Tensor, "batch 3 32 32"], prompts: Sequence[str]
    ) -> Float[Tensor, " batch"]:
        every = every_caption()
        number = {caption: i for i, caption in enumerate(every)}
        texts = [cleaned(prompt) for prompt in prompts]
        if unknown := [text for text in texts if text not in number]:
            raise ValueError(
                f"there is no drawing of {unknown[0]!r} to compare with; likeness is for the "
                f"{len(every):,} captions that ship with scoreward"
            )
        pictures = F.avg_pool2d(media.float().cpu() * 2 - 1, 2).flatten(1)
        pooled = [_pooled(style) for style in self.styles]
        distance = torch.stack([torch.cdist(pictures, style) for style in pooled]).min(0).values
        nearest = distance.gather(1, torch.tensor([[number[text]] for text in texts]))
        return (distance > nearest).sum(1).div(len(every) - 1).to(media.device)


@cache
def _pooled(style: str) -> Tensor:
    """A style's drawings of all captions, as vectors."""
    return F.avg_pool2d(drawings(style), 2).flatten(1)
