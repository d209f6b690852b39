"""Every published setting against its known losses, gradients, corners and the best policy."""

from collections.abc import Callable
from dataclasses import replace
from math import log

import pytest
import torch
from torch import Tensor

from scoreward.losses import methods as m
from scoreward.losses.language import PreferenceLoss, dispersion_norm, mean_entropy, metrics
from scoreward.losses.pairs import Pairs
from tests.margins.known import DIGITS, column, pairs, single, trained

Row = tuple[PreferenceLoss, tuple[float, float, float]]

RAW = 1.0  # φ = −log H̄ without a factor
WITH_REFERENCE: dict[str, Row] = {
    "DPO": (m.DPO(0.1).loss(), (0.493249, 0.974077, 0.693147)),
    "cDPO": (m.ConservativeDPO(0.1, 0.1).loss(), (0.538249, 0.924077, 0.693147)),
    "robust DPO": (m.RobustDPO(0.1, 0.1).loss(), (0.436999, 1.036577, 0.693147)),
    "LN-DPO": (m.LNDPO(10).loss(), (0.233963, 1.205865, 0.693147)),
    "IPO": (m.IPO(0.1).loss(), (0.25, 100.0, 25.0)),
    "IPO rescaled": (m.IPORescaled(0.1).loss(), (0.0025, 1.0, 0.25)),
    "IPO per token": (m.IPOPerToken(0.1).loss(), (23.684444, 25.857225, 25.0)),
    "hinge": (m.HingeDPO(0.1).loss(), (0.55, 1.5, 1.0)),
    "RSO": (m.RSO(0.1, "hinge").loss(), (0.55, 1.5, 1.0)),
    "R-DPO plus": (m.RDPO(0.1, 0.02).loss(), (0.620957, 0.644397, 0.854355)),
    "R-DPO minus": (m.RDPO(0.1, 0.02, sign=-1).loss(), (0.386871, 1.387335, 0.554355)),
    "ODPO log": (m.ODPO(0.1).loss(), (0.031384, 0.016353, 0.139762)),
    "ODPO identity": (m.ODPO(0.1, growth="identity").loss(), (0.513015, 0.980313, 0.770957)),
    "Mallows raw": (m.MallowsDPO(0.1, RAW).loss(), (0.230904, 1.357574, 0.693147)),
    "Mallows": (m.MallowsDPO(0.1).loss(), (0.516660, 0.858635, 0.693147)),
    "DPOP": (m.DPOP(0.1, 5).loss(), (0.493249, 1.701413, 0.693147)),
    "Jensen-Shannon": (m.FDPO(0.1, "js").loss(), (0.613917, 0.802454, 0.693147)),
    "forward KL": (m.FDPO(0.1, "forward_kl").loss(), (0.495906, 1.125983, 0.693147)),
    "alpha": (m.FDPO(0.1, "alpha", 0.5).loss(), (0.521588, 0.973474, 0.693147)),
}
# [dpo] (loss) [cdpo] (loss) [robust-dpo] (loss) [rainbow-po] (LN-DPO) [ipo] (loss)
# [ipo] (per token)
# [rso] (hinge) [rso] (loss) [r-dpo] (loss) [r-dpo] (margin) [odpo] (loss) [odpo] (offset)
# [mallows-po] (DPO) [mallows-po] (dispersion) [dpop] (loss) [dpop] (penalty) [f-dpo] (loss)
# [f-dpo] (Jensen-Shannon) [f-dpo] (forward KL) [f-dpo] (alpha)

WITHOUT_REFERENCE: dict[str, Row] = {
    "SLiC": (m.SLiC(1, 0.1).loss(), (4.2, 37.0, 2.025)),
    "SimPO": (m.SimPO().loss(), (4.018150, 0.263282, 7.375627)),
    "SimPO 2.5": (m.SimPO(2.5, 1.375).loss(), (1.804745, 0.868793, 2.550045)),
    "AlphaPO": (m.AlphaPO(0.25, 2.5, 1.375).loss(), (1.889278, 0.582168, 3.005577)),
    "CPO": (m.CPO(0.1, 0, per_token=False).loss(), (0.175674, 2.486836, 0.230509)),
    "CPO summed": (m.CPO(0.1, 1, per_token=False).loss(), (42.175674, 122.486836, 20.480509)),
    "CPO token": (m.CPO(0.1, 1, per_token=True).loss(), (1.575674, 3.986836, 1.918009)),
    "ORPO": (m.ORPO(0.1).loss(), (1.476294, 1.546883, 1.789356)),
    "ORPO penalty": (replace(m.ORPO(0.1).loss(), sft=0.0), (0.076294, 0.046883, 0.101856)),
}
# [slic] (loss) [simpo] (loss) [simpo] (margin) [alpha-po] (loss) [alpha-po] (reward)
# [cpo] (loss) [orpo] (loss) [orpo] (odds)

