"""InPO, SmPO and Diffusion-SDPO exactly as released: published numbers, what differs from ours."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from scoreward.core.denoiser import Cond
from scoreward.core.prediction import Prediction
from scoreward.core.process import DiscreteVP, LinearVP
from scoreward.losses.diffusion_tensors import Predictions, loser_scale, released_loser_scale
from scoreward.objectives.pictures.diffusion_dpo import DiffusionDPO
from scoreward.objectives.pictures.inpo import InPO
from scoreward.objectives.pictures.inversion import Released, inverted, noise_inside
from scoreward.objectives.pictures.smpo import SmPO
from tests.core.laws import F64, real
from tests.golden.load import golden
from tests.objectives.pairing import derivative, policy
from tests.objectives.preferring import preferred, prepared

N, SD = golden("released_preferences"), DiscreteVP()
ASKED: list[tuple[int, int]] = []  # label and rows of each call


def network(x: Tensor, t: Tensor, cond: Cond) -> Prediction:
    """ε = 0.4 x + 0.1 label/1000 − 0.05."""
    label = t[:, None].double() * SD.steps - 1
    ASKED.append((round(float(label[0])), len(x)))
    return Prediction.of("eps", 0.4 * x + 0.1 * label / 1000 - 0.05, x, t, SD)


def times(*labels: int) -> Tensor:
    return real(*[SD.time_of(label) for label in labels])


def walked(walk: Released, *labels: int) -> tuple[Tensor, Tensor]:
    """The last state and the noise read off it, of the published picture at each of the labels."""
    ASKED.clear()
    x0, t = real(*N["x0"]).expand(len(labels), 3), times(*labels)
    x = walk(x0, t, None, network, SD, lambda label: real(*N["noise"][str(label)]).expand_as(x0))
    return x, noise_inside(x, x0, t, SD)


def near(actual: Tensor, expected: object) -> None:
    wanted = torch.as_tensor(expected, dtype=F64).expand_as(actual)
    torch.testing.assert_close(actual, wanted, rtol=0, atol=1e-9)


CASES = [
    (Released(10), N["inpo"]["plain"], [1, 101, 201]),
    (Released(10, mix=0.1), N["inpo"]["mixed"], [1, 101, 201]),
    (Released(5, averaged=True), N["smpo"], [1, 1, 201, 201]),
]


@pytest.mark.parametrize(("walk", "expected", "labels"), CASES, ids=["plain", "mixed", "smpo"])
def test_released_inversions(walk: Released, expected: dict[str, Any], labels: list[int]) -> None:
    """[inpo] (code), [smpo] (code): asked at the label of arrival, read off at the own label."""
    x, eps = walked(walk, N["label"])
    near(x[0], expected["x"])
    near(eps[0], expected["eps"])
    assert [label for label, _ in ASKED] == labels


def test_released_variances() -> None:
    """[inpo] (code)"""
    walk = Released(10, mix=0.1)
    found = [walk.spread(label, walk.labels(SD), SD) ** 2 for label in (1, 101, 201)]
    near(real(*found), N["variance"])
    for label, bar in N["bar"].items():
        near(SD.alpha(times(int(label))) ** 2, [bar])


def test_pairs_stop_at_the_last_label_below_their_own() -> None:
    """Each alone what it is together; at label 1 and below, the picture itself."""
    walk, labels = Released(10, mix=0.1), (250, 1, 0, 201, 202)
    together, _ = walked(walk, *labels)
    assert ASKED == [(1, 3), (101, 3), (201, 2)]
    for row, label in enumerate(labels):
        near(together[row], walked(walk, label)[0][0])
    near(together[1], N["x0"])
    near(together[2], N["x0"])


def test_the_release_cannot_run_above_label_901() -> None:
    """It reads its table at label 1001 of 1000."""
    noise = real(0.1, -0.2, 0.3)[None]

    def last(walk: Released, label: int) -> Tensor:
        x0 = real(*N["x0"])[None]
        return walk(x0, times(label), None, network, SD, lambda label: noise)

    assert torch.isfinite(last(Released(10, 0.1), 901)).all()
    with pytest.raises(ValueError, match=r"above label 901.*at 1001, past its 1000 entries"):
        last(Released(10, 0.1), 902)
    assert torch.isfinite(last(Released(10), 999)).all()  # without noise nothing is read
    bar = (SD.alpha(times(901, 999)) ** 2).tolist()
    std = ((1 - bar[0]) / (1 - bar[1]) * (1 - bar[1] / bar[0])) ** 0.5
    assert torch.isfinite(last(Released(10, 0.1, past="last"), 950)).all()
    ours = Released(10, 0.1, past="last")
    assert ours.spread(901, ours.labels(SD), SD) == pytest.approx(std, rel=1e-12)


def test_more_labels_come_to_ours() -> None:
    """Both are DDIM inversion, so that they meet as steps grow; at ten they do not."""
    x0, t = real(*N["x0"])[None], times(800)
    gaps = []
    for steps in (10, 100, 1000):
        theirs = noise_inside(Released(steps)(x0, t, None, network, SD, lambda _: x0), x0, t, SD)
        ours = noise_inside(inverted(x0, t, None, network, SD, steps), x0, t, SD)
        gaps.append(float((theirs - ours).abs().max()))
    assert gaps[0] > 0.01
    assert gaps[2] < 0.1 * gaps[0]


@pytest.mark.parametrize(
    "objective", [InPO(as_released=True, past_table="last"), SmPO(as_released=True)]
)
def test_as_released_is_a_switch(objective: InPO | SmPO) -> None:
    """The released walk's noise; winner and loser have their own."""
    using = replace(policy(0.3, -0.4), process=SD, kind="eps", old=network)
    rows = prepared(objective, using)
    ours = prepared(replace(objective, as_released=False), using)
    assert not torch.allclose(rows.winner.eps, ours.winner.eps)
    for side in (rows.winner, rows.loser):
        label = (rows.t * 1000 - 1).round()
        below = label <= 1
        x_t = SD.alpha(rows.t)[:, None] * side.x0 + SD.sigma(rows.t)[:, None] * side.eps
        torch.testing.assert_close(side.x_t, x_t)
        assert not below.all()
    plain = InPO(as_released=True, past_table="last", mix=0.0)
    if isinstance(objective, InPO):
        added = [
            getattr(rows, name).x_t - getattr(prepared(plain, using), name).x_t
            for name in ("winner", "loser")
        ]
        assert not torch.allclose(added[0], added[1])
    same = prepared(objective, using)
    torch.testing.assert_close(same.winner.eps, rows.winner.eps, rtol=0, atol=0)


