"""Train the two verifiers of the portraits.   python -m tools.portraits.verifiers a

Each sees its own random half of the training pictures and no other. Pictures are made noisier and
brighter or darker at random; with much noise the target fades to "cannot tell", so that a verifier
does not read attributes into noise.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from scoreward.data.portraits import Portraits, load
from scoreward.rewards.portraits import SIZES, TRUNKS, AllRight, Verifier, attribute_table


@dataclass(frozen=True)
class VerifierSettings:
    """How one verifier is trained; all numbers are ours."""

    half: int  # 0 or 1: which half of the training pictures
    seed: int  # of the weights, the batches and the noise
    epochs: int = 24
    batch: int = 128
    learning_rate: float = 1.5e-3  # falls to 0 along a cosine
    clear_noise: float = 0.15  # noise std up to which every attribute can be told
    blind_noise: float = 0.9  # noise std from which nothing can
    spoiled: float = 0.2  # share of pictures with more than `clear_noise`
    brightness: float = 0.06  # largest shift of all pixels, in [-1, 1] units


SETTINGS = {"a": VerifierSettings(half=0, seed=11), "b": VerifierSettings(half=1, seed=23)}


def half_of_train(half: int) -> Portraits:
    """One of two disjoint random halves of the training split."""
    train = load("train")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(7))
    rows = order[half::2]
    return Portraits(train.images[rows], train.labels[rows], [train.captions[i] for i in rows])


def spoil(
    images: Float[Tensor, "batch 3 16 16"], settings: VerifierSettings, draw: torch.Generator
) -> tuple[Float[Tensor, "batch 3 16 16"], Float[Tensor, "batch"]]:
    """Noisy, brighter or darker pictures in [-1, 1], and how blind (0 to 1) each has become."""
    n = len(images)
    chance, level, shift = torch.rand(3, n, generator=draw)
    clear, blind = settings.clear_noise, settings.blind_noise
    loud = clear + (1.2 * blind - clear) * level
    std = torch.where(chance < settings.spoiled, loud, clear * level)
    noise = torch.randn(images.shape, generator=draw)
    moved = images + std[:, None, None, None] * noise
    moved = moved + settings.brightness * (2 * shift - 1)[:, None, None, None]
    return moved.clamp(-1, 1), ((std - clear) / (blind - clear)).clamp(0, 1)


def verifier_loss(
    logits: tuple[Tensor, ...], labels: Tensor, blind: Float[Tensor, "batch"]
) -> Float[Tensor, ""]:
    """Cross-entropy with the label, fading to the uniform distribution as pictures go blind."""
    total = torch.zeros(())
    for k, size in enumerate(SIZES):
        target = F.one_hot(labels[:, k], size).float()
        target = torch.lerp(target, torch.full_like(target, 1 / size), blind[:, None])
        total = total + F.cross_entropy(logits[k], target)
    return total


def train_verifier(name: str, settings: VerifierSettings) -> Verifier:
    """A verifier of architecture `name`, trained on its half from scratch."""
    torch.manual_seed(settings.seed)
    draw = torch.Generator().manual_seed(settings.seed)
    verifier, data = Verifier(TRUNKS[name]()), half_of_train(settings.half)
    optimizer = torch.optim.AdamW(verifier.parameters(), settings.learning_rate, weight_decay=0.01)
    steps = settings.epochs * (len(data) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=steps, pct_start=0.05
    )
    while schedule.last_epoch < steps:
        order = torch.randperm(len(data), generator=draw)
        for rows in order.split(settings.batch)[: len(data) // settings.batch]:
            images, blind = spoil(data.images[rows], settings, draw)
            loss = verifier_loss(verifier(images / 2 + 0.5), data.labels[rows], blind)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return verifier.eval().requires_grad_(False)


def figures(verifier: Verifier, split: str) -> dict[str, float]:
    """Accuracy per attribute, and the share of pictures with every attribute right."""
    data = load(split)
    media = data.images / 2 + 0.5
    table = attribute_table(verifier, media, data.captions)
    return table | {"all": float(AllRight(verifier)(media, data.captions).mean())}


def main(name: str, folder: str | None = None) -> None:
    """Train one verifier and write its weights (float16) and its figures."""
    shipped = Path(__file__).parents[2] / "scoreward" / "assets" / "portraits"
    out = Path(folder) if folder else shipped
    torch.set_num_threads(1)
    verifier = train_verifier(name, SETTINGS[name])
    weights = {k: v.half().contiguous() for k, v in verifier.state_dict().items()}
    save_file(weights, out / f"verifier_{name}.safetensors")
    verifier.load_state_dict({k: v.float() for k, v in weights.items()})
    record = {split: figures(verifier, split) for split in ("validation", "test")}
    text = json.dumps({"settings": vars(SETTINGS[name]), "accuracy": record}, indent=1)
    (out / f"verifier_{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
