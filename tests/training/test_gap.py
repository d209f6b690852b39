"""Reward under several noises and grids: what is measured, when, and that it is the exact gap."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scoreward.core.denoiser import Cond, Denoiser
from scoreward.core.prediction import Prediction
from scoreward.core.process import VE, LinearVP, Process, RectifiedFlow, time_grid
from scoreward.methods.sampling import Sampling
from scoreward.models.analytic import ExactDenoiser, Mixture, gaussian
from scoreward.models.base import Model
from scoreward.tasks import task
from scoreward.tasks.base import Goal
from scoreward.tasks.builtin import BuiltIn, HeldOut
from scoreward.tasks.pretrained import Measured
from scoreward.tasks.toy import CORNERS, closeness, toy_model
from scoreward.theory.gaussian import (
    GaussianLaw,
    Levels,
    LinearReward,
    QuadraticReward,
    generalised,
    output,
)
from scoreward.theory.reward_gap import GapSetting, discretised, linear, quadratic
from scoreward.training.evaluations.gap import Gap, compared, estimate
from scoreward.training.evaluations.pictures import Evaluation, evaluate, measure_gap
from scoreward.training.folder import RunFolder
from scoreward.training.geometry import Geometry
from scoreward.training.run import Budget, Run
from scoreward.training.team import Team
from tests.support.recipes import toy_vgrpo

DIM = 64


def evaluation(gap: Gap, **changes: Any) -> Evaluation:
    """Twelve prompts of the toy."""
    given = {
        "prompts": list(CORNERS) * 3,
        "samplers": {"ode": Sampling(steps=5).sampler()},
        "scorers": {"reward": closeness},
    }
    return Evaluation(**(given | changes), gap=gap)


def measured(gap: Gap, **changes: Any) -> list[dict]:
    model = toy_model()
    return measure_gap(evaluation(gap, **changes), model, model.denoiser, Team())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"etas": (0.0,)}, "the etas of a gap must be positive, got 0.0; the ODE, eta 0, is"),
        ({"steps": ()}, r"a gap needs grids of at least 1 step, got \(\)"),
        ({"steps": (0, 5)}, r"a gap needs grids of at least 1 step, got \(0, 5\)"),
        ({"steps": (200,)}, "the converged grid must have more steps than 200, got 200; raise"),
        ({"prompts": 1}, "a gap needs at least 2 prompts, 1 noise, and no negative `every`"),
        ({"noises": 0}, "a gap needs at least 2 prompts, 1 noise"),
        ({"every": -1}, "a gap needs at least 2 prompts, 1 noise"),
    ],
)
def test_what_cannot_be_measured_is_refused(settings: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        Gap(**settings)


def test_every_noise_runs_on_every_grid() -> None:
    cells = Gap((1.0, 0.5), (20, 10), 40).cells()
    assert cells == [(eta, n) for eta in (0.0, 0.5, 1.0) for n in (10, 20, 40)]
    assert Gap((1.0,), (10,), 0).cells() == [(0.0, 10), (1.0, 10)]


def test_when_it_is_measured() -> None:
    """Evaluations every 5 rounds, 20 rounds in all."""

    def rounds(gap: Gap) -> list[int]:
        return [r for r in range(0, 21, 5) if gap.due(r, 5, last=r == 20)]

    assert rounds(Gap()) == []
    assert rounds(Gap((1.0,))) == [0, 20]
    assert rounds(Gap((1.0,), every=1)) == [0, 5, 10, 15, 20]
    assert rounds(Gap((1.0,), every=3)) == [0, 15, 20]


def test_the_error_is_that_of_the_mean_over_prompts() -> None:
    """Two noises of three prompts: prompt means 1, 2, 6; variance (4 + 1 + 9)/2 = 7."""
    found = estimate(torch.tensor([[0.0, 2.0, 5.0], [2.0, 2.0, 7.0]]))
    assert found["value"] == pytest.approx(3.0)
    assert found["standard_error"] == pytest.approx((7 / 3) ** 0.5)
    assert found["high"] - found["value"] == pytest.approx(1.96 * (7 / 3) ** 0.5)
    assert found["value"] - found["low"] == pytest.approx(1.96 * (7 / 3) ** 0.5)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Prompts differ (std 1), and their noises too: of 1000 intervals 950 hold 0, give or take."""
    draw = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(1000):
        of_prompt = torch.randn(1, 40, generator=draw)
        found = estimate(of_prompt + torch.randn(4, 40, generator=draw))
        held += found["low"] <= 0 <= found["high"]
    assert 915 <= held <= 970


