"""The law of any sampler of the library on Gaussian data."""

import pytest
import torch

from scoreward.core.chain import draw, uniform, windowed
from scoreward.core.kernel import (
    DDIM,
    DPMSolverPP,
    EulerMaruyama,
    Heun,
    Kernel,
    ddim,
    euler,
    flow_sde,
    generalised,
    reverse_sde,
)
from scoreward.core.kernel import ancestral as own_noise
from scoreward.core.keys import Key
from scoreward.core.process import LinearVP, Process, RectifiedFlow, time_grid
from scoreward.models.analytic import ExactDenoiser, gaussian
from scoreward.theory import gaussian as theory
from scoreward.theory.chains import steps_of
from scoreward.theory.gaussian import GaussianLaw, Levels
from tests.core.laws import PROCESSES, affine, exact
from tests.theory.printed import F64

DATA, START = GaussianLaw.of(0.7, 0.25), GaussianLaw.of(0.3, 1.2)
TIMES = time_grid(9, 3.0)
RULES = {
    "generalised": (theory.generalised, DDIM(generalised(0.6))),
    "ancestral": (theory.ancestral, DDIM(own_noise(0.6))),
    "flow_sde": (theory.flow_sde, EulerMaruyama(flow_sde(0.6 * 2**0.5, TIMES[1]))),
}


@pytest.mark.parametrize("name", RULES)
def test_a_sampler_has_the_law_of_the_closed_form(name: str) -> None:
    """[reward-gap] (G chain), [ddim] (16) and [flow-grpo] (9), two ways."""
    rule, kernel = RULES[name]
    found = steps_of(uniform(kernel, 9, shift=3.0), RectifiedFlow(), DATA).push(START)
    law = rule(DATA, Levels.of(RectifiedFlow(), TIMES), 0.6).push(START)
    torch.testing.assert_close(found.mean, law.mean)
    torch.testing.assert_close(found.variance, law.variance)


KERNELS: dict[str, Kernel] = {
    "ddim": ddim(),
    "euler": euler(),
    "sde": EulerMaruyama(reverse_sde(0.8)),
    "heun": Heun(),
}


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_moments_are_those_of_steps_pushed_one_by_one(kernel: Kernel, process: Process) -> None:
    """Also where Euler steps in a bent time miss the mean."""
    sampler = uniform(kernel, 6, start=0.9, end=0.1)
    law = steps_of(sampler, process, DATA).push(START)
    expected = affine(kernel, exact(process), sampler.times).push(0.3, 1.2)
    assert (law.mean.item(), law.variance.item()) == pytest.approx(expected, rel=1e-9)


def test_a_mixed_window_has_the_law_of_its_samples() -> None:
    """Three SDE steps among ODE steps, chains of the library in 20 times 1000 dimensions."""
    sampler = windowed(ddim(), DDIM(generalised(1.5)), 2, 3, time_grid(8, 3.0))
    data, start = (
        GaussianLaw.of([mean] * 1000, variance) for mean, variance in ((0.7, 0.25), (0.0, 1.0))
    )
    keys = [Key(("window", i)) for i in range(20)]
    x = torch.stack([(key / "start").normal(1000, dtype=F64) for key in keys])
    ends = draw(
        sampler, ExactDenoiser(gaussian([0.7] * 1000, 0.25), RectifiedFlow()), x, keys, None
    )
    law = steps_of(sampler, RectifiedFlow(), data).push(start)
    assert ends.mean().item() == pytest.approx(law.mean[0].item(), abs=0.01)
    assert ends.var().item() == pytest.approx(law.variance.item(), rel=0.03)
    ode = steps_of(uniform(ddim(), 8, shift=3.0), RectifiedFlow(), data).push(start)
    assert law.variance < 0.98 * ode.variance


def test_what_is_no_chain_is_refused() -> None:
    with pytest.raises(ValueError, match="DPMSolverPP remembers earlier steps"):
        steps_of(uniform(DPMSolverPP(), 4, start=0.9), LinearVP(), DATA)
    with pytest.raises(ValueError, match=r"expected one Gaussian, got \(2,\) of them"):
        steps_of(uniform(ddim(), 4), LinearVP(), GaussianLaw.of(0.7, torch.ones(2).double()))
    with pytest.raises(ValueError, match="use generalised"):
        steps_of(uniform(DDIM(own_noise(2.0)), 4, start=0.9), LinearVP(), DATA)
