"""Snapshots of a network: copied, averaged, swapped in and out, and never trained through."""

import pytest
import torch
from torch import Tensor, nn

from scoreward.core.denoiser import Cond, NetworkDenoiser
from scoreward.core.prediction import Prediction
from scoreward.core.process import RectifiedFlow
from scoreward.models.weights import Snapshot, Weights


class Scale(nn.Module):
    """v = a x, with a frozen parameter beside the trained one."""

    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a))
        self.frozen = nn.Parameter(torch.tensor(9.0), requires_grad=False)

    def forward(self, x: Tensor, t: Tensor, cond: None) -> Tensor:
        return self.a * x


def trained(a: float) -> tuple[Scale, Weights]:
    network = Scale(a)
    return network, Weights(network)


def move(network: Scale, weights: Weights, a: float) -> None:
    """As an optimiser does: in place, then `stepped`."""
    with torch.no_grad():
        network.a.copy_(torch.tensor(a))
    weights.stepped()


def value(weights: Weights, name: str) -> float:
    return weights.snapshot(name)["a"].item()


def test_only_trainable_parameters_are_kept() -> None:
    _, weights = trained(1.0)
    weights.commit("old")
    assert list(weights.parameters) == list(weights.snapshot("old")) == ["a"]


def test_a_snapshot_stays_where_it_was_taken() -> None:
    network, weights = trained(1.0)
    weights.commit("old")
    move(network, weights, 5.0)
    assert (value(weights, "old"), network.a.item()) == (1.0, 5.0)
    weights.commit("old")
    assert value(weights, "old") == 5.0


def test_an_average_keeps_the_share_of_its_decay() -> None:
    """snapshot ← 0.75 snapshot + 0.25 live; the first commit is a copy whatever the decay."""
    network, weights = trained(1.0)
    weights.commit("ema", decay=0.75)
    assert value(weights, "ema") == 1.0
    move(network, weights, 5.0)
    weights.commit("ema", decay=0.75)
    assert value(weights, "ema") == 0.75 * 1.0 + 0.25 * 5.0
    assert network.a.item() == 5.0


def test_a_reading_through_a_snapshot_uses_its_weights_and_puts_the_live_ones_back() -> None:
    network, weights = trained(1.0)
    weights.commit("old")
    move(network, weights, 5.0)
    denoiser = NetworkDenoiser(network, RectifiedFlow())
    x, t = torch.ones(2, 3), torch.full((2,), 0.5)
    parameter = network.a
    assert Snapshot(denoiser, weights, "old")(x, t, None).as_("velocity")[0, 0].item() == 1.0
    assert network.a is parameter
    assert denoiser(x, t, None).as_("velocity")[0, 0].item() == 5.0


def test_a_snapshot_gives_no_gradients_and_disturbs_none() -> None:
    """Reading through one between forward and backward leaves the gradient as it was."""
    network, weights = trained(1.0)
    weights.commit("old")
    move(network, weights, 5.0)
    denoiser = NetworkDenoiser(network, RectifiedFlow())
    x, t = torch.ones(1, 3), torch.full((1,), 0.5)
    loss = denoiser(x, t, None).as_("velocity").square().sum()
    assert not Snapshot(denoiser, weights, "old")(x, t, None).x0.requires_grad
    loss.backward()
    assert network.a.grad is not None
    assert network.a.grad.item() == pytest.approx(2 * 5.0 * 3)


def test_the_live_weights_come_back_after_a_failure() -> None:
    network, weights = trained(1.0)
    weights.commit("old")
    move(network, weights, 5.0)
    seen: list[float] = []

    def broken(x: Tensor, t: Tensor, cond: Cond) -> Prediction:
        seen.append(network.a.item())
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        Snapshot(broken, weights, "old")(torch.ones(1, 3), torch.ones(1), None)
    assert (seen, network.a.item()) == ([1.0], 5.0)


def test_a_snapshot_is_live_until_the_next_step() -> None:
    network, weights = trained(1.0)
    assert not weights.is_live("old")
    weights.commit("old")
    assert weights.is_live("old")
    move(network, weights, 5.0)
    assert not weights.is_live("old")


def test_an_average_is_never_taken_for_the_live_weights() -> None:
    network, weights = trained(1.0)
    weights.commit("ema")
    move(network, weights, 5.0)
    weights.commit("ema", decay=0.5)
    assert not weights.is_live("ema")
    with weights.using("ema"):
        assert network.a.item() == 3.0


def test_inside_another_snapshot_nothing_is_live() -> None:
    """A snapshot equal to the live weights must be swapped in all the same."""
    network, weights = trained(1.0)
    weights.commit("reference")
    move(network, weights, 5.0)
    weights.commit("old")
    with weights.using("reference"):
        assert network.a.item() == 1.0
        with weights.using("old"):
            assert network.a.item() == 5.0
        assert network.a.item() == 1.0
    assert network.a.item() == 5.0
    assert weights.is_live("old")


def test_stored_snapshots_are_put_back_apart_from_the_live_weights() -> None:
    network, weights = trained(1.0)
    weights.commit("old")
    stored = {"a": torch.tensor(7.0, dtype=torch.float64)}
    weights.restore("old", stored)
    assert value(weights, "old") == 7.0
    assert weights.snapshot("old")["a"].dtype == torch.float32
    assert not weights.is_live("old")
    weights.load({"a": torch.tensor(2.0)})
    assert network.a.item() == 2.0
    assert value(weights, "old") == 7.0


def test_loading_ends_the_life_of_every_snapshot() -> None:
    _, weights = trained(1.0)
    weights.commit("old")
    weights.load({"a": torch.tensor(2.0)})
    assert not weights.is_live("old")


def test_what_is_missing_is_named() -> None:
    network, weights = trained(1.0)
    with pytest.raises(ValueError, match="no snapshot 'old'; have none"):
        weights.snapshot("old")
    weights.commit("reference")
    with pytest.raises(ValueError, match="no snapshot 'old'; have reference"):
        weights.snapshot("old")
    network.requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameters; unfreeze some or add LoRA"):
        Weights(network)
