"""The guard of the velocity's size, on a network whose size is its only parameter."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from scoreward.core.denoiser import NetworkDenoiser
from scoreward.core.policy import DiffusionPolicy
from scoreward.objectives.samples.pairs import PairObjective, growth
from scoreward.objectives.samples.vgrpo import VGRPO
from tests.core.laws import F64, real
from tests.objectives.pairing import BARE, FLOW, KEY, policy, prepared

HELD = {"no_anchor": (VGRPO(clip=None), 0.0), "anchor": (VGRPO(clip=None, anchor=0.3), 0.3)}


class Sized(nn.Module):
    """v = size (x + 2t): the first model has size 1."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.size = nn.Parameter(real(size)[0])

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        return self.size * (x + 2 * t[:, None])


def sized(size: float) -> DiffusionPolicy:
    one = NetworkDenoiser(Sized(1.0), FLOW)
    return replace(policy(), current=NetworkDenoiser(Sized(size), FLOW), old=one, reference=one)


def without_advantage(objective: PairObjective, size: float) -> tuple[Tensor, dict[str, Tensor]]:
    using = sized(size)
    rows = prepared(objective, using)
    loss, metrics = objective.loss(replace(rows, advantage=0 * rows.advantage), using)
    assert isinstance(using.current, NetworkDenoiser)
    (rate,) = torch.autograd.grad(loss, list(using.current.network.parameters()))
    return rate, metrics | {"loss": loss.detach()}


@pytest.mark.parametrize("size", [1.05, 1.3])
def test_a_velocity_that_has_grown_costs_the_square_of_its_growth(size: float) -> None:
    """[norm-guard] (hinge): λ (s − 1)², slope 2λ (s − 1), for a network s times as large."""
    rate, metrics = without_advantage(VGRPO(clip=None, norm_guard=3.0), size)
    torch.testing.assert_close(metrics["norm/excess"], real((size - 1) ** 2)[0])
    torch.testing.assert_close(metrics["loss"], real(3 * (size - 1) ** 2)[0])
    torch.testing.assert_close(rate, real(6 * (size - 1))[0])


@pytest.mark.parametrize("size", [1.0, 0.7])
def test_a_velocity_that_has_not_grown_costs_nothing(size: float) -> None:
    """[norm-guard] (hinge): at the reference its slope is 0, so no first step is changed."""
    rate, metrics = without_advantage(VGRPO(clip=None, norm_guard=3.0), size)
    assert metrics["norm/excess"] < 1e-30
    assert rate.abs() < 1e-14


def test_growth_is_of_each_pair_over_all_its_dimensions() -> None:
    """Longer in one dimension and shorter in another may be no growth at all."""
    first = real(3.0, 4.0)[None, None]
    torch.testing.assert_close(growth(real(0.0, 5.0)[None, None], first), real(0.0)[None])
    torch.testing.assert_close(growth(real(6.0, 8.0)[None, None], first), real(1.0)[None])
    image = (KEY / "v").normal(2, 3, 4, 5, dtype=F64)
    factors = torch.tensor([[1.1, 0.9, 1.0], [1.2, 1.3, 2.0]], dtype=F64)
    torch.testing.assert_close(growth(factors[..., None, None] * image, image), factors - 1)


def test_pairs_that_have_shrunk_do_not_pay_for_others() -> None:
    """The hinge is taken pair by pair, then averaged."""
    using, objective = sized(1.0), VGRPO(clip=None, norm_guard=1.0)
    rows = prepared(objective, using)
    assert rows.reference is not None
    scale = torch.tensor([2.0, 0.5, 2.0, 0.5], dtype=F64)[:, None]  # growth −½, 1, −½, 1
    _, metrics = objective.loss(replace(rows, reference=scale * rows.reference), using)
    torch.testing.assert_close(metrics["norm/excess"], real(0.5)[0])


@pytest.mark.parametrize("name", list(BARE))
def test_every_method_takes_the_guard(name: str) -> None:
    using = sized(1.2)
    free, held = BARE[name], replace(BARE[name], norm_guard=5.0)
    losses = [o.loss(prepared(o, using), using)[0] for o in (free, held)]
    torch.testing.assert_close(losses[1] - losses[0], real(5 * 0.2**2)[0])


def test_the_reference_is_asked_when_the_guard_is_on() -> None:
    assert prepared(VGRPO(), sized(1.0)).reference is None
    assert prepared(VGRPO(norm_guard=0.1), sized(1.0)).reference is not None
