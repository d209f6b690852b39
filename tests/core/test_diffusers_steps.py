"""Our steps beside the schedulers of diffusers, at random inputs; the numbers of docs/agreement.md.

Tables of ᾱ there are float32, so theirs are replaced by ours; the step of flow models computes in
float32 itself.
"""

from typing import Any

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from scoreward.core.gaussian import Gaussian
from scoreward.core.kernel import DDIM, Kernel, ancestral, euler
from scoreward.core.keys import Key
from scoreward.core.prediction import Kind, Prediction
from scoreward.core.process import DiscreteVP, Process, RectifiedFlow
from scoreward.objectives.pictures.inversion import moved
from tests.core.laws import F64

TABLE, SHAPE = DiscreteVP(), (3, 4, 4, 4)
BAR = TABLE.alpha((torch.arange(1000, dtype=F64) + 1) / 1000) ** 2
SD: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def drawn(seed: int, name: str) -> Tensor:
    return (Key(("diffusers",)) / seed / name).normal(*SHAPE, dtype=F64)


def law(
    kernel: Kernel,
    said: Tensor,
    x: Tensor,
    times: tuple[float, float],
    process: Process,
    kind: Kind,
) -> Gaussian:
    t, s = (torch.full((len(x),), time, dtype=F64) for time in times)
    return kernel(Prediction.of(kind, said, x, t, process), s)


@pytest.mark.parametrize("steps", [10, 20, 25, 50])
def test_ddim_with_any_eta_is_that_of_diffusers(steps: int) -> None:
    theirs: Any = DDIMScheduler(**SD)
    theirs.alphas_cumprod, theirs.final_alpha_cumprod = BAR, BAR[0]
    theirs.set_timesteps(steps)
    for seed, label in enumerate(theirs.timesteps[:-1].tolist() * 3):
        x, eps, noise = (drawn(seed, name) for name in ("x", "eps", "noise"))
        eta = float((Key(("eta",)) / seed).uniform(1))
        times = TABLE.time_of(label), TABLE.time_of(label - 1000 // steps)
        ours = law(DDIM(ancestral(eta)), eps, x, times, TABLE, "eps").sample(noise)
        expected = theirs.step(eps, label, x, eta=eta, variance_noise=noise).prev_sample
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_the_step_of_flow_models_is_that_of_diffusers() -> None:
    for seed in range(40):
        theirs: Any = FlowMatchEulerDiscreteScheduler(shift=1.0 + seed % 4)
        theirs.set_timesteps(4 + seed)
        for step in (0, 1, 2, 3):
            theirs._step_index = step
            x, v = drawn(seed, f"x{step}"), drawn(seed, f"v{step}")
            times = float(theirs.sigmas[step]), float(theirs.sigmas[step + 1])
            ours = law(euler(), v, x, times, RectifiedFlow(), "velocity").mean
            expected = theirs.step(v, theirs.timesteps[step], x).prev_sample
            torch.testing.assert_close(ours, expected.double(), rtol=1e-6, atol=2e-6)


def test_inversion_steps_are_those_of_diffusers() -> None:
    """[inpo] (code) [ddim] (12)"""
    for steps in (5, 10, 20):
        theirs: Any = DDIMInverseScheduler(**SD)
        theirs.alphas_cumprod, theirs.initial_alpha_cumprod = BAR, BAR[0]
        theirs.set_timesteps(steps)
        for seed, label in enumerate(theirs.timesteps.tolist() * 4):
            x, eps = drawn(seed, "x"), drawn(seed, "eps")
            before = max(label - 1000 // steps, 0)
            t, s = (torch.full((3,), TABLE.time_of(at), dtype=F64) for at in (before, label))
            expected = theirs.step(eps, label, x).prev_sample
            ours = moved(x, eps, t, s, TABLE)
            torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
