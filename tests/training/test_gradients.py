"""Signal, noise and steps, against their definitions."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scoreward.core.advantage import correlation
from scoreward.training.geometry import Geometry
from scoreward.training.gradients import GradientParts, moved, shadow, square
from scoreward.training.probe import Probe, probe
from scoreward.training.team import Team
from tests.training.toys import make_trainer, toy


def parts_of(contributions: torch.Tensor) -> float | None:
    parameter = nn.Parameter(torch.zeros(contributions.shape[1]))
    parts = GradientParts([parameter])
    for c in contributions:
        parameter.grad = c.clone() if parameter.grad is None else parameter.grad + c
        parts.add()
    return parts.metrics().get("gradient/signal_to_noise")


def test_signal_and_noise_are_estimated_without_bias() -> None:
    """K contributions μ/K + n with |n|² = s² in expectation: signal |μ|², noise K s²."""
    generator = torch.Generator().manual_seed(0)
    mean, count, size, deviation = torch.full((400,), 0.5), 8, 400, 0.05
    estimates = []
    for _ in range(50):
        noise = deviation * torch.randn(count, size, generator=generator)
        estimates.append(parts_of(mean / count + noise))
    expected = float(mean.square().sum()) / (count * size * deviation**2)
    known = [e for e in estimates if e is not None]
    assert sum(known) / len(known) == pytest.approx(expected, rel=0.03)


def test_pure_noise_has_no_signal() -> None:
    noise = torch.randn(16, 20_000, generator=torch.Generator().manual_seed(1))
    value = parts_of(noise)
    assert value is not None
    assert abs(value) < 0.1


def test_one_contribution_says_nothing() -> None:
    assert parts_of(torch.ones(1, 3)) is None
    assert GradientParts([]).metrics() == {}


def test_a_step_is_measured_relative_to_the_weights() -> None:
    parameters = [nn.Parameter(torch.tensor([3.0, 4.0])), nn.Parameter(torch.zeros(1))]
    before = [torch.tensor([3.0, 4.5]), torch.tensor([0.5])]
    size = (9 + 4.5**2 + 0.25) ** 0.5
    assert moved(before, parameters, Team()) == {"update/relative": pytest.approx(0.5**0.5 / size)}
    assert square(before) == pytest.approx(size**2)


def test_the_shadow_sees_any_single_change() -> None:
    parameters = [nn.Parameter(torch.arange(5.0)), nn.Parameter(torch.ones(2, 2))]
    before = shadow(parameters)
    for parameter in parameters:
        for place in range(parameter.numel()):
            with torch.no_grad():
                parameter.flatten()[place] += 1e-3
            assert shadow(parameters) != before
            with torch.no_grad():
                parameter.flatten()[place] -= 1e-3


def test_rounds_that_verify_record_the_step_and_where_there_are_parts_the_signal() -> None:
    trainer = make_trainer(Geometry(prompts=4, group=4, micro_batch=4))
    first, second = trainer.step().metrics, trainer.step().metrics
    assert first["update/relative"] > 0
    assert "gradient/signal_to_noise" in first
    assert not {"update/relative", "gradient/signal_to_noise"} & second.keys()
    whole = make_trainer(Geometry(prompts=4, group=4)).step().metrics
    assert "gradient/signal_to_noise" not in whole


def test_advantages_agree_with_their_rewards() -> None:
    reward = torch.tensor([1.0, 2.0, 4.0, 10.0, 12.0, 11.0])
    group = torch.tensor([0, 0, 0, 1, 1, 1])
    assert float(correlation(3 * reward - 7, reward, group)) == pytest.approx(1)
    assert float(correlation(-reward, reward, group)) == pytest.approx(-1)
    # only differences inside groups count
    assert float(correlation(reward + 100 * group, reward, group)) == pytest.approx(1)
    assert float(correlation(torch.zeros(6), reward, group)) == 0


def test_a_probe_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    run = toy(tmp_path / "run")
    before = [p.detach().clone() for p in run.model.network.parameters()]
    told: list[str] = []
    measured = probe(run, Probe(rounds=4, factors=(1.0, 10.0)), tell=told.append)
    after = list(run.model.network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert measured["redrawn"] == pytest.approx(0, abs=1e-6)
    assert measured["rescored"] == 0
    assert [s["factor"] for s in measured["ladder"]] == [1.0, 10.0]
    assert told[-1] == "4 rounds at 10 times the learning rate"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wrong", [{"rounds": 3}, {"factors": (0.1, 10.0)}])
def test_a_probe_that_could_say_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 4 rounds per learning rate, and 1 among"):
        Probe(**wrong)
