"""Where one loss becomes another: the settings at which neighbours meet."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoreward.losses import diffusion as d
from scoreward.losses import methods as m
from scoreward.losses import separate, stepwise
from scoreward.losses.diffusion_pointwise import diffusion_kto, loss_averse
from scoreward.losses.language import PreferenceLoss
from scoreward.losses.links import Exponential
from scoreward.losses.pairs import Pairs
from tests.margins.diffusion_cases import real, three_pairs
from tests.margins.known import pairs


def close(here: Tensor, there: Tensor, digits: float = 1e-12) -> None:
    torch.testing.assert_close(here, there, rtol=0, atol=digits)


def bare() -> Pairs:
    """A reference to which every completion is equally likely."""
    return replace(pairs(), ref_w=torch.zeros(3).double(), ref_l=torch.zeros(3).double())


def short() -> Pairs:
    """Completions of one token each."""
    one = torch.ones(3, dtype=torch.long)
    return replace(pairs(), len_w=one, len_l=one)


def at(a: Tensor, b: Tensor) -> Pairs:
    """Pairs with these log-ratios."""
    zero, one = torch.zeros_like(a), torch.ones(len(a), dtype=torch.long)
    return Pairs(a, b, one, one, zero, zero)


# Settings of the one objective

WITHOUT: dict[str, tuple[PreferenceLoss, PreferenceLoss, Callable[[], Pairs]]] = {
    "CPO's preference is DPO": (m.CPO(0.1, 0, per_token=True).loss(), m.DPO(0.1).loss(), bare),
    "SLiC's margin is the hinge of DPO": (m.SLiC(1, 0).loss(), m.HingeDPO(1).loss(), bare),
    "SimPO without margin is LN-DPO": (m.SimPO(10, 0).loss(), m.LNDPO(10).loss(), bare),
    "LN-DPO of single tokens is DPO": (m.LNDPO(0.1).loss(), m.DPO(0.1).loss(), short),
    "IPO per token of single tokens is IPO": (m.IPOPerToken(0.1).loss(), m.IPO(0.1).loss(), short),
    "ODPO without offset is DPO": (m.ODPO(0.1, 0.0).loss(), m.DPO(0.1).loss(), pairs),
    "SLiC in nats is RSO's hinge": (m.SLiC(1, 0).loss(), m.RSO(1, "hinge").loss(), bare),
    "Mallows-IPO of φ = 1 is IPO": (
        replace(m.MallowsIPO(0.1).loss(), scale=None),
        m.IPO(0.1).loss(),
        pairs,
    ),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_settings_meet_their_neighbours(name: str) -> None:
    here, there, known = WITHOUT[name]
    close(here(known()), there(known()))


def test_wpo_of_equal_weights_is_dpo() -> None:
    one = torch.ones(3).double()
    close(
        m.WPO(0.1).loss()(replace(pairs(), weight_w=one, weight_l=one)), m.DPO(0.1).loss()(pairs())
    )


def test_orpo_of_unlikely_completions_is_simpo_without_margin() -> None:
    """logit p → log p where p is small; β = 1, the winner's likelihood left out."""
    rare = replace(pairs(), logp_w=pairs().logp_w * 20, logp_l=pairs().logp_l * 20)
    close(replace(m.ORPO(1.0).loss(), sft=0.0)(rare), m.SimPO(1, 0).loss()(rare), 1e-6)


# What is no setting of it


def test_sppo_of_opposite_log_ratios_is_half_an_ipo() -> None:
    """b = −a: 2(a − c)² = ½(Δ − 2c)² with 2c = 1/β, which is IPO's 1/(2τ) at τ = β/2."""
    a = real(-2.0, 0.0, 0.3, 7.0)
    close(separate.sppo(at(a, -a), 0.1), m.IPO(0.05).loss()(at(a, -a)) / 2)


def test_nca_is_bco_where_both_completions_gained_alike() -> None:
    a = real(-2.0, 0.0, 0.3, 7.0)
    close(separate.nca(at(a, a), 0.1), separate.bco(at(a, a), 0.1, 0.0))