def test_a_gap_is_that_of_the_converged_grid_and_what_the_grids_add() -> None:
    """G(η, n) = G(η, ∞) + e(η, n) − e(0, n), in every measurement.  [reward-gap] (grid)"""
    records = measured(Gap((0.5, 2.0), (4, 8), 30, prompts=12))
    cells = {(r["eta"], r["steps"]): r for r in records}
    assert len(cells) == 9
    for eta in (0.5, 2.0):
        for n in (4, 8):
            values = [
                cells[place][part]["reward"]["value"]
                for place, part in (
                    ((eta, 30), "gap"),
                    ((eta, n), "grid"),
                    ((0.0, n), "grid"),
                )
            ]
            whole = cells[eta, n]["gap"]["reward"]
            assert whole["value"] == pytest.approx(values[0] + values[1] - values[2], abs=1e-9)
            means = [cells[e, n]["mean"]["reward"]["value"] for e in (eta, 0.0)]
            assert whole["value"] == pytest.approx(means[0] - means[1], abs=1e-9)
            assert whole["modulus"] == abs(whole["value"])
    assert [r["converged"] for r in records] == [False, False, True] * 3
    assert all("gap" not in r for r in records if r["eta"] == 0)
    assert all(("grid" in r) == (not r["converged"]) for r in records)


def test_differences_are_paired() -> None:
    """The same samples shifted by 0.1: a gap without an error, whatever the samples' spread."""
    ode = torch.randn(3, 20, generator=torch.Generator().manual_seed(0)) * 100
    (_, noisy) = compared({(0.0, 5): {"r": ode}, (1.0, 5): {"r": ode + 0.1}}, 0)
    assert noisy["gap"]["r"]["value"] == pytest.approx(0.1, abs=1e-4)
    assert noisy["gap"]["r"]["standard_error"] < 1e-4
    assert noisy["mean"]["r"]["standard_error"] > 5
    (_, noisy) = compared({(0.0, 5): {"r": ode}, (1.0, 5): {"r": ode - 0.1}}, 0)
    assert noisy["gap"]["r"]["value"] < 0 < noisy["gap"]["r"]["modulus"]


def test_all_samplers_start_from_the_same_noise() -> None:
    """With almost no noise the SDE is the ODE, sample by sample; from α = 0 only in the limit."""
    cells = on_gaussian(Gap((1e-4,), (10,), 0, prompts=12, noises=3), WEAK)
    gap, error = cells[1e-4, 10]["gap"]["first"], cells[0.0, 10]["mean"]["first"]["standard_error"]
    assert abs(gap["value"]) < 1e-2 * error
    assert 0 < gap["standard_error"] < 1e-2 * error
    assert (cells[0.0, 10]["prompts"], cells[0.0, 10]["noises"]) == (12, 3)
    cells = on_gaussian(Gap((1e-4,), (10,), 0, prompts=12), RectifiedFlow())
    assert cells[1e-4, 10]["gap"]["first"]["standard_error"] > 0.5 * error


def test_the_first_noise_is_that_of_the_ordinary_evaluation() -> None:
    settings = evaluation(Gap((1.0,), (5,), 0, prompts=12, noises=1))
    model = toy_model()
    ode = evaluate(settings, model, model.denoiser, Team()).numbers["ode"]["reward"]
    record = measure_gap(settings, model, model.denoiser, Team())[0]
    assert record["mean"]["reward"]["value"] == pytest.approx(ode, rel=1e-6)


