"""The exact law that any of the library's samplers has on Gaussian data.

On N(m, c I) every one-step kernel is affine, so asking it about three states gives all there is to
know. Mixed windows of ODE and SDE steps, Heun and published noise rules come out as they are coded,
which is what a closed form should be compared with.
"""

import torch
from torch import Tensor

from scoreward.core.chain import Sampler
from scoreward.core.kernel import Kernel
from scoreward.core.process import Process
from scoreward.models.analytic import ExactDenoiser, gaussian
from scoreward.theory.gaussian import F64, GaussianLaw, Levels, Steps


def steps_of(sampler: Sampler, process: Process, data: GaussianLaw) -> Steps:
    """The chain of a sampler with the exact denoiser of one Gaussian; `push` gives its output law.

    ValueError for multi-step solvers, whose steps depend on the one before.
    """
    if data.variance.ndim:
        raise ValueError(f"expected one Gaussian, got {tuple(data.variance.shape)} of them")
    sampler.check(process)
    times = torch.tensor(sampler.times, dtype=F64)
    rows = [
        _step(kernel, process, data.variance.item(), times[i : i + 2])
        for i, kernel in enumerate(sampler.kernels)
    ]
    slope, variance, missed = torch.stack(rows).unbind(1)
    return Steps(data, Levels.of(process, times), slope, variance, missed)


def _step(kernel: Kernel, process: Process, variance: float, times: Tensor) -> Tensor:
    """(slope, variance, what is missed per unit of mean) of one step."""
    if not kernel.replayable and kernel.calls == 1:
        raise ValueError(
            f"{type(kernel).__name__} remembers earlier steps, so that its steps are no chain"
        )
    t, s = (u.expand(2) for u in times)
    at_0, at_1 = _ask(kernel, process, 0.0, variance, torch.tensor([[0.0], [1.0]]).to(F64), t, s)
    alpha = process.alpha(times)
    at_mean, _ = _ask(kernel, process, 1.0, variance, alpha[0].expand(2, 1), t, s)
    std = kernel.std(process, times[:1], times[1:])[0]
    return torch.stack([at_1 - at_0, std**2, at_mean - alpha[1]])


def _ask(
    kernel: Kernel,
    process: Process,
    mean: float,
    variance: float,
    x: Tensor,
    t: Tensor,
    s: Tensor,
) -> tuple[Tensor, Tensor]:
    """Where a step goes from two states, on data of this mean."""
    denoiser = ExactDenoiser(gaussian([mean], variance), process)
    law, _ = kernel.step(lambda y, u: denoiser(y, u), x, t, s, None)
    return law.mean[0, 0], law.mean[1, 0]