SUMMED = m.RainbowPO(0.1, length_exponent=0).loss()
SQUARE = m.RainbowPO(1, 0.5, 0.3, link="square").loss()
SQUARED_HINGE = m.RainbowPO(0.1, 0.5, 0.3, link="squared_hinge").loss()
RAINBOW: dict[str, Row] = {
    "published": (m.RainbowPO().loss(), (1.323190, 0.231531, 4.325841)),
    "γ = 0.3": (m.RainbowPO(gamma=0.3).loss(), (2.410735, 0.503956, 5.919882)),
    "α = 0.5": (m.RainbowPO(alpha=0.5).loss(), (0.848387, 0.395783, 2.929902)),
    "no φ": (m.RainbowPO(norm="off").loss(), (1.437764, 0.106337, 4.048846)),
    "no mixing": (m.RainbowPO(alpha=1).loss(), (0.273079, 0.988233, 0.693147)),
    "η = 0": (SUMMED, (0.271182, 1.454264, 0.293606)),
    "square": (SQUARE, (0.379253, 0.239355, 0.800094)),
    "squared hinge": (SQUARED_HINGE, (0.261718, 0.248925, 0.291004)),
    "Cauchy": (m.RainbowPO(link="cauchy").loss(), (1.394903, 0.227526, 2.623774)),
    "SFT": (m.RainbowPO(sft=0.5).loss(), (2.023190, 0.981531, 5.169591)),
}
# [rainbow-po] (loss) [rainbow-po] (links tried)
ALL = WITH_REFERENCE | WITHOUT_REFERENCE | RAINBOW


@pytest.mark.parametrize("name", ALL)
def test_a_method_has_its_known_losses(name: str) -> None:
    loss, expected = ALL[name]
    torch.testing.assert_close(loss(pairs()), column(*expected), rtol=0, atol=DIGITS)


@pytest.mark.parametrize("name", ALL)
def test_single_precision_is_close(name: str) -> None:
    """The squares of large numbers are compared relatively."""
    loss, expected = ALL[name]
    found = loss(single())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), column(*expected), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", WITHOUT_REFERENCE)
def test_what_needs_no_reference_runs_without(name: str) -> None:
    loss, expected = WITHOUT_REFERENCE[name]
    alone = replace(pairs(), ref_w=None, ref_l=None)
    torch.testing.assert_close(loss(alone), column(*expected), rtol=0, atol=DIGITS)


@pytest.mark.parametrize(
    ("alpha", "gamma", "expected"),
    [(0.25, 0.1, (-0.116667, 0.218750, -0.403125)), (0.5, 0.3, (-0.133333, 0.0175, -0.36875))],
)
def test_the_mixed_advantage_is_known(alpha: float, gamma: float, expected: tuple) -> None:
    """[rainbow-po] (mixing)"""
    found = m.RainbowPO(alpha=alpha, gamma=gamma).loss().advantage(pairs())
    torch.testing.assert_close(found, column(*expected), rtol=0, atol=DIGITS)


def test_differences_odds_and_offsets_are_known() -> None:
    for loss, expected in [
        (m.DPO(1).loss(), (4.5, -5.0, 0.0)),
        (m.LNDPO(1).loss(), (0.133333, -0.085, 0.0)),
        (m.ORPO(0.1).loss(), (-0.135030, 0.513947, -0.570535)),
    ]:
        found = loss.advantage(pairs())
        torch.testing.assert_close(found, column(*expected), rtol=0, atol=DIGITS)
    offset = m.ODPO(1.0).loss().offset(pairs())
    torch.testing.assert_close(offset, column(-2.995732, -4.605170, -1.897120), rtol=0, atol=DIGITS)


def test_the_scale_is_known() -> None:
    scale = m.RainbowPO().loss().scale
    assert scale is not None
    expected = column(0.868762, 0.614876, 1.069775)
    torch.testing.assert_close(scale(pairs()), expected, rtol=0, atol=DIGITS)


def test_the_norm_makes_the_scale_average_one() -> None:
    """[mallows-po] (norm)"""
    loss = m.MallowsDPO(0.1, dispersion_norm(pairs())).loss()
    assert loss.scale is not None
    assert loss.scale(pairs()).mean().item() == pytest.approx(1)


def test_certain_and_undecided_references_have_finite_scales() -> None:
    extreme = replace(pairs(), entropy_w=column(0, 1, 0), entropy_l=column(0, 1, 1))
    torch.testing.assert_close(mean_entropy(extreme), column(1e-6, 1 - 1e-6, 0.5))
    assert m.RainbowPO().loss()(extreme).isfinite().all()


