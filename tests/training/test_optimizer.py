"""AdamW's settings, schedule and weight average."""

from math import cos, pi

import pytest
import torch
from torch import nn

from scoreward.training.optimizer import Optimizer, updates_made
from tests.golden.load import golden


def stepped(settings: Optimizer, updates: int) -> tuple[torch.optim.Optimizer, list[float]]:
    """Learning rates that `updates` steps used."""
    weight = nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer, used = settings.build([weight]), []
    for _ in range(updates):
        weight.grad = torch.ones_like(weight)
        settings.schedule(optimizer)
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
    return optimizer, used


def test_the_learning_rate_is_constant_by_default() -> None:
    assert stepped(Optimizer(lr=0.5), 3)[1] == [0.5, 0.5, 0.5]


def test_warm_up_rises_linearly_and_reaches_the_rate_at_its_last_update() -> None:
    assert stepped(Optimizer(lr=0.8, warmup=4), 6)[1] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 0.8, 0.8]
    )


def test_linear_decay_reaches_zero_after_its_total() -> None:
    used = stepped(Optimizer(lr=1.0, decay="linear", total=4), 6)[1]
    assert used == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0])


def test_cosine_decay_is_half_a_cosine() -> None:
    used = stepped(Optimizer(lr=1.0, decay="cosine", total=4), 5)[1]
    assert used == pytest.approx([(1 + cos(pi * k / 4)) / 2 for k in range(5)])


def test_warm_up_and_decay_multiply() -> None:
    used = stepped(Optimizer(lr=1.0, warmup=2, decay="linear", total=4), 2)[1]
    assert used == pytest.approx([0.5 * 1, 1 * 0.75])


def test_a_decay_ends_with_the_budget_unless_it_says_otherwise() -> None:
    assert Optimizer(decay="linear").planned(10, 3).total == 30
    assert Optimizer(decay="linear", total=7).planned(10, 3).total == 7
    assert Optimizer().planned(None, 3).total is None


def test_a_decay_without_an_end_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^a cosine decay must know where it ends: give the budget"
    ):
        Optimizer(decay="cosine").planned(None, 3)


def test_updates_are_counted_by_the_optimiser_itself() -> None:
    optimizer, _ = stepped(Optimizer(), 0)
    assert updates_made(optimizer) == 0
    optimizer, _ = stepped(Optimizer(), 3)
    assert updates_made(optimizer) == 3


def test_the_average_starts_fast_and_ends_at_its_decay() -> None:
    """min((1 + k)/(10 + k), ema) after k updates.  [flow-grpo] (EMA of the code)"""
    settings = Optimizer(ema=0.5)
    decays = [settings.ema_decay(stepped(settings, k)[0]) for k in (1, 2, 4, 100)]
    assert decays == pytest.approx([2 / 11, 3 / 12, 5 / 14, 0.5])


def averaged(settings: Optimizer, updates: int) -> float:
    """The average of weights that are k after k updates, from 0."""
    average, optimizer = 0.0, settings.build([weight := nn.Parameter(torch.ones(1))])
    for k in range(1, updates + 1):
        weight.grad = torch.ones(1)
        optimizer.step()
        decay = settings.ema_decay(optimizer)
        average = decay * average + (1 - decay) * k
    return average


def test_published_average_of_flow_grpo() -> None:
    """[flow-grpo] (EMA of the code): every eighth update, once for each of two micro-batches."""
    settings = Optimizer(ema=0.9, ema_every=8, ema_steps=2)
    for updates, expected in golden("published")["average"].items():
        assert averaged(settings, int(updates)) == pytest.approx(expected, abs=1e-9)
    assert averaged(Optimizer(), 24) > 18 > averaged(settings, 24) > averaged(settings, 8)


def test_between_its_steps_the_average_stays_where_it_is() -> None:
    settings = Optimizer(ema_every=3)
    decays = [settings.ema_decay(stepped(settings, k)[0]) for k in range(1, 7)]
    assert [d == 1 for d in decays] == [True, False, True, True, False, True]
    never = Optimizer(ema=0.0, ema_every=3)  # no average is the live weights all the time
    assert [never.ema_decay(stepped(never, k)[0]) for k in (1, 2)] == [0.0, 0.0]


def test_no_average_is_the_live_weights() -> None:
    settings = Optimizer(ema=0.0)
    assert settings.ema_decay(stepped(settings, 5)[0]) == 0.0


def test_the_first_step_is_adamws() -> None:
    """Adam moves by lr g/(|g| + δ) at first; decoupled decay multiplies by 1 − lr λ before."""
    weight = nn.Parameter(torch.tensor([2.0, -3.0], dtype=torch.float64))
    optimizer = Optimizer(lr=0.1, weight_decay=0.5).build([weight])
    weight.grad = torch.tensor([1e-3, -7.0], dtype=torch.float64)
    optimizer.step()
    expected = torch.tensor([2.0 * 0.95 - 0.1, -3.0 * 0.95 + 0.1], dtype=torch.float64)
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lr": 0.0}, "`lr` must be positive, got 0.0"),
        ({"lr": float("nan")}, "`lr` must be positive, got nan"),
        ({"ema": 1.0}, r"`ema` must be in \[0, 1\), got 1.0"),
        ({"ema_every": 0}, "`ema_every` and `ema_steps` must be at least 1, got 0 and 1"),
        ({"ema_steps": 0}, "`ema_every` and `ema_steps` must be at least 1, got 1 and 0"),
        ({"ema": -0.1}, r"`ema` must be in \[0, 1\), got -0.1"),
    ],
)
def test_bad_settings_are_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"^{sentence}$"):
        Optimizer(**changes)


def test_a_decay_by_evaluations_follows_the_spent_budget() -> None:
    settings = Optimizer(lr=2.0, decay="linear")
    assert settings.planned(None, 3, counted=True) is settings
    assert settings.factor(50, spent=0.25) == pytest.approx(0.75)
    assert Optimizer(decay="linear", total=10).factor(5, spent=0.9) == pytest.approx(0.5)
    assert Optimizer(decay="linear").planned(10, 3, counted=True).total == 30
