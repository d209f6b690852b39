"""The two ends of time: t = 1 on rectified flow, where no signal is left, and σ_s = 0."""

from functools import partial
from math import inf, sqrt

import pytest
import torch

from scoreward.core.chain import uniform
from scoreward.core.kernel import (
    DDIM,
    DPMSolverPP,
    EulerMaruyama,
    Heun,
    Kernel,
    ancestral,
    coefficients_preserving,
    dance_sde,
    ddim,
    euler,
    flow_sde,
    generalised,
    reverse_sde,
)
from scoreward.core.prediction import Prediction
from scoreward.core.process import VE, CosineVP, LinearVP, Process, RectifiedFlow
from scoreward.models.analytic import ExactDenoiser, gaussian
from tests.core.laws import F64, PROCESSES, ask, one_pair, real

FROM_NOISE: dict[str, Kernel] = {
    "generalised(0.5)": DDIM(generalised(0.5)),
    "generalised(2)": DDIM(generalised(2.0)),
    "ancestral(1)": DDIM(ancestral(1.0)),
    "cps": DDIM(coefficients_preserving(0.8)),
    "ddim": ddim(),
    "euler": euler(),
    "reverse-sde": EulerMaruyama(reverse_sde(1.0, at_one=0.9)),
    "flow-sde": EulerMaruyama(flow_sde(0.7, at_one=0.9)),
    "dance-sde": EulerMaruyama(dance_sde(0.3)),
    "heun": Heun(),
    "dpm": DPMSolverPP(),
}
X, V = real(0.5, -1.0)[None], real(1.0, 0.5)[None]


def velocity_at_one(x: torch.Tensor = X, v: torch.Tensor = V) -> Prediction:
    return Prediction.of("velocity", v, x, real(1.0), RectifiedFlow())


@pytest.mark.parametrize("kernel", FROM_NOISE.values(), ids=FROM_NOISE.keys())
def test_a_step_from_pure_noise_is_finite(kernel: Kernel) -> None:
    kernel.check(RectifiedFlow(), 1.0, 0.9)
    law = kernel(velocity_at_one(), real(0.9))
    assert law.mean.isfinite().all()
    assert law.std.isfinite().all()


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0])
def test_from_pure_noise_any_eta_redraws_all_noise(eta: float) -> None:
    """σ_t/α_t = ∞, so ρ = 0: x_s ~ N(α_s x0, σ_s²), while η = 0 keeps all of ε."""
    law = DDIM(generalised(eta))(velocity_at_one(), real(0.9))
    torch.testing.assert_close(law.mean, 0.1 * (X - V))
    torch.testing.assert_close(law.std, real(0.9)[None])
    kept = DDIM(generalised(0.0))(velocity_at_one(), real(0.9))
    torch.testing.assert_close(kept.mean, 0.1 * (X - V) + 0.9 * X)


def test_at_one_replaces_the_infinite_level_by_that_of_the_given_time() -> None:
    """Flow-GRPO's code: s = a √(1/(1 − σ₁)). g² of `reverse_sde` is 2t/(1 − t), taken at σ₁."""
    law = EulerMaruyama(flow_sde(0.7, at_one=0.9))(velocity_at_one(), real(0.9))
    torch.testing.assert_close(law.std, real(0.7 * sqrt(1 / 0.1) * sqrt(0.1))[None])
    law = EulerMaruyama(reverse_sde(0.5, at_one=0.9))(velocity_at_one(), real(0.9))
    torch.testing.assert_close(law.std, real(0.5 * sqrt(1.8 / 0.1) * sqrt(0.1))[None])


def test_at_one_changes_no_other_time() -> None:
    t, flow = real(0.3, 0.999), RectifiedFlow()
    assert torch.equal(flow_sde(0.7, at_one=0.9)(flow, t), flow_sde(0.7)(flow, t))
    assert torch.equal(reverse_sde(0.7, at_one=0.9)(flow, t), reverse_sde(0.7)(flow, t))


@pytest.mark.parametrize("process", [RectifiedFlow(), CosineVP()], ids=repr)
def test_an_infinite_level_is_refused_with_the_way_out(process: Process) -> None:
    kernel = EulerMaruyama(reverse_sde(1.0))
    with pytest.raises(ValueError, match=r"infinite at t = 1.0.*pass `at_one`.*here 0\.9000"):
        uniform(kernel, 10).check(process)
    uniform(kernel, 10, start=0.98).check(process)
    uniform(EulerMaruyama(reverse_sde(1.0, at_one=0.9)), 10).check(process)


def test_flow_sde_refuses_pure_noise_without_at_one() -> None:
    assert flow_sde(0.7)(RectifiedFlow(), real(1.0)).item() == inf
    with pytest.raises(ValueError, match="infinite at t = 1"):
        EulerMaruyama(flow_sde(0.7)).check(RectifiedFlow(), 1.0, 0.9)


@pytest.mark.parametrize("process", [RectifiedFlow(), LinearVP(), CosineVP()], ids=repr)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0, 2.0])
def test_a_ddim_step_onto_clean_data_lands_on_x0(process: Process, eta: float) -> None:
    pred, _, _ = one_pair(process, x0=0.8, eps=-1.3, t=0.3)
    law = DDIM(generalised(eta))(pred, real(0.0))
    torch.testing.assert_close(law.mean, pred.x0)
    assert not law.std.any()


@pytest.mark.parametrize("kernel", [Heun(), DPMSolverPP()], ids=["heun", "dpm"])
def test_second_order_solvers_end_with_a_first_order_step(kernel: Kernel) -> None:
    """[edm] (Alg. 1) and [dpm-solver++] (Alg. 2): onto σ = 0 the step is Euler, here x0 itself."""
    denoiser = ExactDenoiser(gaussian([0.7, -0.2], 0.25), RectifiedFlow())
    x, t, s = X, real(0.3), real(0.0)
    before = denoiser(x + 0.1, real(0.5))
    law, pred = kernel.step(partial(ask, denoiser), x, t, s, before)
    torch.testing.assert_close(law.mean, pred.x0)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_no_step_of_a_whole_chain_is_nan(process: Process) -> None:
    """From pure noise to data; x0 is what an exact denoiser knows even where α = 0."""
    denoiser = ExactDenoiser(gaussian([0.7], 0.25), process)
    for kernel in (DDIM(generalised(1.5)), ddim(), DPMSolverPP()):
        x, previous = real(0.4)[:, None], None
        for t, s in ((1.0, 0.6), (0.6, 0.2), (0.2, 0.0)):
            law, previous = kernel.step(partial(ask, denoiser), x, real(t), real(s), previous)
            x = law.sample(torch.ones_like(law.mean))
            assert x.isfinite().all()


def test_ve_ends_at_its_smallest_sigma() -> None:
    """σ(0) is not 0, so a chain keeps noise 0.01 unless its user goes on to x0."""
    pred, _, sigma = one_pair(VE(), x0=0.8, eps=1.0, t=0.3)
    law = ddim()(pred, real(0.0))
    torch.testing.assert_close(law.mean, torch.full((1, 1), 0.81, dtype=F64))
    assert sigma > 0.01