def test_both_apo_are_one_where_the_winner_did_not_move() -> None:
    b = real(-2.0, 0.0, 0.3, 7.0)
    still = at(torch.zeros_like(b), b)
    close(separate.apo_zero(still, 0.1), separate.apo_down(still, 0.1))


def test_kto_of_a_pair_without_baseline_is_apo_zero() -> None:
    a, b = pairs().log_ratios()
    yes, zero = torch.ones(3, dtype=torch.bool), torch.tensor(0.0).double()
    both = separate.kto(a, yes, 0.1, zero) + separate.kto(b, ~yes, 0.1, zero)
    close(both, separate.apo_zero(pairs(), 0.1))


@pytest.mark.parametrize("loss", [separate.aot_paired, separate.aot_unpaired])
def test_aot_of_one_pair_is_dpo(loss: Callable[[Pairs, float], Tensor]) -> None:
    for i in range(3):
        one = pairs()[slice(i, i + 1)]  # pyright: ignore[reportArgumentType]
        close(loss(one, 0.1), m.DPO(0.1).loss()(one))


def test_discopop_is_logistic_for_lost_pairs_and_exponential_for_won_ones() -> None:
    lost, won = at(real(-30.0), real(30.0)), at(real(30.0), real(-30.0))
    close(separate.discopop(lost, 0.1), m.DPO(0.1).loss()(lost))
    close(separate.discopop(won, 0.1), PreferenceLoss(Exponential(), 0.1)(won))


def test_exo_falls_as_fast_as_the_odds_of_its_labels_at_the_start() -> None:
    """The slope of KL(σ(z) ‖ 1 − ε) at z = 0 is −¼ log((1 − ε)/ε)."""
    a = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(separate.exo(at(a, torch.zeros(1).double()), 1.0, 0.1).sum(), a)
    close(slope, -torch.log(real(9.0)) / 4)


# Pictures


def test_dmpo_is_exo_on_the_logit_of_diffusion_dpo() -> None:
    errors = three_pairs()
    logit = -1000.0 * errors.margin
    close(d.diffusion_dmpo(errors, 2000.0), separate.exo(at(logit, 0 * logit), 1.0, 0.01))


def test_pnapo_of_certain_rewards_at_the_beginning_is_diffusion_dpo() -> None:
    """Without the ½ its β is twice ours."""
    scale = d.pnapo_scale(real(80.0, 80.0, 80.0), 0.0)
    close(d.diffusion_dpo(three_pairs(), 4000.0 * scale), d.diffusion_dpo(three_pairs(), 4000.0))


def test_hinge_and_ipo_have_one_slope_at_the_reference() -> None:
    """max(0, 1 + βm) and (βm + ½)² both rise with slope β at m = 0."""
    for loss in (d.diffusion_hinge, d.diffusion_ipo_scaled):
        winner = real(0.15).requires_grad_()
        errors = d.Errors(winner, real(0.165), real(0.15), real(0.165))
        (slope,) = torch.autograd.grad(loss(errors, 2500.0).sum(), winner)
        close(slope, real(2500.0))


def test_loss_averse_kto_of_a_desirable_picture_is_diffusion_dpo_against_a_still_loser() -> None:
    """1 − log σ(βg), g = −(ℓ − ℓ_ref): the logit −½(2β)m with ℓ_l = ℓ_ref,l."""
    errors = three_pairs()
    gains = errors.ref_winner - errors.winner
    still = replace(errors, loser=errors.ref_loser)
    yes = torch.ones(3, dtype=torch.bool)
    found = diffusion_kto(gains, torch.tensor(0.0).double(), yes, 1000.0, loss_averse)
    close(found, 1 + d.diffusion_dpo(still, 2000.0))


def test_step_losses_differ_in_beta_alone() -> None:
    winner, loser = real(0.03, -0.02, 0.5), real(-0.15, 0.01, -0.5)
    wanted = stepwise.d3po(winner, loser, 7.0, 0.1)
    close(stepwise.spo(winner, loser, 7.0, 0.1), wanted)
    close(stepwise.lpo(winner, loser, 7.0, 0.1), wanted)
    wide_open = stepwise.d3po(winner[:2], loser[:2], 7.0, 0.9)
    logit = at(winner[:2], loser[:2])
    close(wide_open, m.DPO(7.0).loss()(logit))
