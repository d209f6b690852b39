"""A check that asks no network: the same distance on raw pixels, and the mean colour.

python -m benchmarks.few_step.pixels     (needs the weights that `run train` left in runs/)
"""

import json
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.few_step.measure import drawn
from benchmarks.few_step.run import COUNT, WEIGHTS
from scoreward.data import portraits as data
from scoreward.methods.sampling import Sampling
from scoreward.models.builtin import portraits as builtin
from scoreward.rewards.imagenet import frechet_distance
from scoreward.training.checkpoint import read_tensors


def numbers(media: Tensor, real: Tensor) -> dict[str, float]:
    """Distance of pixels in [0, 1], RMS error of the mean picture, mean share of variance."""
    ours, theirs = media.flatten(1), real.flatten(1)
    return {
        "frechet_pixels": frechet_distance(ours, theirs),
        "mean_error": float((ours.mean(0) - theirs.mean(0)).square().mean().sqrt()),
        "variance": float(ours.var(0).sum() / theirs.var(0).sum()),
    }


def main() -> None:
    torch.set_num_threads(1)
    test = data.load("test")
    real, captions = builtin.portraits.decode(test.images), test.captions[:COUNT]
    train = builtin.portraits.decode(data.load("train").images[:COUNT])
    result = {"train pictures": numbers(train, real)}
    model = builtin.portraits()
    for steps in (4, 10):
        sampler = Sampling(steps=steps, eta=1.0).sampler()
        media = drawn(model, model.denoiser, sampler, captions, "test")
        result[f"base, {steps} steps"] = numbers(media, real)
    for path in sorted(WEIGHTS.glob("*, 4.safetensors")):
        tuned = builtin.portraits(read_tensors(path))
        sampler = Sampling(steps=4, eta=1.0).sampler()
        media = drawn(tuned, tuned.denoiser, sampler, captions, "test")
        result[f"{path.stem} steps"] = numbers(media, real)
        print(path.stem, result[f"{path.stem} steps"], flush=True)
    path = Path(__file__).parent / "pixels.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
