"""Times of pairs, and what methods on pairs refuse."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoreward.core.denoiser import Cond
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.prediction import Prediction
from scoreward.core.process import DiscreteVP, LinearVP, RectifiedFlow
from scoreward.losses.diffusion import AutomaticBeta
from scoreward.objectives.pictures.diffusion_dpo import DiffusionDPO
from scoreward.objectives.pictures.diffusion_kto import DiffusionKTO
from scoreward.objectives.pictures.diffusion_rainbow_po import DiffusionRainbowPO
from scoreward.objectives.pictures.flow_dpo import FlowDPO
from scoreward.objectives.pictures.inpo import InPO
from scoreward.objectives.pictures.mapo import MaPO
from scoreward.objectives.pictures.pnapo import PNAPO
from scoreward.objectives.pictures.rows import PreferenceRows, TimeLaw
from scoreward.objectives.pictures.smpo import SmPO
from tests.core.laws import real
from tests.objectives.preferring import KEY, policy, preferred, prepared

FAR = (0.3, -0.4)  # shift of the network and of the reference


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


# Times


def test_times_follow_their_law() -> None:
    keys = [KEY / "law" / i for i in range(4000)]

    def drawn(law: TimeLaw, process: object) -> Tensor:
        return real(*(law.draw(k, process) for k in keys))  # pyright: ignore

    flow = drawn(TimeLaw(), RectifiedFlow())
    logit = flow.log() - (-flow).log1p()
    assert abs(float(logit.mean())) < 5 / 4000**0.5
    assert abs(float(logit.std()) - 1) < 0.06
    steps = drawn(TimeLaw(), DiscreteVP(steps=50)) * 50
    close(steps, steps.round())
    assert steps.round().unique().tolist() == [float(k) for k in range(1, 51)]
    plain = drawn(TimeLaw(law="uniform"), LinearVP())
    assert abs(float(plain.mean()) - 0.5) < 5 * 12**-0.5 / 4000**0.5
    assert float(plain.min()) > 0
    shifted = drawn(TimeLaw(law="uniform", shift=3.0), LinearVP())
    close(shifted, 3 * plain / (1 + 2 * plain))
    assert drawn(TimeLaw(), LinearVP()).unique().numel() > 900


# Sentences


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: DiffusionDPO(beta=0.0), "`beta` must be above 0, got 0.0"),
        (lambda: DiffusionDPO(safeguard=1.5), r"`safeguard` must lie in \[0, 1\], got 1.5"),
        (lambda: DiffusionDPO(link="ipo", automatic=AutomaticBeta()), "made for the logistic link"),
        (lambda: InPO(inversion=0), "at least 1 step of inversion"),
        (lambda: PNAPO(total=0), "`total` must be at least 1 round"),
        (lambda: SmPO(low=1.0, high=0.0), "expected low < high"),
        (lambda: DiffusionRainbowPO(alpha=1.2), "`alpha` mixes in the reference"),
        (lambda: DiffusionRainbowPO(span=0.0), "`span` is the range of the scores"),
        (lambda: DiffusionKTO(desirable=1.0), r"`desirable` inside \(0, 1\)"),
        (lambda: DiffusionKTO(share=0.0), r"`share` inside \(0, 1\)"),
        (lambda: TimeLaw(shift=0.0), "`std` and `shift` of times must be above 0"),
    ],
)
def test_settings_are_refused_in_a_sentence(make: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()  # pyright: ignore


def test_data_that_a_method_cannot_use_is_refused_in_a_sentence() -> None:
    bare = replace(preferred(), gap=None, noise=None)
    with pytest.raises(ValueError, match="weighs pairs by the gap of their scores"):
        prepared(SmPO(inversion=0), policy(), bare)
    with pytest.raises(ValueError, match="needs pairs that know the noise"):
        prepared(PNAPO(), policy(), bare)
    other = replace(policy(), process=LinearVP(), kind="eps")
    with pytest.raises(ValueError, match="predicts eps of LinearVP; use Diffusion-DPO"):
        prepared(FlowDPO(), other)


def test_methods_without_a_reference_never_ask_it() -> None:
    def refuse(x_t: Tensor, t: Tensor, cond: Cond) -> Prediction:
        raise AssertionError("asked the reference")

    using: DiffusionPolicy = replace(policy(*FAR), reference=refuse)
    rows: PreferenceRows = prepared(MaPO(), using)
    loss, told = MaPO().loss(rows, using)
    assert loss > 0
    assert {"error/winner", "error/loser", "error/accuracy"} == set(told)
