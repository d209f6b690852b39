"""KL of paths: the table of sums on the Stable Diffusion grid, and quadrature that is not ours."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from scoreward.core.process import VE, DiscreteVP, LinearVP, Process, RectifiedFlow
from scoreward.theory import path_kl as theory
from scoreward.theory.gaussian import GaussianLaw, Levels, output
from tests.golden.load import golden
from tests.theory.printed import printed, real

TABLE = golden("path_kl")
STABLE = Levels.of(DiscreteVP(), [*((1 + 20 * k + 1) / 1000 for k in range(49, -1, -1)), 0.001])
ETAS = real(0.5, 1.0, 1.2, 1.5, 2.0)


def test_sums_over_the_stable_diffusion_grid_are_those_of_the_table() -> None:
    """[score-as-action] (step KL) and [score-as-action] (rules), a factor of two apart."""
    sums = theory.step_weights(STABLE, ETAS).sum(-1)
    exact = ("16.668561", "11.004001", "11.280729", "12.266893", "14.469271")
    assert sums.tolist() == printed(*exact)
    rule = ("9.545127", "6.108881", "6.314207", "7.169451", "9.545127")
    assert theory.log_snr_rule(STABLE, ETAS).sum(-1).tolist() == printed(*rule)
    rule = ("7.767639", "4.971289", "5.138379", "5.834360", "7.767639")
    assert theory.score_rule(STABLE, ETAS).sum(-1).tolist() == printed(*rule)


def test_a_log_snr_with_a_square_root_too_few_changes_the_weights() -> None:
    """[score-as-action] (rules): 2 log(ᾱ/√(1 − ᾱ)), found in public code, sums to 8.685521."""
    bar = STABLE.alpha**2
    trap = 2 * (bar / (1 - bar).sqrt()).log()
    assert (0.5 * trap.diff().sum()).item() == printed("8.685521")[0]
    right = theory.log_snr_rule(STABLE, 1.0).sum().item()
    assert right == printed("6.108881")[0]
    log_snr = DiscreteVP().log_snr(real(0.982, 0.001))
    assert right == pytest.approx(0.5 * log_snr.diff().item(), rel=1e-9)


def test_the_weight_of_a_step_tends_to_the_rule_as_steps_shrink() -> None:
    """[score-as-action] (step KL) → [score-as-action] (rules); at η = 1 it is (1 − r²)/(2 r²)."""
    fine = Levels.of(LinearVP(), (0.5, 0.49999))
    for rule in (theory.log_snr_rule, theory.score_rule):
        ratio = theory.step_weights(fine, ETAS) / rule(fine, ETAS)
        assert ratio[:, 0].tolist() == pytest.approx([1.0] * 5, rel=1e-3)
    r = STABLE.snr_ratio()
    torch.testing.assert_close(theory.step_weights(STABLE, 1.0), (1 - r**2) / (2 * r**2))


def test_the_factor_is_least_at_eta_one() -> None:
    """[score-as-action] (K)"""
    found = theory.factor(real(0.5, 1.0, 2.0, 0.0, 0.9, 1.1))
    assert found[:3].tolist() == [1.5625, 1.0, 1.5625]
    assert found[3].isinf()
    assert bool((found[4:] > 1).all())


@pytest.mark.parametrize("name", ["shifted", "narrowed"])
def test_path_kl_is_that_of_the_table(name: str) -> None:
    """[score-as-action] (K), and KL of the ends, for all η at once."""
    rows, start = TABLE[name]["rows"], GaussianLaw.of(0.0, 1.0)
    data, other = GaussianLaw.of(*TABLE["data"]), GaussianLaw.of(*TABLE[name]["other"])
    eta, levels = real(*(row[0] for row in rows)), Levels.of(LinearVP())
    found = theory.gaussian_path_kl(data, other, start, levels, eta)
    assert found.tolist() == pytest.approx([row[1] for row in rows], abs=5.01e-7)
    ends = output(data, start, levels, eta).kl(output(other, start, levels, eta))
    for end, row in zip(ends.tolist(), rows, strict=True):
        assert row[2] is None or end == pytest.approx(row[2], abs=5.01e-7)
    if name == "shifted":
        torch.testing.assert_close(theory.same_variance_path_kl(data, other, levels, eta), found)


PROCESSES: tuple[Process, ...] = (RectifiedFlow(), LinearVP(1.0, 4.0), VE(0.2, 4.0))


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("eta", [0.5, 1.0, 1.6])
def test_path_kl_is_the_integral_over_time(process: Process, eta: float) -> None:
    """[score-as-action] (K): ½ factor ∫ g² E|Δs|² dt by scipy, with laws of x_t at each time."""
    data, other, start, top = (
        GaussianLaw.of(0.3, 0.6),
        GaussianLaw.of(-0.4, 0.2),
        GaussianLaw.of(0.5, 1.3),
        0.98,
    )

    def rate(t: float) -> float:
        mean, variance = _law_at(process, data, start, top, t, eta)
        alpha, sigma = process.alpha(real(t)).item(), process.sigma(real(t)).item()
        now, then = (alpha**2 * law.variance.item() + sigma**2 for law in (data, other))
        slope = 1 / then - 1 / now
        shift = alpha * (data.mean.item() / now - other.mean.item() / then)
        return process.g(real(t)).item() ** 2 * ((shift + slope * mean) ** 2 + slope**2 * variance)

    total = quad(rate, 1e-9, top, limit=200)[0] * 0.5 * ((1 + eta**2) / (2 * eta)) ** 2
    found = theory.gaussian_path_kl(data, other, start, Levels.of(process, (top, 1e-9)), eta)
    assert found.item() == pytest.approx(total, rel=1e-6)


def _law_at(
    process: Process, data: GaussianLaw, start: GaussianLaw, top: float, t: float, eta: float
) -> tuple[float, float]:
    if t >= top:
        return start.mean.item(), start.variance.item()
    law = output(data, start, Levels.of(process, (top, t)), eta)
    return law.mean.item(), law.variance.item()


@settings(max_examples=60)
@given(
    eta=st.floats(0.2, 2.5),
    data=st.tuples(st.floats(-2, 2), st.floats(0.05, 2)),
    other=st.tuples(st.floats(-2, 2), st.floats(0.05, 2)),
    start=st.tuples(st.floats(-1, 1), st.floats(0.3, 2)),
)
def test_paths_differ_at_least_as_much_as_their_ends(
    eta: float,
    data: tuple[float, float],
    other: tuple[float, float],
    start: tuple[float, float],
) -> None:
    """[score-as-action] (K), property (v)"""
    p, q, first = GaussianLaw.of(*data), GaussianLaw.of(*other), GaussianLaw.of(*start)
    for levels in (Levels.of(RectifiedFlow()), Levels.of(LinearVP(1.0, 1.0))):
        ends = output(p, first, levels, eta).kl(output(q, first, levels, eta)).item()
        paths = theory.gaussian_path_kl(p, q, first, levels, eta).item()
        assert paths >= ends * (1 - 1e-9) - 1e-12


def test_path_kl_in_several_dimensions_adds_up() -> None:
    levels, start = Levels.of(LinearVP()), GaussianLaw.of([0.3, -0.2], 1.4)
    p, q = GaussianLaw.of([0.5, 1.0], 0.6), GaussianLaw.of([-0.2, 0.7], 0.9)
    parts = sum(
        theory.gaussian_path_kl(
            GaussianLaw.of(p.mean[i], 0.6),
            GaussianLaw.of(q.mean[i], 0.9),
            GaussianLaw.of(start.mean[i], 1.4),
            levels,
            1.3,
        ).item()
        for i in range(2)
    )
    total = theory.gaussian_path_kl(p, q, start, levels, 1.3).item()
    assert total == pytest.approx(parts, rel=1e-12)


def test_impossible_input_is_refused() -> None:
    with pytest.raises(ValueError, match="variance-preserving levels"):
        theory.score_rule(Levels.of(RectifiedFlow(), (0.9, 0.5)), 1.0)
    p, q = GaussianLaw.of(0.3, 0.6), GaussianLaw.of(0.3, 0.3)
    with pytest.raises(ValueError, match="needs equal variances; use gaussian_path_kl"):
        theory.same_variance_path_kl(p, q, Levels.of(LinearVP()), 1.0)