# Diffusion-SDPO


def pairs() -> Predictions:
    winner, loser = (torch.tensor(N["sdpo"][k], dtype=F64) for k in ("winner", "loser"))
    zero = torch.zeros_like(winner)
    return Predictions(winner, loser, zero, zero, zero, zero)


def test_released_scale() -> None:
    """[sdpo] (code): one λ for the batch; ours has one for each pair."""
    mu = N["sdpo"]["mu"]
    near(released_loser_scale(pairs(), mu), [N["sdpo"]["together"]] * 2)
    near(loser_scale(pairs(), mu), N["sdpo"]["each"])
    away = replace(pairs(), loser=-pairs().winner)
    near(released_loser_scale(away, mu), [1.0, 1.0])
    one = Predictions(*[v[:1] for v in vars(pairs()).values()])
    near(released_loser_scale(one, mu, floor=0.0), loser_scale(one, mu))


def test_the_floor_of_the_release_is_felt() -> None:
    """Eight pairs of SD 1.5, mean product 0.1: 1e-9 against 4·0.1/N, relative 3.3e-4."""
    size = 4 * 64 * 64
    winner = torch.full((8, size), 0.1**0.5, dtype=F64)
    both = Predictions(winner, winner, *[torch.zeros_like(winner)] * 4)
    off = 1 - released_loser_scale(both)[0] / released_loser_scale(both, floor=0.0)[0]
    assert off.item() == pytest.approx(1e-9 / (4 * 0.1 / (8 * size) + 1e-9), rel=1e-6)
    assert 3.2e-4 < off.item() < 3.4e-4


def test_the_switch_has_one_scale_for_a_micro_batch() -> None:
    using, objective = policy(0.2, 0.2), DiffusionDPO(beta=3.0, safeguard=0.99, as_released=True)
    rows = prepared(objective, using)
    loss, told = objective.loss(rows, using)
    ours = replace(objective, as_released=False)
    assert loss.item() == pytest.approx(ours.loss(rows, using)[0].item(), rel=1e-12)
    assert not torch.allclose(derivative(loss, using), derivative(ours.loss(rows, using)[0], using))
    assert 0 < told["safeguard/scale"].item() < 1
    first = objective.loss(rows[:1], using)[1]["safeguard/scale"]
    assert first.item() == pytest.approx(
        ours.loss(rows[:1], using)[1]["safeguard/scale"].item(), rel=1e-6
    )


# Sentences


def test_what_the_release_does_not_know_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="DiffusionDPO has neither here; set `safeguard`"):
        DiffusionDPO(as_released=True)
    with pytest.raises(ValueError, match=r"averages two answers.*got 3 and 5"):
        SmPO(as_released=True, passes=3)
    for process in (LinearVP(), policy().process):
        using = replace(policy(), process=process)
        with pytest.raises(ValueError, match="walks over the labels of a table"):
            prepared(InPO(as_released=True), using, preferred())