def test_the_noises_of_a_prompt_are_averaged_before_the_error_is_taken() -> None:
    """Against the scores of an ordinary evaluation of the prompts, written out twice."""
    model = toy_model()
    with torch.no_grad():
        model.network.get_parameter("mean").add_(0.8)  # so that prompts differ in reward
    few = list(CORNERS) * 2
    both = evaluation(Gap((1.0,), (5,), 0, prompts=8, noises=2), prompts=few * 2)
    scores = evaluate(both, model, model.denoiser, Team()).scores["ode"]["reward"]
    by_prompt = [(scores[i] + scores[i + 8]) / 2 for i in range(8)]
    record = measure_gap(replace(both, prompts=few), model, model.denoiser, Team())[0]
    error = statistics.stdev(by_prompt) / 8**0.5
    assert record["mean"]["reward"]["standard_error"] == pytest.approx(error, rel=1e-5)


# Theory against measured


def vectors(process: Process, dim: int = DIM) -> Model:
    """A model without a network of its own: samples are vectors, prompts say nothing."""

    def nothing(prompts: Sequence[str]) -> Tensor:
        return torch.zeros(len(prompts), 1)

    return Model(nn.Identity(), process, "x0", (dim,), nothing, lambda x: x, lambda cond: cond)


def first(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """Mean of the coordinates: linear."""
    return media.mean(1)


def second(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """Minus the mean square of the coordinates: quadratic."""
    return -media.square().mean(1)


WEAK = LinearVP(0.1, 3.0)  # α(1) = 0.46: samplers start from a law that is not p_1


def on_gaussian(gap: Gap, process: Process) -> dict[tuple[float, int], dict]:
    """N(0.7, 0.25) in each of 64 coordinates, under the exact denoiser."""
    settings = Evaluation(
        prompts=[""] * gap.prompts,
        samplers={"ode": Sampling().sampler()},
        scorers={"first": first, "second": second},
        batch=400,
        gap=gap,
    )
    denoiser = ExactDenoiser(gaussian([0.7] * DIM, 0.25), process)
    records = measure_gap(settings, vectors(process), denoiser, Team())
    return {(r["eta"], r["steps"]): r for r in records}


def near(record: dict, exact: float, errors: float = 4.0) -> bool:
    return abs(record["value"] - exact) < errors * record["standard_error"]


ONE, ZERO = torch.ones(1).double(), torch.zeros(1).double()
REWARDS = {"first": LinearReward(ONE), "second": QuadraticReward(ZERO)}


def test_the_measured_gap_is_the_exact_one_on_each_grid_and_in_the_limit() -> None:
    """Four standard errors from the exact law; the grid of 8 steps is 5 of them from the limit."""
    etas = (0.5, 1.5)
    cells = on_gaussian(Gap(etas, (8,), 80, prompts=150, noises=1), WEAK)
    data = GaussianLaw.of(0.7, 0.25)
    for steps, (name, reward) in itertools.product((8, 80), REWARDS.items()):
        setting = GapSetting.from_noise(data, Levels.of(WEAK, time_grid(steps)))
        ode = generalised(data, setting.levels, 0.0).push(setting.start)
        assert near(cells[0.0, steps]["mean"][name], float(reward.expect(ode)))
        for eta in etas:
            exact = float(discretised(setting, reward, generalised, eta))
            assert near(cells[eta, steps]["gap"][name], exact), (name, steps, eta)
    whole = GapSetting.from_noise(data, Levels.of(WEAK))
    for eta in etas:
        fine = cells[eta, 80]["gap"]["first"]
        assert near(fine, float(linear(whole, REWARDS["first"], eta)))
        assert fine["value"] > 10 * fine["standard_error"]
        law = output(data, whole.start, whole.levels, eta)
        assert near(cells[eta, 80]["mean"]["first"], float(law.mean))
    limit = float(quadratic(whole, REWARDS["second"], 1.5))
    assert not near(cells[1.5, 8]["gap"]["second"], limit, 5.0)


PAIR = Mixture(torch.tensor([[-2.0], [1.0]]), torch.tensor([0.25, 0.09]), torch.tensor([0.3, 0.7]))


def by_coordinate(data: Mixture, process: Process) -> Denoiser:
    """The exact denoiser of one dimension, for every coordinate of a vector."""
    one = ExactDenoiser(data, process)

    def denoise(x: Tensor, t: Tensor, cond: Cond) -> Prediction:
        flat = one(x.reshape(-1, 1), t.repeat_interleave(x.shape[1]))
        return Prediction.of("x0", flat.x0.reshape(x.shape), x, t, process)

    return denoise


@pytest.mark.long
def test_the_measured_gap_on_a_mixture_is_that_of_the_printed_table() -> None:
    """VE from σ = 5, two modes, −x²: the ODE and η = 1, within four standard errors.

    The grid's error is of first order and still twice the gap at 120 steps, so what 60 steps have
    in excess of 120, the record's `grid`, is taken off once more.
    """
    printed = {0.0: -1.9837883, 1.0: -2.0406884}
    process, dim = VE(0.005, 5.0), 320
    settings = Evaluation(
        prompts=[""] * 120,
        samplers={"ode": Sampling().sampler()},
        scorers={"second": second},
        gap=Gap((1.0,), (60,), 120, prompts=120, noises=1),
    )
    denoiser = by_coordinate(PAIR, process)
    records = measure_gap(settings, vectors(process, dim), denoiser, Team())
    cells = {(r["eta"], r["steps"]): r for r in records}
    for eta, exact in printed.items():
        fine, grid = cells[eta, 120]["mean"]["second"], cells[eta, 60]["grid"]["second"]
        error = (fine["standard_error"] ** 2 + grid["standard_error"] ** 2) ** 0.5
        assert error < 0.02
        assert abs(fine["value"] - grid["value"] - exact) < 4 * error
        assert grid["value"] > 3 * grid["standard_error"]  # coarse grids look better here


# In a run


def test_a_run_records_what_it_was_asked_for_and_nothing_else(tmp_path: Path) -> None:
    gap, small = Gap((0.5, 1.0), (2, 3), 4, prompts=4, noises=1), Geometry(prompts=2, group=2)

    def named(name: str, gap: Gap) -> Run:
        run = toy_vgrpo(budget=Budget(rounds=6), every=2, gap=gap, geometry=small)
        settings = replace(evaluation(gap), every=2, spread_prompts=1, noises=2)
        return replace(run, folder=tmp_path / name, evaluation=settings)

    plain, asked = named("plain", Gap()), named("asked", gap)
    often = named("often", replace(gap, every=2))
    for run in (plain, asked, often):
        for _ in run.start():
            pass
    assert RunFolder(plain.folder).records("gap") == []
    ends, all_of_them = (RunFolder(r.folder).records("gap") for r in (asked, often))
    assert [r["round"] for r in ends] == [0] * 9 + [6] * 9
    assert [r["round"] for r in all_of_them] == [0] * 9 + [4] * 9 + [6] * 9
    assert [(r["eta"], r["steps"]) for r in ends[:9]] == gap.cells()
    assert ends[:9] == all_of_them[:9]
    others = [
        [r["ode"] for r in RunFolder(run.folder).records("evaluation")] for run in (plain, asked)
    ]
    assert others[0] == others[1]  # measuring changes nothing


@pytest.mark.parametrize("name", ["portraits", "lettering", "emoji"])
def test_the_built_in_tasks_pass_the_setting_on(name: str) -> None:
    place, gap = task(name), Gap((1.2,))
    assert isinstance(place, BuiltIn)
    bare = replace(place, scorers=dict, tables=dict)
    assert bare.evaluation(HeldOut(gap=gap)).gap == gap
    assert not bare.evaluation(HeldOut()).gap.etas


def test_pretrained_models_pass_it_on_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Goal, "rewards", lambda goal, video: {"closeness": closeness})
    gap, model = Gap((1.2,), (40,)), vectors(RectifiedFlow())
    assert Measured(gap=gap).evaluation(model, Goal(), ["a"]).gap == gap
    assert not Measured().evaluation(model, Goal(), ["a"]).gap.etas
