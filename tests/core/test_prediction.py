"""Every way of writing a network's answer, there and back, and each pinned from outside."""

from inspect import unwrap
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.core.prediction import KINDS, Kind, Prediction, linear_form, per_sample
from scoreward.core.process import LinearVP, Process, RectifiedFlow
from tests.core.laws import F64, PROCESSES, real

NUMBERS = Key(("prediction",))


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), u=st.floats(0.02, 0.98), kind=st.sampled_from(KINDS))
def test_every_kind_recovers_the_pair(process: Process, seed: int, u: float, kind: Kind) -> None:
    """The 2×2 solve loses digits where α or σ is small, at most 1/(α σ) ≈ 1e4 units in the last."""
    key, t = NUMBERS / seed, torch.full((3,), u, dtype=F64)
    x0, eps = ((key / name).normal(3, 2, 5, dtype=F64) for name in ("x0", "eps"))
    time = per_sample(t, x0)
    x_t = process.alpha(time) * x0 + process.sigma(time) * eps
    a, b = linear_form(kind, process, time)
    answer = Prediction.of(kind, a * x0 + b * eps, x_t, t, process)
    torch.testing.assert_close(answer.x0, x0, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(answer.eps, eps, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize(("source", "target"), list(product(KINDS, KINDS)))
def test_reading_one_kind_as_another_and_back_changes_nothing(
    process: Process, source: Kind, target: Kind
) -> None:
    t = real(0.21, 0.53, 0.77)
    output, x_t = (NUMBERS / "out").normal(3, 4, dtype=F64), (NUMBERS / "x").normal(3, 4, dtype=F64)
    there = Prediction.of(source, output, x_t, t, process).as_(target)
    back = Prediction.of(target, there, x_t, t, process).as_(source)
    torch.testing.assert_close(back, output, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_said_is_answered_in_the_same_words(kind: Kind) -> None:
    """Exactly, where computing it from the pair would round; and the pair agrees with it."""
    process, t = LinearVP(), torch.tensor([0.21, 0.53])
    output, x_t = (NUMBERS / "out").normal(2, 4), (NUMBERS / "x").normal(2, 4)
    pred = Prediction.of(kind, output, x_t, t, process)
    assert torch.equal(pred.as_(kind), output)
    from_pair = Prediction(x_t, t, pred.x0, pred.eps, process).as_(kind)
    torch.testing.assert_close(from_pair, output, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_each_row_is_what_its_name_says(process: Process) -> None:
    """The round trip uses the table twice, so a wrong row would pass it.

    Velocity: the derivative of α x0 + σ ε along the path. Score: the gradient of the density of
    x_t given x0. x0 and ε: themselves.
    """
    x0, eps, t = real(0.8), real(-1.3), real(0.3105).requires_grad_()
    path = process.alpha(t) * x0 + process.sigma(t) * eps
    (along_path,) = torch.autograd.grad(path.sum(), t)
    x_t = path.detach().requires_grad_()
    law = torch.distributions.Normal((process.alpha(t) * x0).detach(), process.sigma(t).detach())
    (score,) = torch.autograd.grad(law.log_prob(x_t).sum(), x_t)
    pair = Prediction(x_t.detach()[None], real(0.3105), x0[None], eps[None], process)
    rows: dict[Kind, Tensor] = {"x0": x0, "eps": eps, "velocity": along_path, "score": score}
    for kind, expected in rows.items():
        torch.testing.assert_close(pair.as_(kind)[0].detach(), expected)


def test_v_is_the_derivative_in_the_angle() -> None:
    """On VP, α = cos φ and σ = sin φ; v is d x_t/dφ, while the velocity is d x_t/dt."""
    process, x0, eps, t = LinearVP(), real(0.8), real(-1.3), real(0.3105)
    angle = torch.atan2(process.sigma(t), process.alpha(t)).requires_grad_()
    (expected,) = torch.autograd.grad((angle.cos() * x0 + angle.sin() * eps).sum(), angle)
    a, b = linear_form("v", process, t)
    torch.testing.assert_close(a * x0 + b * eps, expected)


def test_rectified_flow_reads_as_in_the_papers() -> None:
    """x0 = z − t v, ε = z + (1 − t) v, score = −(z − (1 − t) x0)/t²."""
    z, v, t = real(0.5, -1.0)[None], real(1.0, 0.5)[None], real(0.4)
    answer = Prediction.of("velocity", v, z, t, RectifiedFlow())
    torch.testing.assert_close(answer.x0, z - 0.4 * v)
    torch.testing.assert_close(answer.eps, z + 0.6 * v)
    torch.testing.assert_close(answer.as_("score"), -(z - 0.6 * (z - 0.4 * v)) / 0.16)


def test_a_velocity_is_determined_at_both_ends_of_rectified_flow() -> None:
    x, v = real(0.5, -1.0)[:, None], real(1.0, 0.5)[:, None]
    answer = Prediction.of("velocity", v, x, real(0.0, 1.0), RectifiedFlow())
    torch.testing.assert_close(answer.x0, torch.stack([x[0], x[1] - v[1]]))
    torch.testing.assert_close(answer.eps, torch.stack([x[0] + v[0], x[1]]))


@pytest.mark.parametrize("kind", ["x0", "eps"])
def test_an_answer_is_handed_back_to_the_last_bit(kind: Kind) -> None:
    output, x = (NUMBERS / "bits").normal(4, 3), (NUMBERS / "x").normal(4, 3)
    answer = Prediction.of(kind, output, x, torch.full((4,), 0.3), LinearVP())
    assert torch.equal(answer.x0 if kind == "x0" else answer.eps, output)


def test_times_have_one_value_per_sample() -> None:
    x = torch.zeros(4, 3, 2, 2)
    assert per_sample(torch.rand(4), x).shape == (4, 1, 1, 1)
    with pytest.raises(ValueError, match=r"one time per sample, shape \(4,\), got \(3,\)"):
        unwrap(per_sample)(torch.rand(3), x)


def test_an_unknown_kind_is_refused_by_name() -> None:
    kind: Any = "noise_pred"
    with pytest.raises(
        ValueError, match="unknown prediction kind 'noise_pred'; expected one of x0"
    ):
        unwrap(linear_form)(kind, RectifiedFlow(), real(0.5))
