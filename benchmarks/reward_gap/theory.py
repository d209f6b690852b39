"""Theory against measured: theory.jsonl, and theory.png for the page.

    python -m benchmarks.reward_gap.theory

Gaussian and mixture data with the exact denoiser, so that all of the gap is the sampler's. Points
are what `measure_gap` finds, with 95 % intervals; lines are exact: the law of the chain on each
grid, and of the reverse process in continuous time. Every coordinate of a vector is a sample.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from scoreward.core.denoiser import Denoiser
from scoreward.core.prediction import Prediction
from scoreward.core.process import VE, LinearVP, Process, time_grid
from scoreward.methods.sampling import Sampling
from scoreward.models.analytic import ExactDenoiser, Mixture, gaussian
from scoreward.models.base import Model
from scoreward.theory.gaussian import GaussianLaw, Levels, QuadraticReward, generalised
from scoreward.theory.mixture import MixtureSampling as Start
from scoreward.theory.mixture import output_law
from scoreward.theory.reward_gap import GapSetting, discretised, quadratic
from scoreward.training.evaluations.gap import Gap
from scoreward.training.evaluations.pictures import Evaluation, measure_gap
from scoreward.training.team import Team

HERE = Path(__file__).parent
ETAS = (0.5, 1.0, 1.5, 2.0)
DIM = 512
WEAK = LinearVP(0.1, 3.0)  # α(1) = 0.46, so the start N(0, 1) is visibly not p_1
WIDE = VE(0.004, 5.0)
F64 = torch.float64
NORMAL = gaussian([0.7], 0.25)
PAIR = Mixture(
    torch.tensor([[-2.0], [1.0]], dtype=F64),
    torch.tensor([0.25, 0.09], dtype=F64),
    torch.tensor([0.3, 0.7], dtype=F64),
)
INK = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def square(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """−x², mean over the coordinates."""
    return -media.square().mean(1)


def by_coordinate(data: Mixture, process: Process) -> Denoiser:
    """The exact denoiser of one dimension, for every coordinate."""
    exact = ExactDenoiser(data, process)

    def denoise(x: Tensor, t: Tensor, cond: Any) -> Prediction:
        flat = exact(x.reshape(-1, 1), t.repeat_interleave(x.shape[1]))
        return Prediction.of("x0", flat.x0.reshape(x.shape), x, t, process)

    return denoise


def measured(data: Mixture, process: Process, gap: Gap) -> list[dict]:
    """The records of `measure_gap`."""

    def nothing(prompts: Sequence[str]) -> Tensor:
        return torch.zeros(len(prompts), 1)

    shape = (DIM,)
    model = Model(nn.Identity(), process, "x0", shape, nothing, lambda x: x, lambda cond: cond)
    settings = Evaluation(
        [""] * gap.prompts, {"ode": Sampling().sampler()}, {"square": square}, gap=gap
    )
    return measure_gap(settings, model, by_coordinate(data, process), Team())


def gaussian_lines() -> list[dict]:
    """Measured and exact gaps on three grids and in the limit."""
    gap = Gap(ETAS, (5, 10, 20, 40), 100, prompts=200, noises=1)
    data, reward = GaussianLaw.of(0.7, 0.25), QuadraticReward(torch.zeros(1, dtype=F64))
    limit = GapSetting.from_noise(data, Levels.of(WEAK))
    rows = []
    for record in measured(NORMAL, WEAK, gap):
        eta, steps = record["eta"], record["steps"]
        if eta:
            on = GapSetting.from_noise(data, Levels.of(WEAK, time_grid(steps)))
            rows.append(
                {"data": "gaussian", "eta": eta, "steps": steps}
                | {k: record["gap"]["square"][k] for k in ("value", "standard_error")}
                | {"exact": float(discretised(on, reward, generalised, eta))}
                | {"limit": float(quadratic(limit, reward, eta))}
            )
    return rows


def mixture_lines() -> list[dict]:
    """The same on two modes, VE from σ = 5; the exact gap is that in continuous time."""
    gap = Gap(ETAS, (10, 20, 40), 160, prompts=400, noises=1)
    start = Start(PAIR, GaussianLaw.of(0.0, WIDE.sigma_max**2), WIDE.sigma_max**2)
    mean = {eta: float(output_law(start, eta).expect(lambda y: -(y**2))) for eta in (0.0, *ETAS)}
    return [
        {"data": "mixture", "eta": r["eta"], "steps": r["steps"]}
        | {k: r["gap"]["square"][k] for k in ("value", "standard_error")}
        | {"limit": mean[r["eta"]] - mean[0.0]}
        for r in measured(PAIR, WIDE, gap)
        if r["eta"]
    ]


def panel(axes: Any, rows: list[dict], title: str) -> None:
    """Gap against steps: measured points, the exact chain where known, the limit at the end."""
    grids = sorted({row["steps"] for row in rows})
    for eta, ink in zip(ETAS, INK, strict=True):
        mine = sorted((r for r in rows if r["eta"] == eta), key=lambda r: r["steps"])
        x, y = [r["steps"] for r in mine], [r["value"] for r in mine]
        bars = [1.96 * r["standard_error"] for r in mine]
        axes.errorbar(x, y, bars, fmt="o", ms=3.5, capsize=2, color=ink, label=f"η = {eta:g}")
        if "exact" in mine[0]:
            axes.plot(x, [r["exact"] for r in mine], color=ink, linewidth=1)
        axes.plot([grids[-1] * 1.15, grids[-1] * 1.9], [mine[0]["limit"]] * 2, color=ink, lw=2.5)
    axes.axhline(0, color="0.6", linewidth=1, linestyle="--")
    axes.set(title=title, xlabel="steps; bars at the right: continuous time", xscale="log")
    axes.set_xticks(grids, [str(n) for n in grids])
    axes.minorticks_off()
    axes.grid(alpha=0.3)


def main() -> None:
    torch.set_num_threads(1)
    rows = gaussian_lines() + mixture_lines()
    (HERE / "theory.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    panel(left, [r for r in rows if r["data"] == "gaussian"], "N(0.7, 0.25), VP with α(1) = 0.46")
    panel(right, [r for r in rows if r["data"] == "mixture"], "two modes, VE from σ = 5")
    left.set_ylabel("gap of r = −x²: SDE less ODE")
    left.legend(fontsize=8, frameon=False)
    figure.savefig(HERE / "theory.png", dpi=110)
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
