"""Held-out prompts with fixed noise: the same pictures before, during and after."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoreward.core.denoiser import Denoiser
from scoreward.core.keys import Key
from scoreward.core.prediction import Prediction
from scoreward.core.process import RectifiedFlow
from scoreward.methods.sampling import Sampling
from scoreward.models.base import Model
from scoreward.rewards.base import RewardError
from scoreward.tasks.toy import CORNERS, closeness, toy_model
from scoreward.training.evaluations.pictures import Evaluation, Measurement, evaluate
from scoreward.training.evaluations.pictures import Tester as Share
from scoreward.training.team import Team
from tests.training.toys import make_trainer, pictured, rounds_of

WORDS = list(CORNERS) * 3


def settings(**changes: object) -> Evaluation:
    """Twelve prompts; the ODE sampler unless told otherwise."""
    given = {
        "prompts": WORDS,
        "samplers": {"ode": Sampling(steps=5).sampler()},
        "scorers": {"reward": closeness},
        "spread_prompts": 3,
        "noises": 4,
    }
    return Evaluation(**(given | changes))  # pyright: ignore


def measured(evaluation: Evaluation, model: Model | None = None) -> Measurement:
    model = model or toy_model()
    return evaluate(evaluation, model, model.denoiser, Team())


def test_the_same_weights_give_the_same_pictures_and_numbers() -> None:
    both = [measured(settings(samplers={"sde": Sampling(eta=1.0).sampler()})) for _ in range(2)]
    assert torch.equal(both[0].pictures["sde"], both[1].pictures["sde"])
    assert both[0].numbers == both[1].numbers


def test_the_batch_changes_no_picture() -> None:
    whole, pieces = (measured(settings(batch=b)) for b in (64, 5))
    torch.testing.assert_close(whole.pictures["ode"], pieces.pictures["ode"], rtol=0, atol=1e-6)
    assert whole.numbers["ode"] == pytest.approx(pieces.numbers["ode"], abs=1e-6)


def test_the_noise_has_its_own_seed() -> None:
    one, other = (measured(settings(seed=s)) for s in (0, 1))
    assert not torch.equal(one.pictures["ode"], other.pictures["ode"])


def test_the_pictures_are_the_samplers_own_on_the_addressed_noise() -> None:
    """For N(0, ¼ I) the ODE is x ↦ x/2 in the limit; 400 Euler-like steps are within 0.01."""
    many = measured(settings(samplers={"ode": Sampling(steps=400).sampler()}))
    noise = torch.stack([(Key(("noise", 0, i, 0)) / "start").normal(2) for i in range(12)])
    torch.testing.assert_close(many.pictures["ode"], noise / 2, rtol=0, atol=0.02)


def test_scores_are_means_over_the_prompts() -> None:
    done = measured(settings())
    expected = closeness(done.pictures["ode"], WORDS)
    assert done.numbers["ode"]["reward"] == pytest.approx(float(expected.mean()), rel=1e-6)
    assert done.scores["ode"]["reward"] == pytest.approx(expected.tolist())


def test_the_gap_is_sde_minus_ode() -> None:
    """[reward-gap] (definition)"""
    both = {"ode": Sampling().sampler(), "sde": Sampling(eta=1.0).sampler()}
    numbers = measured(settings(samplers=both)).numbers
    assert numbers["gap"] == {"reward": numbers["sde"]["reward"] - numbers["ode"]["reward"]}
    assert numbers["gap"]["reward"] != 0
    assert "gap" not in measured(settings()).numbers


def spread_by_hand(prompts: int, noises: int) -> float:
    """Standard deviation over noises of each pixel, mean over pixels and prompts."""
    total = 0.0
    for i in range(prompts):
        keys = [Key(("noise", 0, i, j)) / "start" for j in range(noises)]
        x = torch.stack([k.normal(2) for k in keys]).double()
        total += float((x - x.mean(0)).square().mean(0).sqrt().mean())
    return total / prompts


def test_diversity_is_the_spread_over_the_noises_of_a_prompt() -> None:
    """With the exact map x ↦ x/2 it is half the spread of the noise itself; the grid costs 1 %."""
    many = settings(samplers={"ode": Sampling(steps=400).sampler()})
    assert measured(many).numbers["ode"]["diversity"] == pytest.approx(
        spread_by_hand(3, 4) / 2, rel=0.02
    )
    fewer = replace(many, spread_prompts=1)
    assert measured(fewer).numbers["ode"]["diversity"] == pytest.approx(
        spread_by_hand(1, 4) / 2, rel=0.02
    )


def test_more_spread_prompts_than_prompts_are_as_many_as_there_are() -> None:
    few = settings(spread_prompts=100)
    exact = settings(spread_prompts=12)
    assert measured(few).numbers == measured(exact).numbers


def counted(media: Tensor, prompts: Sequence[str]) -> Mapping[str, float]:
    return {
        "north": float(sum(p.startswith("north") for p in prompts)),
        "first": float(media[0, 0]),
    }


def test_a_table_sees_all_pictures_and_only_some_are_kept() -> None:
    done = measured(settings(tables={"corners": counted}, shown=5))
    assert done.numbers["ode"]["corners"]["north"] == 6
    assert done.numbers["ode"]["corners"]["first"] == float(done.pictures["ode"][0, 0])
    assert len(done.pictures["ode"]) == len(done.scores["ode"]["reward"]) == 5


def test_the_averaged_weights_are_measured_and_the_live_ones_come_back() -> None:
    trainer = make_trainer()
    rounds_of(trainer, 3)
    live = trainer.weights.parameters["mean"].detach().clone()
    done = evaluate(settings(), pictured(trainer), trainer.reading("ema"), Team())
    assert torch.equal(trainer.weights.parameters["mean"].detach(), live)
    averaged = toy_model()
    averaged.network.load_state_dict(trainer.weights.snapshot("ema"))
    torch.testing.assert_close(done.pictures["ode"], measured(settings(), averaged).pictures["ode"])
    away = measured(settings(), pictured(trainer)).pictures["ode"]
    assert not torch.allclose(done.pictures["ode"], away, atol=1e-3)


def test_the_live_weights_come_back_when_a_scorer_fails() -> None:
    trainer = make_trainer()
    rounds_of(trainer, 2)
    live = trainer.weights.parameters["mean"].detach().clone()
    broken = settings(scorers={"judge": lambda media, prompts: media})
    with pytest.raises(RewardError, match=r"^reward 'judge' returned shape \(12, 2\)"):
        evaluate(broken, pictured(trainer), trainer.reading("ema"), Team())
    assert torch.equal(trainer.weights.parameters["mean"].detach(), live)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prompts": []}, "an evaluation needs at least one prompt and one sampler"),
        ({"samplers": {}}, "an evaluation needs at least one prompt and one sampler"),
        ({"noises": 1}, "`noises` must be at least 2 for a spread, got 1"),
        ({"every": 0}, "`every` must be at least 1, got 0"),
        ({"batch": 0}, "`batch` must be at least 1, got 0"),
        ({"shown": 0}, "`shown` must be at least 1, got 0"),
        ({"spread_prompts": 0}, "`spread_prompts` must be at least 1, got 0"),
    ],
)
def test_an_evaluation_of_nothing_is_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"^{sentence}$"):
        settings(**changes)


def moved(by: float) -> tuple[Model, Model]:
    """A model whose means have moved, and the first one."""
    model, first = toy_model(), toy_model()
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter += by
    return model, first


def drift(by: float, samples: range) -> float:
    """Means that differ by δ give velocities that differ by δ (ασ/S + 1 − α²c/S), S = α²c + σ²."""
    gains = []
    for t in [0.1 + 0.2 * (i % 5) for i in samples]:
        alpha, spread = 1 - t, (1 - t) ** 2 * 0.25 + t**2
        gains.append(alpha * t / spread + 1 - alpha**2 * 0.25 / spread)
    return sum((by * g) ** 2 for g in gains) / len(samples)


def test_drift_is_the_velocity_distance_to_the_reference() -> None:
    """Three prompts of four noises."""
    model, first = moved(0.3)
    numbers = evaluate(settings(), model, model.denoiser, Team(), first.denoiser).numbers["ode"]
    assert numbers["drift"] == pytest.approx(drift(0.3, range(12)), rel=1e-4)


class Second(Team):
    """The second of two processes, which hears nothing of the first."""

    rank, size = 1, 2  # pyright: ignore

    def __init__(self) -> None:
        self.device = torch.device("cpu")

    def gather(self, items: Sequence) -> list:
        return list(items)


def test_the_times_of_a_drift_are_those_of_the_whole_evaluation() -> None:
    """The second of two processes has the second of three prompts: samples 4 to 7."""
    model, first = moved(0.3)
    share = Share(settings(), model, model.denoiser, Sampling(steps=5).sampler(), Second())
    found = share.spread(first.denoiser)["drift"]
    assert found == pytest.approx(drift(0.3, range(4, 8)), rel=1e-4)
    assert found != pytest.approx(drift(0.3, range(4)), rel=1e-2)


def test_each_sample_of_a_drift_has_noise_of_its_own() -> None:
    """From x0 = 0, where v = x_t against v = 0 is the mean of (σ ε)², σ = t."""

    def answering(scale: float) -> Denoiser:
        return lambda x, t, cond: Prediction.of("velocity", scale * x, x, t, RectifiedFlow())

    model, keys = toy_model(), [Key(("drift", i)) for i in range(3)]
    share = Share(settings(), model, answering(1.0), Sampling(steps=5).sampler(), Team())
    found = share._drift(torch.zeros(3, 2), WORDS[:3], keys, answering(0.0), [0, 1, 7])
    noise = [(k / "drift").normal(2) for k in keys]
    expected = [(t * e).square().mean().item() for t, e in zip((0.1, 0.3, 0.5), noise, strict=True)]
    assert found == pytest.approx(expected, rel=1e-5)


def test_without_a_reference_there_is_no_drift_and_from_oneself_it_is_nothing() -> None:
    model = toy_model()
    assert "drift" not in measured(settings()).numbers["ode"]
    itself = evaluate(settings(), model, model.denoiser, Team(), model.denoiser)
    assert itself.numbers["ode"]["drift"] == 0
