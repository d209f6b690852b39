"""Output laws on a mixture: the printed table, three ways against one another, and simulation."""

import pytest
import torch
from torch import Tensor

from scoreward.core.process import LinearVP, RectifiedFlow
from scoreward.models.analytic import Mixture, gaussian
from scoreward.theory import mixture as theory
from scoreward.theory.gaussian import GaussianLaw, Levels, output
from scoreward.theory.mixture import MixtureSampling, Points
from tests.theory.printed import real

DATA = Mixture(real(-2.0, 1.0)[:, None], real(0.25, 0.09), real(0.3, 0.7))
EXACT, PDE = 1e-6, 2e-5
TABLE = {  # (σ_T, η): x, −x², −(x − 1)², sigmoid(4x), tolerance
    (5.0, 0.0): (0.0952322, -1.9837883, -2.7933239, 0.6760732, EXACT),
    (5.0, 0.5): (0.094635, -2.018743, -2.829474, 0.675627, PDE),
    (5.0, 1.0): (0.0957482, -2.0406884, -2.8491920, 0.6759733, EXACT),
    (5.0, 1.5): (0.098608, -2.039497, -2.842281, 0.676872, PDE),
    (5.0, 2.0): (0.099794, -2.038224, -2.838636, 0.677243, PDE),
    (10.0, 0.0): (0.0927533, -2.0295256, -2.8440190, 0.6753586, EXACT),
    (10.0, 0.5): (0.094627, -2.038698, -2.849445, 0.675746, PDE),
    (10.0, 1.0): (0.0982552, -2.0397363, -2.8432258, 0.6767756, EXACT),
    (10.0, 1.5): (0.099802, -2.038216, -2.838612, 0.677246, PDE),
    (10.0, 2.0): (0.099992, -2.038009, -2.838025, 0.677305, PDE),
}


def rewards(y: Tensor) -> Tensor:
    return torch.stack([y, -(y**2), -((y - 1) ** 2), (4 * y).sigmoid()], -1)


def exploding(top: float, data: Mixture = DATA) -> MixtureSampling:
    return MixtureSampling.of(data, GaussianLaw.of(0.0, top**2), Levels.exploding([top, 0.0]))


@pytest.mark.parametrize(("top", "eta"), TABLE)
def test_expected_rewards_are_those_of_the_table(top: float, eta: float) -> None:
    """[reward-gap] (mixture)"""
    *expected, tolerance = TABLE[top, eta]
    law = theory.output_law(exploding(top), eta)
    assert law.expect(rewards).tolist() == pytest.approx(expected, abs=tolerance, rel=0)
    assert law.weight.sum().item() == pytest.approx(1, abs=1e-9)


def test_the_data_has_the_true_values_of_the_text() -> None:
    y = theory.Diffused(DATA).grid(4001)
    weight = theory.Diffused(DATA).log_density(y, 0.0).exp() * (y[1] - y[0])
    found = Points(y, weight).expect(rewards).tolist()
    assert found == pytest.approx([0.1, -2.038, -2.838, 0.67730824], abs=5.01e-9, rel=0)


def test_the_gap_of_a_mixture_is_not_monotone_in_eta() -> None:
    """[reward-gap] (definition): on a Gaussian it is."""
    means = [TABLE[5.0, eta][0] for eta in (0.0, 0.5, 1.0, 1.5, 2.0)]
    found = [theory.output_law(exploding(5.0), e).expect(lambda y: y).item() for e in (0.0, 0.5)]
    assert found == pytest.approx(means[:2], abs=PDE)
    assert found[1] < found[0] < means[2] < means[3]


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_equation_agrees_with_both_exact_ways(eta: float) -> None:
    """[reward-gap] (mixture) for a start that is off-centre and too narrow."""
    sampling = MixtureSampling(DATA, GaussianLaw.of(1.0, 9.0), 25.0)
    exact = theory.output_law(sampling, eta).expect(rewards)
    found = theory.evolved(sampling, eta).expect(rewards)
    assert found.tolist() == pytest.approx(exact.tolist(), abs=1e-6)
    rough = theory.evolved(sampling, eta, 101, 20).expect(rewards)
    assert rough.tolist() != pytest.approx(exact.tolist(), abs=1e-6)  # two ways, not one


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0, 1.8])
def test_one_component_is_the_gaussian_law(eta: float) -> None:
    """[reward-gap] (mixture) against [reward-gap] (output), from a VP start."""
    levels, start = Levels.of(LinearVP(1.0, 2.0)), GaussianLaw.of(0.2, 1.1)
    law = theory.output_law(MixtureSampling.of(gaussian([0.7], 0.25), start, levels), eta)
    truth = output(GaussianLaw.of(0.7, 0.25), start, levels, eta)
    mean, second = law.expect(lambda y: torch.stack([y, y**2], -1)).tolist()
    assert mean == pytest.approx(truth.mean.item(), abs=1e-6)
    assert second - mean**2 == pytest.approx(truth.variance.item(), abs=1e-6)


def test_impossible_input_is_refused() -> None:
    plane = Mixture(torch.zeros(1, 2).double(), real(1.0), real(1.0))
    with pytest.raises(ValueError, match="one-dimensional, got data and start of"):
        MixtureSampling(plane, GaussianLaw.of(0.0, 1.0), 4.0)
    with pytest.raises(ValueError, match="finite and above 0, got inf"):
        MixtureSampling.of(DATA, GaussianLaw.of(0.0, 1.0), Levels.of(RectifiedFlow()))
    with pytest.raises(ValueError, match="must end at clean data"):
        MixtureSampling.of(DATA, GaussianLaw.of(0.0, 1.0), Levels.exploding([5.0, 1.0]))
    with pytest.raises(ValueError, match=r"eta must not be negative, got -1"):
        theory.output_law(exploding(5.0), -1.0)
