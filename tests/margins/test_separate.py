"""The losses outside the one objective: known values, gradients, batches, far logits."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from scoreward.losses import separate
from scoreward.losses.pairs import Pairs
from tests.margins.known import DIGITS, column, pairs, single, trained

Loss = Callable[[Pairs], Tensor]

# [sppo] (hard) [nca] (pair) [exo] (pair) [apo] (zero) [apo] (down) [bco] (pair) [discopop] (loss)
# [aot] (paired) [aot] (unpaired)
KNOWN: dict[str, tuple[Loss, tuple[float, float, float]]] = {
    "SPPO": (partial(separate.sppo, beta=0.1), (16.25, 113.0, 50.0)),
    "NCA": (partial(separate.nca, beta=0.1), (1.292011, 1.524386, 1.386294)),
    "EXO 0.1": (partial(separate.exo, beta=0.1, flip=0.1), (0.292412, 0.810196, 0.510826)),
    "EXO 0.001": (partial(separate.exo, beta=0.1, flip=1e-3), (2.021759, 3.637327, 2.761231)),
    "APO-zero": (partial(separate.apo_zero, beta=0.1), (0.888128, 1.124277, 1.0)),
    "APO-down": (partial(separate.apo_down, beta=0.1), (0.963803, 1.072625, 1.0)),
    "BCO": (partial(separate.bco, beta=0.1, shift=0.0), (1.175312, 1.652494, 1.386294)),
    "DiscoPOP": (partial(separate.discopop, beta=0.1), (0.637610, 0.974108, 0.846574)),
    "AOT paired": (partial(separate.aot_paired, beta=0.1), (0.974077, 0.620957, 0.554355)),
    "AOT unpaired": (partial(separate.aot_unpaired, beta=0.1), (0.718460, 0.693147, 0.693147)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_loss_is_known(name: str) -> None:
    loss, expected = KNOWN[name]
    torch.testing.assert_close(loss(pairs()), column(*expected), rtol=0, atol=DIGITS)
    close = loss(single())
    assert close.dtype == torch.float32
    torch.testing.assert_close(close.double(), column(*expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "mean"), [("AOT paired", 0.716463), ("AOT unpaired", 0.701585)])
def test_the_mean_over_sorted_batches_is_known(name: str, mean: float) -> None:
    assert KNOWN[name][0](pairs()).mean().item() == pytest.approx(mean, abs=DIGITS)


@pytest.mark.parametrize("name", ["AOT paired", "AOT unpaired"])
def test_sorted_batches_do_not_know_an_order(name: str) -> None:
    loss, order = KNOWN[name][0], torch.tensor([2, 0, 1])
    torch.testing.assert_close(loss(pairs()[order]), loss(pairs()))


@pytest.mark.parametrize("name", KNOWN)
def test_gradients_are_finite_differences(name: str) -> None:
    """Of the sum, for sorting mixes the pairs; away from ties."""
    loss, h, known = KNOWN[name][0], 1e-5, trained()
    known = replace(known, ref_w=column(-45, -118, -20.75))
    by_w, by_l = torch.autograd.grad(loss(known).sum(), [known.logp_w, known.logp_l])
    for field, slope in (("logp_w", by_w), ("logp_l", by_l)):
        for i in range(3):
            step = torch.zeros(3, dtype=torch.float64)
            step[i] = h
            value = getattr(known, field).detach()
            up, down = (replace(known, **{field: value + s}) for s in (step, -step))
            difference = (loss(up).sum() - loss(down).sum()).item() / (2 * h)
            assert slope[i].item() == pytest.approx(difference, rel=1e-6, abs=1e-8)


FAR = st.floats(-1e4, 1e4, width=32)


@pytest.mark.parametrize("name", KNOWN)
@given(FAR, FAR)
def test_far_log_ratios_give_finite_losses_and_gradients(name: str, a: float, b: float) -> None:
    leaves = [torch.tensor([value]).requires_grad_() for value in (a, b)]
    one, zero = torch.ones(1, dtype=torch.long), torch.zeros(1)
    value = KNOWN[name][0](Pairs(leaves[0], leaves[1], one, one, zero, zero))
    slopes = torch.autograd.grad(value.sum(), leaves)
    assert value.isfinite().all()
    assert all(slope.isfinite().all() for slope in slopes)


def test_the_shift_moves_both_sides_of_bco() -> None:
    a, b = np.array([3.0, -2.0, 0.0]), np.array([-1.5, 3.0, 0.0])
    expected = np.logaddexp(0, 0.3 - 0.1 * a) + np.logaddexp(0, 0.1 * b - 0.3)
    found = separate.bco(pairs(), 0.1, 0.3)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_the_divergence_of_exo_vanishes_where_the_policy_agrees_with_the_labels() -> None:
    odds = torch.tensor([0.9 / 0.1], dtype=torch.float64).log()
    one, zero = torch.ones(1, dtype=torch.long), torch.zeros(1, dtype=torch.float64)
    agreed = Pairs(odds, zero, one, one, zero, zero)
    assert separate.exo(agreed, 1.0, 0.1).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_exo_needs_labels_that_may_be_wrong(flip: float) -> None:
    with pytest.raises(ValueError, match=r"errors within \(0, 1\), got flip="):
        separate.exo(pairs(), 0.1, flip)


@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_discopop_needs_a_small_temperature(tau: float) -> None:
    with pytest.raises(ValueError, match=r"tau within \(0, 1\), got"):
        separate.discopop(pairs(), 0.1, tau)


def examples() -> tuple[Tensor, Tensor]:
    a, b = pairs().log_ratios()
    return torch.cat([a, b]), torch.tensor([True] * 3 + [False] * 3)


@pytest.mark.parametrize(
    ("baseline", "weight", "up", "down", "mean"),
    [
        (0.0, 1.0, (0.425557, 0.549834, 0.5), (0.462570, 0.574443, 0.5), 0.502067),
        (0.5, 1.0, (0.437823, 0.562177, 0.512497), (0.450166, 0.562177, 0.487503), 0.502057),
    ],
)
def test_kto_is_known(baseline: float, weight: float, up: tuple, down: tuple, mean: float) -> None:
    """[kto] (loss)"""
    ratio, desirable = examples()
    found = separate.kto(ratio, desirable, 0.1, torch.tensor(baseline).double(), weight)
    torch.testing.assert_close(found, column(*up, *down), rtol=0, atol=DIGITS)
    assert found.mean().item() == pytest.approx(mean, abs=DIGITS)


def test_kto_weighs_its_two_kinds() -> None:
    (ratio, desirable), half = examples(), torch.tensor(0.5).double()
    plain = separate.kto(ratio, desirable, 0.1, half)
    found = separate.kto(ratio, desirable, 0.1, half, 1.33, 0.7)
    torch.testing.assert_close(found, plain * column(1.33, 1.33, 1.33, 0.7, 0.7, 0.7))
    mean = separate.kto(ratio, desirable, 0.1, half, 1.33).mean().item()
    assert mean == pytest.approx(0.585244, abs=DIGITS)


def test_the_baseline_is_a_mean_that_is_never_negative() -> None:
    """[kto] (baseline)"""
    assert separate.kto_baseline(column(1, 2, -0.6)).item() == pytest.approx(0.8)
    assert separate.kto_baseline(column(1, -2)).item() == 0
    assert not separate.kto_baseline(column(1, 2).requires_grad_()).requires_grad


def test_no_gradient_reaches_the_baseline() -> None:
    ratio, desirable = examples()
    baseline = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    separate.kto(ratio.requires_grad_(), desirable, 0.1, baseline).sum().backward()
    assert baseline.grad is None
    up = torch.sigmoid(0.1 * (ratio.detach() - 0.5))
    sign = column(-1, -1, -1, 1, 1, 1)
    torch.testing.assert_close(ratio.grad, sign * 0.1 * up * (1 - up))


@given(FAR, FAR)
def test_kto_is_finite_far_out(ratio: float, baseline: float) -> None:
    u = torch.tensor([ratio, ratio], requires_grad=True)
    loss = separate.kto(u, torch.tensor([True, False]), 1.0, torch.tensor(baseline))
    assert ((loss >= 0) & (loss <= 1)).all()
    assert torch.autograd.grad(loss.sum(), u)[0].isfinite().all()
