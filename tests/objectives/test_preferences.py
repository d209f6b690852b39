"""Preference methods on pairs: errors, losses and gradients by hand, what is shared, corners."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoreward.core.denoiser import Cond
from scoreward.core.prediction import Prediction
from scoreward.losses.diffusion import AutomaticBeta
from scoreward.losses.diffusion_tensors import loser_scale, with_loser_scaled
from scoreward.objectives.base import Samples
from scoreward.objectives.pictures.diffusion_dpo import DiffusionDPO
from scoreward.objectives.pictures.diffusion_kto import DiffusionKTO
from scoreward.objectives.pictures.diffusion_rainbow_po import DiffusionRainbowPO
from scoreward.objectives.pictures.dspo import DSPO
from scoreward.objectives.pictures.flow_dpo import FlowDPO
from scoreward.objectives.pictures.inpo import InPO
from scoreward.objectives.pictures.pnapo import PNAPO
from scoreward.objectives.pictures.rows import compared, extremes
from scoreward.objectives.pictures.smpo import SmPO
from tests.core.laws import real
from tests.objectives.pairing import derivative, policy
from tests.objectives.preferring import (
    AT_REFERENCE,
    BETA,
    GAP,
    KEY,
    METHODS,
    PROMPT,
    by_hand,
    means,
    preferred,
    prepared,
    velocity,
)

FAR, HERE = (0.3, -0.4), (0.2, 0.2)  # shift of the network and of the reference


def close(actual: object, expected: object, tolerance: float = 1e-9) -> None:
    wanted = torch.as_tensor(expected, dtype=torch.float64)
    given = torch.as_tensor(actual, dtype=torch.float64)
    torch.testing.assert_close(given, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("place", [FAR, HERE], ids=["far", "at the reference"])
def test_loss_and_gradient_are_those_by_hand(name: str, place: tuple[float, float]) -> None:
    """Far from the reference and at it; by hand no gradient reaches the reference."""
    (objective, loss_by_hand), using = METHODS[name], policy(*place)
    rows = prepared(objective, using)
    loss, told = objective.loss(rows, using)
    mean = means(using, "current").requires_grad_()
    expected = loss_by_hand(by_hand(rows, mean, means(using, "reference"))).mean()
    (wanted,) = torch.autograd.grad(expected, mean)
    close(loss.item(), expected.item())
    close(derivative(loss, using), wanted, 1e-8)
    assert wanted.abs().max() > 1e-3
    assert not any(value.requires_grad for value in told.values())


@pytest.mark.parametrize("name", AT_REFERENCE)
def test_with_equal_networks_the_loss_is_that_of_a_margin_of_nothing(name: str) -> None:
    using = policy(*HERE)
    loss, told = METHODS[name][0].loss(prepared(METHODS[name][0], using), using)
    close(loss.item(), AT_REFERENCE[name], 1e-6)
    assert told["implicit/accuracy"] == 0.5
    assert told["logit/saturated"] == 0
    close(told["error/winner"], told["error/ref_winner"])


def test_pairs_decided_by_more_than_five_are_counted_with_their_own_beta() -> None:
    """|½ β m| > 5: the share at a β between those at which the second and third pair pass it."""
    using = policy(*FAR)
    rows = prepared(DiffusionDPO(), using)
    errors = by_hand(rows, means(using, "current"), means(using, "reference"))
    passed = (10 / errors.m.abs()).sort().values  # β at which each pair has |logit| = 5
    for beta, share in ((float(passed[0]) * 0.99, 0.0), (float(passed[-1]) * 1.01, 1.0)):
        objective = DiffusionDPO(beta=beta)
        _, told = objective.loss(prepared(objective, using), using)
        assert told["logit/saturated"] == share


def test_the_four_errors_are_those_of_the_velocities_written_out() -> None:
    using = policy(*FAR)
    rows = prepared(DiffusionDPO(), using)
    ours = compared(rows, using.current, using).errors
    hand = by_hand(rows, means(using, "current"), means(using, "reference"))
    for actual, wanted in ((ours.winner, hand.w), (ours.loser, hand.l)):
        close(actual, wanted)
    close(ours.ref_winner, hand.rw)
    close(ours.ref_loser, hand.rl)
    assert (ours.margin.abs() > 1e-3).all()


class Overheard:
    """A denoiser that writes down what it was asked."""

    def __init__(self, inner: object) -> None:
        self.inner, self.asked = inner, []

    def __call__(self, x_t: Tensor, t: Tensor, cond: Cond) -> Prediction:
        self.asked.append((x_t.clone(), t.clone(), cond))
        return self.inner(x_t, t, cond)  # pyright: ignore


@pytest.mark.parametrize("name", ["diffusion_dpo", "flow_dpo", "dmpo", "dspo", "rainbow_po"])
def test_one_time_and_one_noise_serve_both_pictures_and_both_networks(name: str) -> None:
    plain = policy(*FAR)
    first, now = Overheard(plain.reference), Overheard(plain.current)
    using = replace(plain, reference=first, current=now)
    rows = prepared(METHODS[name][0], using)
    METHODS[name][0].loss(rows, using)
    assert torch.equal(rows.winner.eps, rows.loser.eps)
    assert len(set(rows.t.tolist())) == 5
    assert len({tuple(row) for row in rows.winner.eps.tolist()}) == 5
    x, t, cond = (torch.cat([a[i] for a in first.asked]) for i in range(3))  # pyright: ignore
    (seen,) = now.asked
    assert torch.equal(x, seen[0])
    assert torch.equal(t, seen[1])
    assert torch.equal(cond, seen[2])
    data = preferred()
    back = x - t[:, None] * torch.cat([rows.winner.eps, rows.loser.eps])
    close(back / (1 - t[:, None]), torch.cat([data.x0[::2], data.x0[1::2]]))


def test_other_rounds_draw_other_noise_and_the_same_round_the_same() -> None:
    using, objective = policy(*FAR), DiffusionDPO()
    with torch.no_grad():
        one, same, other = (objective.ready(preferred(), using, KEY / i) for i in ("a", "a", "b"))
    assert torch.equal(one.winner.eps, same.winner.eps)
    assert torch.equal(one.t, same.t)
    assert not (one.winner.eps == other.winner.eps).any()
    assert not (one.t == other.t).any()


def test_a_pair_does_not_depend_on_who_else_is_in_the_round() -> None:
    using, objective = policy(*FAR), DiffusionDPO()
    whole, part = prepared(objective, using), prepared(objective, using, preferred()[slice(4, 8)])  # pyright: ignore
    for name in ("t", "beta", "sample"):
        assert torch.equal(getattr(whole, name)[2:4], getattr(part, name))
    assert torch.equal(whole.winner.eps[2:4], part.winner.eps)
    assert torch.equal(whole.loser.x_t[2:4], part.loser.x_t)


# Corners


def test_rainbow_with_all_of_the_reference_is_diffusion_dpo() -> None:
    """[diffusion-dpo] (rainbow): α = 1, φ = 1, λ = 0; γ and the centre then do nothing."""
    using = policy(*FAR)
    corner = DiffusionRainbowPO(beta=BETA, gamma=0.3)
    one, other = (o.loss(prepared(o, using), using)[0] for o in (corner, DiffusionDPO(beta=BETA)))
    close(one.item(), other.item(), 1e-14)
    close(derivative(one, using), derivative(other, using), 1e-14)


def test_timed_flow_dpo_on_velocities_is_diffusion_dpo_on_noise() -> None:
    """[flow-dpo] (identity): the same network said in ε has errors (1 − t)² times as large."""
    using = policy(*FAR)
    timed = FlowDPO(beta=BETA, timed=True)
    in_noise = replace(using, kind="eps")
    one = timed.loss(prepared(timed, using), using)[0]
    other = DiffusionDPO(beta=BETA).loss(prepared(DiffusionDPO(beta=BETA), in_noise), in_noise)[0]
    close(one.item(), other.item(), 1e-12)
    close(derivative(one, using), derivative(other, using), 1e-12)


def test_inversion_of_no_steps_of_its_own_is_fresh_noise() -> None:
    """η = 1: nothing of the noise inside is left, so InPO is Diffusion-DPO."""
    using, corner = policy(*FAR), InPO(beta=BETA, mix=1.0)
    one, other = (o.loss(prepared(o, using), using)[0] for o in (corner, DiffusionDPO(beta=BETA)))
    close(one.item(), other.item(), 1e-12)


def test_smpo_of_certain_scores_is_diffusion_dpo_with_ten_beta() -> None:
    """p → 1: 10(2p − 1) → 10, with fresh noise."""
    using, corner = policy(*FAR), SmPO(beta=BETA, low=0.0, high=1e-3, inversion=0)
    one, other = (
        o.loss(prepared(o, using), using)[0] for o in (corner, DiffusionDPO(beta=10 * BETA))
    )
    close(one.item(), other.item(), 1e-12)


def test_the_safeguard_scales_the_losers_gradient_pair_by_pair() -> None:
    """[sdpo] (lambda), (scale): at the reference β/4 (∇ℓ_w − λ ∇ℓ_l), λ by hand."""
    using, objective = policy(*HERE), DiffusionDPO(beta=BETA, safeguard=0.6)
    rows = prepared(objective, using)
    loss, told = objective.loss(rows, using)
    mean = means(using, "current").requires_grad_()
    x = [(1 - rows.t[:, None]) * s.x0 + rows.t[:, None] * s.eps for s in (rows.winner, rows.loser)]
    away = [
        velocity(mean[PROMPT], at, rows.t) - (s.eps - s.x0)
        for at, s in zip(x, (rows.winner, rows.loser), strict=True)
    ]
    inner = (away[0] * away[1]).sum(1).detach()
    bound = 0.4 * away[0].pow(2).sum(1).detach() / inner
    scale = torch.where(inner > 0, bound.clamp(max=1), torch.ones_like(inner))
    assert (scale < 1).any()
    assert (scale == 1).any()
    hand = BETA / 4 * (away[0].pow(2).sum(1) - scale * away[1].pow(2).sum(1)) / 2
    (wanted,) = torch.autograd.grad(hand.mean(), mean)
    close(derivative(loss, using), wanted)
    close(told["safeguard/scale"], scale.mean())
    plain = DiffusionDPO(beta=BETA)
    close(loss.item(), plain.loss(prepared(plain, using), using)[0].item())


def test_a_safeguard_that_binds_nobody_changes_nothing() -> None:
    """λ = 1 for every pair: the gradient of the plain loss, here and with DSPO."""
    using = policy(*FAR)
    for plain in (DiffusionDPO(beta=BETA), DSPO(beta=0.3)):
        guarded = replace(plain, safeguard=0.0)
        rows = prepared(guarded, using)
        scale = loser_scale(compared(rows, using.current, using).predictions, 0.0)
        free = rows[scale == 1]
        assert len(free) > 0
        one, other = guarded.loss(free, using)[0], plain.loss(free, using)[0]
        close(derivative(one, using), derivative(other, using), 1e-12)


def test_scaling_the_losers_prediction_is_scaling_its_error() -> None:
    """[sdpo] (scale): the form in the objective against that of margins.diffusion_tensors."""
    using, objective = policy(*FAR), DiffusionDPO(beta=BETA, safeguard=0.6)
    rows = prepared(objective, using)
    seen = compared(rows, using.current, using)
    scaled = with_loser_scaled(seen.errors, loser_scale(seen.predictions, 0.6))
    other = torch.nn.functional.softplus(0.5 * BETA * scaled.margin).mean()
    close(derivative(objective.loss(rows, using)[0], using), derivative(other, using), 1e-12)


# What single methods do besides


def test_kto_is_written_out_with_its_baseline_over_all_processes() -> None:
    """[diffusion-kto] (loss), (reference point): weights 1.6 and 0.4 for a share of 0.8."""
    using, objective = policy(*FAR), DiffusionKTO(beta=BETA)
    totals: list[Tensor] = []

    def doubled(value: Tensor) -> Tensor:
        totals.append(value)
        return 2 * value + torch.tensor([3.0, 10.0]).to(value)  # another process has other gains

    together = replace(using, total=doubled, old=using.current)
    with torch.no_grad():
        rows = objective.ready(preferred(), together, KEY / "kto")
    loss, told = objective.loss(rows, together)
    x = (1 - rows.t[:, None]) * rows.picture.x0 + rows.t[:, None] * rows.picture.eps
    target, prompt = rows.picture.eps - rows.picture.x0, PROMPT.repeat_interleave(2)
    mean = means(using, "current").requires_grad_()
    error, first = (
        (velocity(m[prompt], x, rows.t) - target).pow(2).sum(1) / 2
        for m in (mean, means(using, "reference"))
    )
    gains = first - error
    weight, sign = real(1.6, 0.4).repeat(5), real(1.0, -1.0).repeat(5)
    total, count = 2 * (gains * weight).sum() + 3, 2 * weight.sum() + 10
    baseline = float((total / count).clamp(min=0).detach())
    assert len(totals) == 1
    assert baseline > 0
    hand = (weight * (1 - 1 / (1 + torch.exp(-sign * BETA * (gains - baseline))))).mean()
    close(told["gain/baseline"], baseline)
    close(loss.item(), hand.item())
    (wanted,) = torch.autograd.grad(hand, mean)
    close(derivative(loss, using), wanted)


def test_pictures_of_kto_have_their_own_time_and_noise() -> None:
    with torch.no_grad():
        rows = DiffusionKTO().ready(preferred(), policy(*FAR), KEY)
    assert len(set(rows.t.tolist())) == 10
    assert len({tuple(row) for row in rows.picture.eps.tolist()}) == 10


def test_at_the_reference_kto_is_one_half() -> None:
    using = policy(*HERE)
    using = replace(using, old=using.current)
    with torch.no_grad():
        rows = DiffusionKTO().ready(preferred(), using, KEY)
    loss, told = DiffusionKTO().loss(rows, using)
    close(loss.item(), 0.5)
    assert told["gain/baseline"] == 0
    assert told["implicit/accuracy"] == 0.5


def test_pnapo_takes_the_stored_noise_and_its_beta_falls_to_one_half() -> None:
    """[pnapo] (scale): (2σ(δr) − 1) g, g a cosine from 1 to ½ over the rounds."""
    using, objective = policy(*FAR), PNAPO(beta=BETA, total=4)
    betas = [prepared(objective, using).beta for _ in range(6)]
    rows, data = prepared(objective, using), preferred()
    assert torch.equal(rows.winner.eps, data.noise[::2])  # pyright: ignore
    assert torch.equal(rows.loser.eps, data.noise[1::2])  # pyright: ignore
    start = 2 * BETA * (2 / (1 + torch.exp(-GAP)) - 1)
    falls = [1.0, 0.75 + 0.25 / 2**0.5, 0.75, 0.75 - 0.25 / 2**0.5, 0.5, 0.5]
    for beta, fall in zip(betas, falls, strict=True):
        close(beta, start * fall)


@pytest.mark.parametrize("objective", [InPO(mix=0.0), SmPO()], ids=["inpo", "smpo"])
def test_inverted_noise_goes_to_where_the_exact_flow_ends(objective: InPO | SmPO) -> None:
    """Data N(m, c): on the ODE (x_t − α m)/√(α²c + σ²) stays; Euler's error halves with the step.

    [inpo] (noise): the state is α x0 + σ ε again.
    """
    using, away = policy(*FAR), []
    for steps in (50, 100, 200):
        rows = prepared(replace(objective, inversion=steps), using)
        center, alpha, sigma = means(using, "old")[PROMPT], 1 - rows.t[:, None], rows.t[:, None]
        spread = 2 * (alpha**2 / 4 + sigma**2).sqrt()
        worst = 0.0
        for picture in (rows.winner, rows.loser):
            end = alpha * center + spread * (picture.x0 - center)
            worst = max(worst, float((picture.x_t - end).abs().max()))
        away.append(worst)
    assert away[2] < 0.03
    assert 1.8 < away[0] / away[1] < 2.2
    assert 1.8 < away[1] / away[2] < 2.2
    assert not (rows.winner.eps == rows.loser.eps).any()  # pyright: ignore


def test_renoise_comes_back_to_the_picture_where_plain_inversion_does_not() -> None:
    """Five DDIM steps back from x_t: what ReNoise is for."""
    using, away = policy(*FAR), []
    for passes in (0, 2, 8):
        rows = prepared(SmPO(inversion=5, passes=passes), using)
        x, mean = rows.winner.x_t, means(using, "old")[PROMPT]
        for k in range(5, 0, -1):
            t = rows.t * k / 5
            x = x - (rows.t / 5)[:, None] * velocity(mean, x, t)  # on a straight path DDIM is Euler
        away.append(float((x - rows.winner.x0).norm()))
    assert away[1] < 0.7 * away[0]
    assert away[2] < 0.5 * away[1]


def test_rainbow_centres_by_the_gap_of_all_processes() -> None:
    objective = DiffusionRainbowPO(beta=BETA, alpha=0.5)
    using = replace(policy(*FAR), total=lambda own: own + torch.tensor([7.0, 3.0]).to(own))
    rows = prepared(objective, using)
    hand = by_hand(rows, means(using, "current"), means(using, "reference"))
    close(rows.centre, ((hand.rw - hand.rl).sum() + 7) / 8 * torch.ones(5))
    plain = prepared(replace(objective, centred=False), using)
    assert not plain.centre.any()


def test_automatic_beta_makes_the_typical_slope_its_target() -> None:
    """[flow-dpo] (automatic beta): with one round's mean, σ(−½βm) of a typical m is 0.2."""
    rule = AutomaticBeta(low=1e-9, high=1e9)
    using = policy(*FAR)
    using = replace(using, old=using.current)
    rows = prepared(DiffusionDPO(automatic=rule), using)
    typical = compared(rows, using.current, using).errors.margin.abs().mean()
    slope = 1 / (1 + torch.exp(0.5 * rows.beta * typical))
    close(slope, [0.2] * 5)
    same = policy(*HERE)
    rows = prepared(DiffusionDPO(automatic=AutomaticBeta()), replace(same, old=same.current))
    close(rows.beta, 2 * torch.ones(5))  # no margin yet: the largest, times the two elements
    assert not same.memory


def test_ties_and_groups_of_many_give_the_best_and_the_worst() -> None:
    advantage = real(0.1, 0.7, -0.2, 0.4, 0.4, 0.4, -1.0, 0.0, 2.0)
    group, index = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2]), torch.arange(9)
    samples = Samples(torch.zeros(9, 2), None, advantage, group, index, advantage)
    best, worst = extremes(samples)
    assert best.tolist() == [1, 8]
    assert worst.tolist() == [2, 6]
    none = extremes(samples[group == 1])
    assert len(none[0]) == len(none[1]) == 0


def test_an_online_group_becomes_a_pair_with_the_gap_of_its_rewards() -> None:
    data = preferred()
    group = torch.tensor([0] * 4 + [1] * 6)
    samples = Samples(data.x0, data.cond, data.reward, group, data.sample, data.reward)
    objective = DiffusionDPO(beta=BETA)
    with torch.no_grad():
        rows = objective.ready(samples, policy(*FAR), KEY)
    assert rows.sample.tolist() == [0, 6]
    close(rows.gap, real(0.8, 1.4))
    assert torch.equal(rows.loser.x0, data.x0[[1, 7]])
