"""Reward gaps on Gaussian data: the printed tables, and checks that are no closed form."""

from math import inf, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreward.core.process import DiscreteVP, LinearVP, RectifiedFlow
from scoreward.theory import gaussian as theory
from scoreward.theory import reward_gap as gap
from scoreward.theory.gaussian import GaussianLaw, Levels, LinearReward, QuadraticReward
from scoreward.theory.reward_gap import GapSetting, Tuned
from tests.theory.printed import printed, real
from tests.theory.test_gaussian import karras

DATA, CENTRED = GaussianLaw.of(0.7, 0.25), GaussianLaw.of(0.0, 0.25)
LINEAR, SQUARE = LinearReward(real(1.0)), QuadraticReward(real(0.0))


def exploding(data: GaussianLaw, *tops: float) -> GapSetting:
    top = real(*tops)
    levels = Levels.exploding(torch.stack([top, torch.zeros_like(top)], -1))
    return GapSetting.from_noise(data, levels, top**2)


def preserving(data: GaussianLaw, *times: float) -> GapSetting:
    """β = 1 and these T."""
    alpha = torch.stack([(-real(*times) / 2).exp(), torch.ones(len(times)).double()], -1)
    return GapSetting.from_noise(data, Levels(alpha, (1 - alpha**2).sqrt()))


def test_gaps_of_ve_are_those_of_the_table() -> None:
    """[reward-gap] (linear gap), [reward-gap] (quadratic gap) and [reward-gap] (rates)"""
    tops = (5.0, 10.0, 20.0, 40.0, 80.0)
    setting, centred = exploding(DATA, *tops), exploding(CENTRED, *tops)
    first = ("+0.062721910", "+0.033210696", "+0.017057307", "+0.008639959", "+0.004347572")
    assert gap.linear(setting, LINEAR, 1.0).tolist() == printed(*first)
    second = ("-0.085457964", "-0.045897963", "-0.023730417", "-0.012058454", "-0.006077226")
    assert gap.quadratic(setting, SQUARE, 1.0).tolist() == printed(*second)
    third = ("-2.451e-3", "-6.219e-4", "-1.561e-4", "-3.905e-5", "-9.765e-6")
    found = gap.quadratic(centred, SQUARE, 1.0)
    assert found.tolist() == printed(*third)
    rate, _ = gap.exploding_rates(DATA, real(*tops), LINEAR)
    _, slow = gap.exploding_rates(CENTRED, real(*tops), LINEAR)
    assert (gap.linear(setting, LINEAR, 1.0) / rate)[-1].item() == pytest.approx(1, abs=0.01)
    assert (found / slow)[-1].item() == pytest.approx(1, abs=2e-4)


def test_gaps_of_vp_are_those_of_the_table() -> None:
    """[reward-gap] (linear gap), [reward-gap] (quadratic gap) and [reward-gap] (rates)"""
    times = (1.0, 2.0, 4.0, 8.0, 12.0)
    setting, centred = preserving(DATA, *times), preserving(CENTRED, *times)
    kept = theory.clock_ratio(DATA, setting.levels)[:, 0].tolist()
    assert kept == printed("1.2701e-1", "3.7656e-2", "4.6427e-3", "8.3887e-5", "1.5361e-6")
    first = ("+1.606e-1", "+1.095e-1", "+4.445e-2", "+6.353e-3", "+8.665e-4")
    assert gap.linear(setting, LINEAR, 1.0).tolist() == printed(*first)
    second = ("+8.316e-2", "+2.718e-2", "+3.466e-3", "+6.291e-5", "+1.152e-6")
    found = gap.quadratic(centred, SQUARE, 1.0)
    assert found.tolist() == printed(*second)
    alpha = (-real(*times) / 2).exp()
    rate, _ = gap.preserving_rates(DATA, alpha, LINEAR)
    _, slow = gap.preserving_rates(CENTRED, alpha, LINEAR)
    assert (gap.linear(setting, LINEAR, 1.0) / rate)[-1].item() == pytest.approx(1, abs=2e-3)
    assert (found / slow)[-1].item() == pytest.approx(1, abs=1e-4)


def test_the_linear_gap_saturates_at_the_error_of_the_ode() -> None:
    """[reward-gap] (linear gap): its limit is c·m √q."""
    eta = real(0.25, 0.5, 1.0, 1.5, 2.0, 4.0, inf)
    found = gap.linear(exploding(DATA, 5.0), LINEAR, eta).tolist()
    table = ("0.009355", "0.030533", "0.062722", "0.069265", "0.069646", "0.069653", "0.0696526")
    assert found == printed(*table)
    assert found[-1] == pytest.approx(0.7 * sqrt(0.25 / 25.25), rel=1e-14)


@settings(max_examples=60)
@given(
    mean=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    variance=st.floats(0.05, 2),
    start=st.tuples(st.floats(-1, 1), st.floats(0.2, 2)),
    eta=st.floats(0, 3),
    name=st.sampled_from(["rf", "vp", "ve"]),
)
def test_the_gap_is_the_difference_of_two_expected_rewards(
    mean: tuple[float, float],
    variance: float,
    start: tuple[float, float],
    eta: float,
    name: str,
) -> None:
    """[reward-gap] (linear gap), [reward-gap] (quadratic gap): two dimensions, any start."""
    levels = {
        "rf": Levels.of(RectifiedFlow()),
        "vp": Levels.of(LinearVP(1.0, 1.0)),
        "ve": Levels.exploding([2.0, 0.3]),
    }[name]
    first = GaussianLaw.of([start[0], -0.3], start[1])
    setting = GapSetting(GaussianLaw.of(list(mean), variance), first, levels)
    laws = [theory.output(setting.data, first, levels, e) for e in (eta, 0.0)]
    for reward, found in (
        (linear := LinearReward(real(0.4, -1.3)), gap.linear(setting, linear, eta)),
        (square := QuadraticReward(real(1.0, 0.2), 3.0), gap.quadratic(setting, square, eta)),
    ):
        noisy, ode = (reward.expect(law).item() for law in laws)
        assert found.item() == pytest.approx(noisy - ode, rel=1e-9, abs=1e-10)