def test_both_forms_of_mallows_ipo_agree_up_to_a_factor() -> None:
    """[mallows-po] (IPO): (φΔ − 1/(2τ))² = (τφΔ − ½)² / τ²"""
    paper, later = m.MallowsIPO(0.2).loss()(pairs()), m.MallowsIPORescaled(0.2).loss()(pairs())
    torch.testing.assert_close(paper, later / 0.2**2)
    scale, gap = column(0.868762, 0.614876, 1.069775), column(4.5, -5, 0)
    torch.testing.assert_close(paper, (scale * gap - 2.5).square(), rtol=1e-5, atol=1e-5)


def gradients(loss: PreferenceLoss) -> tuple[Tensor, Tensor]:
    known = trained()
    by_w, by_l = torch.autograd.grad(loss(known).sum(), [known.logp_w, known.logp_l])
    return by_w, by_l


def test_gradients_are_known() -> None:
    by_w, by_l = gradients(m.RainbowPO().loss())
    expected = column(-0.212475, -0.015885, -0.879692)
    torch.testing.assert_close(by_w, expected, rtol=0, atol=DIGITS)
    torch.testing.assert_close(by_l, column(0.141650, 0.025417, 0.390974), rtol=0, atol=DIGITS)
    expected = column(-0.038936, -0.062246, -0.05)
    torch.testing.assert_close(gradients(m.DPO(0.1).loss())[0], expected, rtol=0, atol=DIGITS)


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_finite_differences(name: str) -> None:
    loss, known, h = ALL[name][0], pairs(), 1e-5
    by_w, by_l = gradients(loss)

    def slope(change: Callable[[float], Pairs]) -> Tensor:
        return (loss(change(h)) - loss(change(-h))) / (2 * h)

    by_w_too = slope(lambda d: replace(known, logp_w=known.logp_w + d))
    by_l_too = slope(lambda d: replace(known, logp_l=known.logp_l + d))
    same = torch.tensor([True, True, name != "DPOP"])  # in case C its penalty has a kink
    torch.testing.assert_close(by_w[same], by_w_too[same], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(by_l, by_l_too, rtol=1e-6, atol=1e-8)


def test_no_gradient_reaches_what_is_given() -> None:
    known = trained()._map(lambda v: v.detach().requires_grad_() if v.is_floating_point() else v)
    known = replace(known, weight_w=known.score_w, weight_l=known.score_l)
    losses = [m.RainbowPO().loss(), m.ODPO(0.1).loss(), m.WPO(0.1).loss(), m.DPOP(0.1, 5).loss()]
    total = torch.stack([loss(known).sum() for loss in losses]).sum()
    total.backward()
    for name in ("ref_w", "ref_l", "entropy_w", "entropy_l", "score_w", "score_l"):
        assert getattr(known, name).grad is None, name
    assert known.logp_w.grad is not None


CORNERS = {
    "α = 1 is LN-DPO": (m.RainbowPO(10, 1, 0.7, "off").loss(), m.LNDPO(10).loss()),
    "α = 0 is SimPO with margin βγ": (m.RainbowPO(10, 0, 0.3, "off").loss(), m.SimPO(10, 3).loss()),
    "η = 0, α = 1 is DPO": (
        m.RainbowPO(0.1, 1, 0.7, "off", length_exponent=0).loss(),
        m.DPO(0.1).loss(),
    ),
    "the same with φ is Mallows": (
        m.RainbowPO(0.1, 1, 0.7, length_exponent=0).loss(),
        m.MallowsDPO(0.1).loss(),
    ),
    "AlphaPO at 0 is SimPO": (m.AlphaPO(1e-9, 2.5, 1.375).loss(), m.SimPO(2.5, 1.375).loss()),
    "no flips, cautious": (m.ConservativeDPO(0.1, 0).loss(), m.DPO(0.1).loss()),
    "no flips, robust": (m.RobustDPO(0.1, 0).loss(), m.DPO(0.1).loss()),
    "DPOP without penalty": (m.DPOP(0.1, 0).loss(), m.DPO(0.1).loss()),
    "R-DPO without length": (m.RDPO(0.1, 0).loss(), m.DPO(0.1).loss()),
    "RSO's logistic loss": (m.RSO(0.1, "logistic").loss(), m.DPO(0.1).loss()),
    "reverse KL": (m.FDPO(0.1, "alpha", 1).loss(), m.DPO(0.1).loss()),
    "near reverse KL": (m.FDPO(0.1, "alpha", 1 + 1e-9).loss(), m.DPO(0.1).loss()),
    "divergence 0 is forward KL": (
        m.FDPO(0.1, "alpha", 0).loss(),
        m.FDPO(0.1, "forward_kl").loss(),
    ),
}


@pytest.mark.parametrize("name", CORNERS)
def test_corners_are_their_neighbours(name: str) -> None:
    here, there = CORNERS[name]
    near = 1e-7 if "near" in name or "AlphaPO" in name else 1e-12
    torch.testing.assert_close(here(pairs()), there(pairs()), rtol=0, atol=near)


def test_at_the_start_the_advantage_is_what_mixing_leaves() -> None:
    """With policy = reference, x = (1 − α)(s_ref − γ): case C."""
    found = m.RainbowPO().loss().advantage(pairs())[2].item()
    assert found == pytest.approx(0.75 * (-1.6875 + 1.25 - 0.1), abs=1e-12)
    assert m.RainbowPO(alpha=1).loss()(pairs())[2].item() == pytest.approx(log(2), abs=1e-12)


def test_swapping_winner_and_loser_turns_the_logit() -> None:
    known = pairs()
    names = ("logp", "len", "ref", "entropy", "score")
    swap = {f"{n}_{a}": getattr(known, f"{n}_{b}") for n in names for a, b in ("wl", "lw")}
    for loss in (
        m.DPO(0.1).loss(),
        m.LNDPO(10).loss(),
        m.MallowsDPO(0.1).loss(),
        m.RDPO(0.1, 0.02).loss(),
    ):
        turned = loss.logit(Pairs(**swap))
        torch.testing.assert_close(turned, -loss.logit(known), rtol=0, atol=1e-12)


def test_repeating_every_token_changes_sums_only() -> None:
    known = pairs()
    names = ("logp_w", "logp_l", "len_w", "len_l", "ref_w", "ref_l")
    twice = replace(known, **{name: 2 * getattr(known, name) for name in names})
    for loss in (
        m.LNDPO(10).loss(),
        m.SimPO().loss(),
        m.ORPO(0.1).loss(),
        m.RainbowPO(sft=0.5).loss(),
    ):
        torch.testing.assert_close(loss(twice), loss(known))
    torch.testing.assert_close(
        m.DPO(0.1).loss().advantage(twice), 2 * m.DPO(0.1).loss().advantage(known)
    )


def test_weights_multiply_the_loss() -> None:
    weighted = replace(pairs(), weight_w=column(1, 2, 0.5), weight_l=column(0.5, 1, 0))
    expected = m.DPO(0.1).loss()(pairs()) * column(0.5, 2, 0)
    torch.testing.assert_close(m.WPO(0.1).loss()(weighted), expected)  # [wpo] (loss)


def test_a_third_completion_can_be_imitated() -> None:
    target = {"logp_target": column(-10, -20, -30), "len_target": torch.tensor([5, 4, 3])}
    known = replace(pairs(), **target)
    preference = m.SLiC(1, 0).loss()(pairs())
    torch.testing.assert_close(m.SLiC(1, 0.1).loss()(known), preference + column(1, 2, 3))
    per_token = replace(m.SLiC(1, 0.1).loss(), sft_length_exponent=1.0)
    torch.testing.assert_close(per_token(known), preference + column(0.2, 0.5, 1))


def test_batch_means_are_known() -> None:
    means = [m.DPO(0.1).loss(), m.RainbowPO().loss(), m.SimPO().loss(), m.ORPO(0.1).loss()]
    found = torch.stack([loss(pairs()).mean() for loss in means])
    expected = column(0.720158, 1.960188, 3.885686, 1.604178)
    torch.testing.assert_close(found, expected, rtol=0, atol=DIGITS)


def test_metrics_show_rewards_and_what_the_link_sees() -> None:
    shown = metrics(m.RainbowPO().loss(), pairs())
    assert shown["loss/mean"] == pytest.approx(1.960188, abs=DIGITS)
    logit = column(0.868762 * -1.1666667, 0.614876 * 2.1875, 1.069775 * -4.03125)
    assert shown["logit/mean"] == pytest.approx(logit.mean().item(), abs=1e-5)
    assert shown["logit/std"] == pytest.approx(logit.std(correction=0).item(), abs=1e-5)
    assert shown["pair/accuracy"] == pytest.approx(1 / 3)
    assert shown["reward/winner"] == pytest.approx(10 * (3 - 2 + 0) / 3)
    assert shown["reward/margin"] == pytest.approx(10 * (4.5 - 5 + 0) / 3)
    assert shown["drift/nats"] == pytest.approx((0.75 + 0.5 + 0) / 3)
    assert shown["entropy/mean"] == pytest.approx((0.05 + 0.12 + 0.025) / 3)
    assert shown["length/loser"] == pytest.approx((45 + 50 + 27) / 3)
    alone = metrics(m.SimPO().loss(), replace(pairs(), ref_w=None, ref_l=None))
    assert "reward/winner" not in alone
    assert "scale/mean" not in alone
