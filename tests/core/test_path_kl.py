"""KL between the paths of the library's chains with different scores, at any η."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scoreward.core.gaussian import Gaussian
from scoreward.core.kernel import DDIM, EulerMaruyama, Kernel, generalised, reverse_sde
from scoreward.core.process import LinearVP
from scoreward.theory.gaussian import GaussianLaw, Levels
from scoreward.theory.path_kl import gaussian_path_kl
from tests.core.laws import affine, exact, line, real
from tests.golden.load import golden

TABLE = golden("path_kl")
PROCESS = LinearVP()


def path_kl(eta: float, data: list[float], other: list[float]) -> float:
    """In continuous time; tests/theory checks it against the table and against quadrature."""
    start, levels = GaussianLaw.of(0.0, 1.0), Levels.of(PROCESS)
    return gaussian_path_kl(
        GaussianLaw.of(*data), GaussianLaw.of(*other), start, levels, eta
    ).item()


def chain_kl(
    kernel: Kernel, data: list[float], other: list[float], times: list[float]
) -> tuple[float, float]:
    """(KL of the discrete paths, KL of their ends), both from N(0, 1), summed step by step."""
    p, q = (affine(kernel, exact(PROCESS, *d), times) for d in (data, other))
    total, mean, variance = 0.0, 0.0, 1.0
    for i in range(len(times) - 1):
        step, rival = p.slope[i] - q.slope[i], p.shift[i] - q.shift[i]
        apart = (step * mean + rival) ** 2 + step**2 * variance
        total += (apart / (2 * p.std[i] ** 2)).item()
        mean, variance = push(p.slope[i], p.shift[i], p.std[i], mean, variance)
    ends = [
        Gaussian(real(m)[:, None], real(v).sqrt()[:, None])
        for m, v in (chain.push(0.0, 1.0) for chain in (p, q))
    ]
    return total, ends[0].kl(ends[1]).item()


def push(
    slope: Tensor, shift: Tensor, std: Tensor, mean: float, variance: float
) -> tuple[float, float]:
    return (slope * mean + shift).item(), (slope**2 * variance + std**2).item()


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0])
def test_the_kl_of_a_fine_chain_tends_to_that_of_the_paths(eta: float) -> None:
    """Between library kernels; first order in the step, so halving it halves the distance."""
    data, other = TABLE["data"], TABLE["shifted"]["other"]
    truth = path_kl(eta, data, other)
    for kernel in (EulerMaruyama(reverse_sde(eta)), DDIM(generalised(eta))):
        far, near = (
            abs(chain_kl(kernel, data, other, [u**2 for u in line(1.0, 0.02, n)])[0] - truth)
            for n in (250, 500)
        )
        assert near < 0.6 * far
        assert near < 0.03 * truth


LAWS = st.tuples(st.floats(-2, 2), st.floats(0.05, 2)).map(list)


@settings(max_examples=40)
@given(eta=st.floats(0.2, 2.5), data=LAWS, other=LAWS)
def test_paths_differ_at_least_as_much_as_their_ends(
    eta: float, data: list[float], other: list[float]
) -> None:
    """The data-processing inequality, exact for a discrete chain of any coarseness."""
    times = line(1.0, 0.1, 6)
    paths, ends = chain_kl(DDIM(generalised(eta)), data, other, times)
    assert paths >= ends * (1 - 1e-9) - 1e-12


@pytest.mark.parametrize("name", ["shifted", "narrowed"])
def test_path_kl_is_smallest_near_eta_one(name: str) -> None:
    """The factor ((1 + η²)/2η)² is 1 at η = 1 and 1.5625 at ½ and at 2; E|s − s'|² hardly moves."""
    other = TABLE[name]["other"]
    values = [path_kl(eta, TABLE["data"], other) for eta in (0.5, 0.8, 1.0, 1.25, 2.0)]
    assert all(a > b for a, b in pairwise(values[:3]))
    assert all(a < b for a, b in pairwise(values[2:]))
    assert values[0] / values[2] == pytest.approx(1.5625, rel=1e-3)
    assert values[4] / values[2] == pytest.approx(1.5625, rel=1e-3)