def test_discretisation_sets_size_and_sign_of_a_gap_at_50_steps() -> None:
    """[reward-gap] (definition): +0.0929 on the grid against −1.6e-4 in continuous time."""
    unit = GaussianLaw.of(0.0, 1.0)

    def on_grid(steps: int) -> float:
        setting = GapSetting(unit, GaussianLaw.of(0.0, 6400.0), karras(steps))
        return gap.discretised(setting, SQUARE, theory.generalised, 1.0).item()

    assert on_grid(50) == pytest.approx(0.0929, abs=1e-4)
    setting = GapSetting(unit, GaussianLaw.of(0.0, 6400.0), karras(50))
    truth = gap.quadratic(setting, SQUARE, 1.0).item()
    assert truth == printed("-1.6e-4")[0]
    assert 2 * on_grid(60_000) - on_grid(30_000) == pytest.approx(truth, abs=1e-7)


def test_the_gap_on_exact_steps_is_that_of_continuous_time() -> None:
    setting = GapSetting(
        DATA, GaussianLaw.of(0.1, 0.8), Levels.of(RectifiedFlow(), (0.98, 0.5, 0.1, 0.0))
    )
    found = gap.discretised(setting, LINEAR, theory.exact, 1.3)
    torch.testing.assert_close(found, gap.linear(setting, LINEAR, 1.3))
    found = gap.discretised(setting, SQUARE, theory.exact, 1.3)
    torch.testing.assert_close(found, gap.quadratic(setting, SQUARE, 1.3))


SHIFTS = {
    10.0: (
        ("1.36911580", "1.89570480", "1.98019802", "1.99740099", "1.99993815", "1.99999998"),
        ("1.40274456", "1.88205247", "1.80099256", "1.58024817", "1.22392515", "0.79992158"),
    ),
    80.0: (
        ("1.77640194", "1.99267123", "1.99968755", "1.99999339", "1.99999999", "2.00000000"),
        ("2.13003641", "2.29138004", "1.97500195", "1.63636457", "1.23070494", "0.79999998"),
    ),
}
TRAINED = real(0.5, 0.8, 1.0, 1.2, 1.5, 2.0)


@pytest.mark.parametrize("top", SHIFTS)
def test_shifts_after_fine_tuning_are_those_of_the_table(top: float) -> None:
    """[reward-gap] (tuned): pull w/β = 2, and the ODE gains less as η grows beyond 1."""
    tuned = Tuned(2.0, 1.0, 1 / (1 + top**2), TRAINED)
    assert tuned.sde_shift.tolist() == printed(*SHIFTS[top][0])
    assert tuned.ode_shift.tolist() == printed(*SHIFTS[top][1])
    torch.testing.assert_close(tuned.path_kl, tuned.sde_shift)  # ½ (w/β)² s² (1 − q^η²)
    assert bool((tuned.ode_shift[2:].diff() < 0).all())


def test_the_gap_of_fine_tuning_vanishes_only_at_eta_one() -> None:
    """[reward-gap] (tuned): its limit as q → 0 is (w/β) s² (η² − 1)/(η² + 1)."""
    tuned = Tuned(2.0, 0.5, 1e-60, TRAINED)
    torch.testing.assert_close(tuned.sde_shift - tuned.ode_shift, tuned.limit)
    assert tuned.limit[2].item() == 0
    assert tuned.limit.sign().tolist() == [-1, -1, 0, 1, 1, 1]


def test_shifts_after_fine_tuning_are_those_of_a_simulated_chain() -> None:
    """[reward-gap] (tuned): the optimal score change, put into fine Euler steps in σ²."""
    n, top, eta, pull = 20_000, 10.0, 1.5, 2.0
    v = (torch.linspace(1, 0, n + 1).double() ** 3) * top**2
    for at, name in ((eta, "sde_shift"), (0.0, "ode_shift")):
        mean, half = torch.zeros(()).double(), (1 + at**2) / 2
        change = 2 * eta**2 / (1 + eta**2) * pull * (1 / (1 + v)) ** ((1 + eta**2) / 2)
        for now, h, extra in zip(
            v[:-1].tolist(), (-v.diff()).tolist(), change.tolist(), strict=False
        ):
            mean = mean + half * h * (-mean / (1 + now) + extra)
        tuned = Tuned(pull, 1.0, 1 / (1 + top**2), eta)
        assert mean.item() == pytest.approx(getattr(tuned, name).item(), rel=1e-3)


def test_one_gradient_step_on_the_stable_diffusion_grid_helps_the_ode_less_as_eta_grows() -> None:
    """[reward-gap] (tuned): the printed ratios and gains at equal path KL."""
    times = [*((1 + 20 * k + 1) / 1000 for k in range(49, -1, -1)), 1 / 1000]
    levels, unit = Levels.of(DiscreteVP(), times), GaussianLaw.of(0.0, 1.0)
    found = [gap.step_shifts(unit, levels, eta) for eta in TRAINED.tolist()]
    ratios = ("1.0620", "1.0326", "0.9265", "0.7902", "0.6134", "0.4378")
    assert [each.ratio.item() for each in found] == printed(*ratios)
    gains = ("0.61540", "0.59239", "0.51311", "0.43928", "0.36454", "0.30300")
    assert [each.ode_gain.item() for each in found] == printed(*gains)
