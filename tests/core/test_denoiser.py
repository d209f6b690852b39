"""Networks seen through their process, and what is wrapped around them."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from scoreward.core.chain import draw, uniform
from scoreward.core.denoiser import (
    Cond,
    Counted,
    Guided,
    InBatches,
    InPrecision,
    NetworkDenoiser,
    Switched,
)
from scoreward.core.kernel import ddim
from scoreward.core.keys import Key
from scoreward.core.prediction import KINDS, Kind, Prediction
from scoreward.core.process import LinearVP, RectifiedFlow
from scoreward.core.rows import Rows
from tests.core.laws import F64, real


class Conditional(nn.Module):
    """Output c · x + t, in a type of its own choosing."""

    def __init__(self, dtype: torch.dtype = F64) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        return (cond[:, None] * x + t[:, None]).to(self.dtype)


X, T, COND = Key(("x",)).normal(3, 2, dtype=F64), real(0.2, 0.5, 0.8), real(0.5, -1.0, 2.0)


def nothing(cond: Cond) -> Cond:
    assert isinstance(cond, Tensor)
    return torch.zeros_like(cond)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reading_gives_back_the_output_as_its_kind(kind: Kind) -> None:
    answer = NetworkDenoiser(Conditional(), LinearVP(), kind)(X, T, COND)
    torch.testing.assert_close(answer.as_(kind), COND[:, None] * X + T[:, None])


def test_a_network_in_low_precision_is_read_in_the_precision_of_the_state() -> None:
    answer = NetworkDenoiser(Conditional(torch.bfloat16), RectifiedFlow())(
        X.float(), T.float(), COND
    )
    assert answer.x0.dtype == answer.eps.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_guidance_extrapolates_from_the_unconditional_answer_in_every_kind(
    kind: Kind, scale: float
) -> None:
    """[cfg] (6) with w = 1 for no guidance: u + w (c − u), by hand in the network's own kind."""
    base = NetworkDenoiser(Conditional(), LinearVP(), kind)
    guided = Guided(base, scale, nothing)(X, T, COND)
    with_cond, without = COND[:, None] * X + T[:, None], T[:, None].expand(3, 2)
    torch.testing.assert_close(guided.as_(kind), without + scale * (with_cond - without))
    torch.testing.assert_close(guided.x_t, X)
    torch.testing.assert_close(guided.t, T)


def test_guidance_is_one_call_and_counts_twice() -> None:
    calls: list[int] = []

    def listening(x: Tensor, t: Tensor, cond: Cond) -> Prediction:
        calls.append(len(x))
        return NetworkDenoiser(Conditional(), RectifiedFlow())(x, t, cond)

    counted = Counted(listening)
    Guided(counted, 2.0, nothing)(X, T, COND)
    assert calls == [6]
    assert counted.count == 6
    counted(X, T, COND)
    assert counted.count == 9


def test_counting_changes_no_answer() -> None:
    base: Callable[[Tensor, Tensor, Cond], Prediction] = NetworkDenoiser(
        Conditional(), RectifiedFlow()
    )
    assert torch.equal(Counted(base)(X, T, COND).x0, base(X, T, COND).x0)


@dataclass(frozen=True)
class Words(Rows):
    """A condition of several tensors, one of them absent."""

    weight: Tensor
    mask: Tensor | None = None


def test_guidance_takes_conditions_of_several_tensors() -> None:
    base = NetworkDenoiser(Conditional(), RectifiedFlow())

    def by_weight(x: Tensor, t: Tensor, cond: Cond) -> Prediction:
        assert isinstance(cond, Words)
        return base(x, t, cond.weight)

    def empty(cond: Cond) -> Cond:
        assert isinstance(cond, Words)
        return Words(torch.zeros_like(cond.weight))

    answer = Guided(by_weight, 2.0, empty)(X, T, Words(COND))
    torch.testing.assert_close(answer.x0, Guided(base, 2.0, nothing)(X, T, COND).x0)


def test_hybrid_inference_hands_over_after_the_first_steps() -> None:
    """[mix-grpo] (hybrid inference): of ten even steps the first eight begin above t = 0.2."""
    early, late = (Counted(NetworkDenoiser(Conditional(), RectifiedFlow())) for _ in range(2))
    sampler = uniform(ddim(), 10)
    at = sampler.times[8]
    keys = [Key(("k", i)) for i in range(3)]
    draw(sampler, Switched(early, late, at), X, keys, COND)
    assert (early.count, late.count) == (3 * 8, 3 * 2)


def test_asking_in_batches_changes_nothing_but_how_many_are_asked_at_once() -> None:
    sizes: list[int] = []

    def denoiser(x_t: Tensor, t: Tensor, cond: Cond) -> Prediction:
        sizes.append(len(x_t))
        assert isinstance(cond, Tensor)
        return Prediction.of("velocity", x_t * cond, x_t, t, RectifiedFlow())

    x, t, cond = torch.randn(7, 3), torch.linspace(0.1, 0.9, 7), torch.randn(7, 1)
    whole, parts = denoiser(x, t, cond), InBatches(denoiser, 3)(x, t, cond)
    assert sizes == [7, 3, 3, 1]
    assert torch.equal(whole.x0, parts.x0)
    assert torch.equal(whole.eps, parts.eps)
    InBatches(denoiser, 7)(x, t, cond)
    assert sizes[-1] == 7


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_a_network_computes_in_what_was_asked_for(kind: torch.dtype) -> None:
    layer = nn.Linear(2, 2)
    for asked, found in ((kind, kind), (None, torch.float32)):
        assert InPrecision(lambda x, t, cond: layer(x), asked)(X.float(), T, None).dtype == found
    assert not torch.is_autocast_enabled("cpu")


def test_moved_weights_are_seen_inside_an_autocast_that_somebody_else_opened() -> None:
    """Its memory of cast weights would answer with those before the update."""
    layer = nn.Linear(2, 2, bias=False)
    ask = InPrecision(lambda x, t, cond: layer(x), torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        before = ask(X.float(), T, None).detach()
        with torch.no_grad():
            layer.weight.mul_(-2)
        assert torch.equal(ask(X.float(), T, None), -2 * before)
