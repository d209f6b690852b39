"""Losses on pairs: the best policy, far logits, and what is refused."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from scoreward.losses import methods as m
from scoreward.losses.language import PreferenceLoss
from scoreward.losses.pairs import Pairs
from tests.margins.known import column, pairs

REFERENCE, REWARD = column(0.5, 0.3, 0.2), column(1, 0, -1)
W, L = torch.tensor([0, 1, 0, 2, 1, 2]), torch.tensor([1, 0, 2, 0, 2, 1])


def population_loss(loss: PreferenceLoss, logits: Tensor) -> Tensor:
    """Mean over the three pairs of arms, labelled as Bradley and Terry would."""
    log_policy, ones = logits.log_softmax(0), torch.ones(6, dtype=torch.long)
    ref = REFERENCE.log()
    arms = Pairs(log_policy[W], log_policy[L], ones, ones, ref[W], ref[L])
    return ((REWARD[W] - REWARD[L]).sigmoid() * loss(arms)).sum() / 3


@pytest.mark.parametrize(
    ("alpha", "beta", "policy"),
    [
        (1.0, 1.0, (0.784399, 0.173139, 0.042463)),
        (0.25, 1.0, (0.698615, 0.226194, 0.075191)),
        (0.0, 1.0, (0.665241, 0.244728, 0.090031)),
        (1.0, 0.5, (0.918672, 0.074597, 0.006730)),
    ],
)
def test_the_best_policy_of_a_bandit(alpha: float, beta: float, policy: tuple) -> None:
    """Reached by minimising the loss.  [dpo] (optimum), [rainbow-po] (objective)"""
    loss = PreferenceLoss(beta=beta, reference_exponent=alpha)
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    settings = {"max_iter": 200, "tolerance_grad": 1e-12, "tolerance_change": 1e-16}
    optimizer = torch.optim.LBFGS([logits], line_search_fn="strong_wolfe", **settings)

    def evaluate() -> float:
        optimizer.zero_grad()
        value = population_loss(loss, logits)
        value.backward()
        return value.item()

    optimizer.step(evaluate)
    torch.testing.assert_close(logits.detach().softmax(0), column(*policy), rtol=0, atol=1e-6)
    assert population_loss(loss, logits).item() == pytest.approx(0.509913, abs=5e-7)
    if alpha == 1:
        at_start = population_loss(loss, REFERENCE.log())
        assert at_start.item() == pytest.approx(log(2), abs=1e-12)


EVERY = [
    m.DPO(1).loss(),
    m.ConservativeDPO(1, 0.1).loss(),
    m.RobustDPO(1, 0.1).loss(),
    m.LNDPO(1).loss(),
    m.IPO(0.5).loss(),
    m.IPORescaled(1).loss(),
    m.IPOPerToken(0.5).loss(),
    m.SLiC(1, 0.1).loss(),
    m.HingeDPO(1).loss(),
    m.CPO(1, 1, per_token=True).loss(),
    m.SimPO(1, 0.3).loss(),
    m.AlphaPO(0.25, 2.5, 1.375).loss(),
    m.AlphaPO(-0.5, 2.5, 1.375).loss(),
    m.ORPO(0.1).loss(),
    m.RDPO(1, 0.02).loss(),
    m.ODPO(1).loss(),
    m.MallowsDPO(1).loss(),
    m.MallowsIPO(0.5).loss(),
    m.MallowsIPORescaled(1).loss(),
    m.WPO(1).loss(),
    m.DPOP(1, 5).loss(),
    m.FDPO(1, "js").loss(),
    m.FDPO(1, "forward_kl").loss(),
    m.FDPO(1, "alpha", 0.5).loss(),
    m.RainbowPO(1).loss(),
    m.RainbowPO(1, link="exponential").loss(),
]
FAR = st.floats(0, 1e4, width=32)


@pytest.mark.parametrize("loss", EVERY)
@given(FAR, FAR, FAR, FAR)
def test_far_log_probabilities_give_finite_losses_and_gradients(
    loss: PreferenceLoss, w: float, lost: float, ref_w: float, ref_l: float
) -> None:
    """Single precision; lengths 1 make means as large as sums."""
    of = [torch.tensor([-value], dtype=torch.float32) for value in (w, lost, ref_w, ref_l)]
    one, some = torch.ones(1, dtype=torch.long), torch.tensor([0.3])
    leaves = [of[0].requires_grad_(), of[1].requires_grad_()]
    known = Pairs(of[0], of[1], one, one, of[2], of[3], some, some, 2 * some, some, some, some)
    value = loss(known)
    assert value.isfinite().all()
    for slope in torch.autograd.grad(value.sum(), leaves, allow_unused=True):
        assert slope is None or slope.isfinite().all()


@given(st.floats(0, 60))
def test_a_more_likely_winner_never_costs_more(gain: float) -> None:
    known = pairs()
    better = replace(known, logp_w=(known.logp_w + gain).clamp(max=-1e-3))
    for loss in (
        m.DPO(0.1).loss(),
        m.SimPO().loss(),
        m.ORPO(0.1).loss(),
        m.RainbowPO().loss(),
        m.DPOP(0.1, 5).loss(),
    ):
        assert (loss(better) <= loss(known) + 1e-12).all()


def test_half_precision_is_widened() -> None:
    small = pairs()._map(lambda v: v.bfloat16() if v.is_floating_point() else v)
    found = m.RainbowPO().loss()(small)
    assert found.dtype == torch.float32
    assert m.DPO(0.1).loss()(small)[2].item() == pytest.approx(log(2), abs=1e-6)


@pytest.mark.parametrize(
    ("loss", "absent"),
    [
        (m.DPO(0.1).loss(), "ref"),
        (m.RainbowPO().loss(), "entropy"),
        (m.ODPO(0.1).loss(), "score"),
        (m.WPO(0.1).loss(), "weight"),
    ],
)
def test_what_is_absent_is_named(loss: PreferenceLoss, absent: str) -> None:
    known = replace(pairs(), **{f"{absent}_w": None, f"{absent}_l": None})
    with pytest.raises(ValueError, match=f"needs {absent}_w and {absent}_l of the pairs"):
        loss(known)


def test_a_log_gap_needs_a_better_winner() -> None:
    with pytest.raises(ValueError, match="needs score_w > score_l, got a gap of 0"):
        m.ODPO(0.1).loss()(replace(pairs(), score_l=column(0.17, 0.1, 0.1)))


def test_empty_completions_are_refused() -> None:
    with pytest.raises(ValueError, match="has 0 tokens, expected at least 1"):
        m.DPO(0.1).loss()(replace(pairs(), len_l=torch.tensor([1, 0, 2])))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"beta": 0.0}, "expected beta > 0, got 0"),
        ({"reference_exponent": 1.5}, r"exponent in \[0, 1\], got 1.5"),
        ({"weight": -1.0}, "expected weights >= 0, got weight=-1.0"),
        ({"sft": -1.0}, "expected weights >= 0, .* sft=-1.0"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PreferenceLoss(**setting)


def written(p: dict, n: np.ndarray, alpha: float, gamma: float, eta: int) -> np.ndarray:
    """RainbowPO once more, in NumPy, with β = 3, norm 0.29 and half of the winner's likelihood."""
    s = p["logp_w"] / n[0] ** eta - p["logp_l"] / n[1] ** eta
    s_ref = p["ref_w"] / n[0] ** eta - p["ref_l"] / n[1] ** eta
    x = s - alpha * s_ref - (1 - alpha) * gamma
    phi = -0.29 * np.log((p["entropy_w"] + p["entropy_l"]) / 2)
    return np.logaddexp(0, -phi * 3 * x) - 0.5 * p["logp_w"] / n[0] ** eta


@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(-1, 1), st.sampled_from([0, 1]))
def test_rainbow_po_is_its_formula(seed: int, alpha: float, gamma: float, eta: int) -> None:
    """[rainbow-po] (loss)"""
    draw = np.random.default_rng(seed)
    logs = ("logp_w", "logp_l", "ref_w", "ref_l")
    p = {name: -draw.exponential(40, 5) for name in logs}
    p |= {name: draw.uniform(0.01, 0.99, 5) for name in ("entropy_w", "entropy_l")}
    n = draw.integers(1, 60, (2, 5))
    known = Pairs(
        **{name: torch.tensor(value) for name, value in p.items()},
        len_w=torch.tensor(n[0]),
        len_l=torch.tensor(n[1]),
    )
    found = m.RainbowPO(3, alpha, gamma, sft=0.5, length_exponent=eta).loss()(known)
    np.testing.assert_allclose(found.numpy(), written(p, n, alpha, gamma, eta), rtol=1e-10)
