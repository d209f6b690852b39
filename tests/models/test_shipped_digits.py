"""The compressed digits model in the package: its size, its operator, its digits, and a reward."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scoreward.core.chain import draw
from scoreward.core.keys import Key, normal_each
from scoreward.data.digits import WORDS, load
from scoreward.methods.base import Shared
from scoreward.methods.sampling import Sampling
from scoreward.models.base import Model
from scoreward.models.builtin import digits
from scoreward.models.builtin.vectors import VectorNetwork, VectorSize
from scoreward.models.compressed.model import save, stored
from scoreward.recipes import recipe
from scoreward.rewards.digits import NearestDigits, nearest_digit
from scoreward.tasks.digits import DIGITS, StartDigits
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer


@torch.no_grad()
def samples(model: Model, prompts: Sequence[str], seed: str = "shipped") -> torch.Tensor:
    keys = [Key((seed, i)) for i in range(len(prompts))]
    start, cond = normal_each(keys, model.shape), model.encode(prompts)
    return model.decode(draw(Sampling(steps=20).sampler(), model.denoiser, start, keys, cond))


def test_its_samples_are_the_digits_that_were_asked_for() -> None:
    prompts = list(WORDS) * 10
    media = samples(digits.load(), prompts)
    assert NearestDigits()(media, prompts).mean() > 0.85
    others = [*prompts[1:], prompts[0]]
    assert NearestDigits()(media, others).mean() < 0.1


def test_it_does_not_repeat_training_digits() -> None:
    prompts, train = list(WORDS) * 10, load("train").images.flatten(1)
    apart = torch.cdist(train, train).fill_diagonal_(torch.inf).amin(1).mean()
    assert nearest_digit(samples(digits.load(), prompts), prompts).mean() > apart


def test_its_operator_recovers_digits_of_other_writers() -> None:
    how, weights = stored(digits.PATH)
    test = load("test", 4).images
    error = (how.decode(how.encode(test)) - test).square()
    assert -10 * error.mean().log10() > 40  # dB; pictures are in [0, 1]
    assert (-10 * error.flatten(1).mean(1).log10() > 40).double().mean() > 0.85
    again = digits.Measuring().build()
    torch.testing.assert_close(how.operator.matrix, again.operator.matrix.float())
    assert (how.mean, how.std) == pytest.approx((again.mean, again.std))
    assert digits.PATH.stat().st_size < 4e6
    assert {w.dtype for w in weights.values()} == {torch.float16}
    assert {p.dtype for p in digits.load().network.parameters()} == {torch.float32}


def test_another_file_or_size_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    how, _ = stored(digits.PATH)
    small = VectorSize(hidden=16, depth=1, classes=10)
    save(path, how, VectorNetwork(how.latent, small))
    assert DIGITS.build(StartDigits(path, size=small)).shape == (1, 16, 16)
    with pytest.raises(ValueError, match=r"not those of VectorSize\(hidden=192.*they were trained"):
        DIGITS.build(StartDigits(path))
    save_file(load_file(digits.PATH), path)  # without what `save` says of it
    with pytest.raises(ValueError, match="holds no compressed model"):
        DIGITS.build(StartDigits(path))


def test_a_few_rounds_of_vgrpo_raise_reward_and_judge() -> None:
    shared = Shared(geometry=Geometry(prompts=10, group=8))
    run = recipe("digits_compressed_vgrpo").run(sampling=Sampling(steps=8), shared=shared)
    trainer = Trainer(run.model, run.objective, run.source, Optimizer(lr=5e-4), Team(), seed=1)
    rewards = [trainer.step().metrics["reward/mean"] for _ in range(6)]
    assert rewards[-1] > rewards[0] + 0.04
    prompts = list(WORDS) * 10
    before, after = samples(digits.load(), prompts), samples(run.model, prompts)
    gain = NearestDigits()(after, prompts).mean() - NearestDigits()(before, prompts).mean()
    assert gain > 0.02
