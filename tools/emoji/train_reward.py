"""Train the linear heads of the emoji reward and of its judge, and say how well they retrieve.

python -m tools.emoji.train_reward

The reward sees three styles and the training captions only; its first head all of them, the others
each a random draw of captions with replacement. The judge sees OpenMoji only, but all captions: it
is the ruler for pictures of held-out captions, and nothing is ever trained with it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from scoreward.data import emoji as data
from scoreward.data.packs import SPLITS
from scoreward.models.builtin.emoji import whole
from scoreward.rewards.emoji import HEADS, Heads, Retrieval, features

SHARED = 128  # numbers of the shared space


@dataclass(frozen=True)
class Training:
    """How heads are trained; chosen by retrieval on OpenMoji's drawings of training captions."""

    side: int  # pixels that pictures are brought to
    epochs: int
    heads: int
    seed: int
    rate: float = 1e-3
    decay: float = 0.5
    dropout: float = 0.5  # of features
    noise: float = 0.1  # on features, in standard deviations
    batch: int = 256


TRAININGS = {
    "reward": Training(side=96, epochs=40, heads=4, seed=0),
    "judge": Training(side=128, epochs=120, heads=1, seed=7),
}


def seen(images: Tensor, side: int) -> Tensor:
    """Features of pictures in [-1, 1]."""
    with torch.no_grad():
        return torch.cat([features((piece + 1) / 2, side) for piece in images.split(64)])


def contrast(pictures: Tensor, texts: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Cross-entropy both ways; pictures of one caption are all right answers."""
    logits = scale.exp() * F.normalize(pictures, dim=-1) @ F.normalize(texts, dim=-1).T
    by_text = same / same.sum(1, keepdim=True)
    return -((by_text * logits.log_softmax(1)).sum(1) + (by_text * logits.T.log_softmax(1)).sum(1))


def trained(x: Tensor, told: Tensor, number: Tensor, how: Training, seed: int) -> list[Tensor]:
    """One pair of heads on normalised features `x`, texts and the captions' numbers."""
    torch.manual_seed(seed)
    image, text = (nn.Linear(v.shape[1], SHARED, bias=False) for v in (x, told))
    scale = nn.Parameter(torch.tensor(3.0))
    parameters = [*image.parameters(), *text.parameters(), scale]
    optimizer = torch.optim.AdamW(parameters, how.rate, weight_decay=how.decay)
    for _ in range(how.epochs):
        for rows in torch.randperm(len(x)).split(how.batch):
            noisy = x[rows] + how.noise * torch.randn(len(rows), x.shape[1])
            same = (number[rows, None] == number[rows]).float()
            pictures = image(F.dropout(noisy, how.dropout))
            loss = contrast(pictures, text(told[rows]), scale, same).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return [image.weight.detach(), text.weight.detach()]


def fitted(images: Tensor, captions: Sequence[str], how: Training) -> Heads:
    """All heads; the first on everything, the others on captions drawn with replacement."""
    z, told = seen(images, how.side), whole(captions)
    names = sorted(set(captions))
    number = torch.tensor([names.index(caption) for caption in captions])
    mean, std = z.mean(0), z.std(0) + 1e-3
    x, pairs = (z - mean) / std, []
    for head in range(how.heads):
        torch.manual_seed(how.seed + head)
        drawn = torch.randint(len(names), (len(names),)) if head else torch.arange(len(names))
        rows = torch.cat([(number == n).nonzero()[:, 0] for n in drawn])
        pairs.append(trained(x[rows], told[rows], number[rows], how, how.seed + head))
    image, text = (torch.stack(part) for part in zip(*pairs))
    return Heads(how.side, mean, std, image, text)


def retrieval(heads: Heads, emoji: data.Emoji) -> dict[str, float]:
    """How often the right one of all captions is first, among five and among ten."""
    found = Retrieval(heads, whole, data.every_caption())
    ranks = found.ranks(seen(emoji.images, heads.side), emoji.captions)
    return {f"top{k}": round(float((ranks < k).float().mean()), 3) for k in (1, 5, 10)}


def everything(styles: Sequence[str]) -> data.Emoji:
    parts = [data.load(split, styles) for split in SPLITS]
    captions = [caption for part in parts for caption in part.captions]
    return data.Emoji(torch.cat([part.images for part in parts]), captions)


def main() -> None:
    torch.set_num_threads(1)
    pictures = {"reward": data.load("train"), "judge": everything([data.JUDGE_STYLE])}
    report: dict = {}
    for name, how in TRAININGS.items():
        heads = fitted(pictures[name].images, pictures[name].captions, how)
        tensors = {k: v.half().contiguous() for k, v in heads.tensors().items()}
        save_file(tensors, HEADS[name], {"side": str(how.side)})
        heads, unseen = Heads.load(name), [data.JUDGE_STYLE] if name == "reward" else data.STYLES
        report[name] = asdict(how) | {
            f"{style}, {split} captions": retrieval(heads, data.load(split, [style]))
            for style in unseen
            for split in SPLITS
        }
        print(name, json.dumps(report[name], indent=1), flush=True)
    path = data.FOLDER / "retrieval.json"
    path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
