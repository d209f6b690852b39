"""The two stand-ins for a log-likelihood: the path, and the denoising error on shared pairs."""

from collections import Counter
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from scoreward.core.chain import rollout, uniform
from scoreward.core.denoiser import NetworkDenoiser
from scoreward.core.kernel import DDIM, generalised
from scoreward.core.keys import Key
from scoreward.core.likelihood import (
    NoisySamples,
    Times,
    draw_pairs,
    draw_times,
    most_times,
    noised,
    path_log_prob,
    predict,
    predict_as,
    self_normalised_error,
    squared_error,
    strata_edges,
    stratified_times,
    targets,
)
from scoreward.core.prediction import KINDS, Kind
from scoreward.core.process import LinearVP, Process, RectifiedFlow, time_grid
from scoreward.models.analytic import GaussianPolicy
from tests.core.laws import F64, PROCESSES, real
from tests.golden.load import golden

KEY = Key(("likelihood",))
PUBLISHED = golden("published")
GRID = time_grid(10, shift=3.0)
COND = torch.tensor([0, 1, 1, 2])
X0 = (KEY / "x0").normal(4, 3, dtype=F64)


def policy(shift: float = 0.0) -> NetworkDenoiser:
    """Data means of three prompts in three dimensions, moved by `shift`."""
    module = GaussianPolicy(prompts=3, dim=3).double()
    with torch.no_grad():
        module.mean.copy_((KEY / "means").normal(3, 3, dtype=F64) + shift)
    return NetworkDenoiser(module, RectifiedFlow())


def keys(names: list[int]) -> list[Key]:
    return [KEY / "pairs" / name for name in names]


# Paths


def test_path_log_prob_is_the_density_of_the_step_under_any_policy() -> None:
    """[flow-grpo] (5): the kernel's law with the new policy's mean, at the stored next state."""
    kernel = DDIM(generalised(1.0))
    start, names = (KEY / "start").normal(4, 3, dtype=F64), [KEY / i for i in range(4)]
    rows = rollout(uniform(kernel, 5, start=0.98), policy(), start, names, COND).transitions()
    cond = COND[rows.sample]
    assert torch.equal(path_log_prob(rows, policy(), kernel, cond), rows.log_prob)

    moved = policy(shift=0.3)
    law = kernel(moved(rows.x, rows.t, cond), rows.s)
    expected = Normal(law.mean, law.std).log_prob(rows.next).sum(1)
    got = path_log_prob(rows, moved, kernel, cond)
    torch.testing.assert_close(got, expected)
    assert (got - rows.log_prob).abs().mean() > 0.1
    (slope,) = torch.autograd.grad(got.sum(), list(moved.network.parameters()))
    assert slope.abs().min() > 0


# Times and pairs


@pytest.mark.parametrize(("count", "sizes"), [(4, [3, 3, 2, 2]), (3, [4, 3, 3]), (10, [1] * 10)])
def test_strata_are_contiguous_chunks_of_the_grid_without_its_end(
    count: int, sizes: list[int]
) -> None:
    """[vgrpo] (Sec. 4.4): each chunk gives one time, each of its times equally often.

    Up to 2,500 addresses; a count off by 5.5 standard deviations has probability below 1e-7.
    """
    bounds = [sum(sizes[:i]) for i in range(count + 1)]
    chunks = [GRID[a:b] for a, b in pairwise(bounds)]
    draws = {4: 2500, 3: 500, 10: 20}[count]
    seen: list[Counter[float]] = [Counter() for _ in chunks]
    for i in range(draws):
        for place, t in enumerate(stratified_times(GRID, count, KEY / "strata" / i)):
            seen[place][t] += 1
    for chunk, counts in zip(chunks, seen, strict=True):
        assert set(counts) == set(chunk)
        p = 1 / len(chunk)
        slack = 5.5 * (draws * p * (1 - p)) ** 0.5
        assert all(abs(n - draws * p) <= slack for n in counts.values())


def test_strata_are_drawn_independently() -> None:
    """Two chunks of five: all 25 pairs of times occur."""
    both = {tuple(stratified_times(GRID, 2, KEY / i)) for i in range(400)}
    assert len(both) == 25


@pytest.mark.parametrize("count", [0, 11])
def test_more_strata_than_steps_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=rf"cannot draw {count} strata from a grid of 10 steps"):
        stratified_times(GRID, count, KEY)


def test_the_stratified_rule_is_the_strata() -> None:
    key = KEY / "rule"
    assert draw_times(GRID, 3, key, "stratified") == stratified_times(GRID, 3, key)


@pytest.mark.parametrize(("steps", "kept"), PUBLISHED["kept"].items())
def test_the_grid_rule_takes_0_99_of_the_steps_whatever_the_count(steps: str, kept: int) -> None:
    """[diffusion-nft] (timesteps): ⌊0.99 T⌋ times, each once, clean data never, and never none."""
    grid = time_grid(int(steps))
    drawn = draw_times(grid, 3, KEY, "grid", 0.99)
    assert len(drawn) == len(set(drawn)) == kept
    assert set(drawn) <= set(grid[:-1])


def test_the_time_that_is_left_out_is_any_of_them_equally_often() -> None:
    """[diffusion-nft] (timesteps): with 1/10 each; 5.5 standard deviations have p < 1e-7."""
    left = Counter(
        (set(GRID[:-1]) - set(draw_times(GRID, 0, KEY / i, "grid", 0.99))).pop()
        for i in range(1000)
    )
    assert set(left) == set(GRID[:-1])
    assert all(abs(n - 100) < 5.5 * 90**0.5 for n in left.values())


def test_published_times_of_diffusion_nft() -> None:
    """[diffusion-nft] (timesteps): the first nine of a permutation on the grid of shift 3."""
    row = PUBLISHED["left_out"]
    got = most_times(time_grid(10, 3.0), row["order"], 0.99)
    assert got == pytest.approx(row["times"], abs=1e-10)


def test_a_random_time_left_out_is_unbiased_where_the_last_one_is_not() -> None:
    """Of ℓ = t on shift 3 the mean over ten times is 0.7238…, over the first nine 0.7764…."""
    grid = time_grid(10, 3.0)
    means = [sum(draw_times(grid, 0, KEY / i, "grid", 0.99)) / 9 for i in range(2000)]
    assert sum(means) / 2000 == pytest.approx(0.7238282551, abs=5.5 * 0.0262 / 2000**0.5)
    assert sum(grid[:9]) / 9 == pytest.approx(0.7764758390, abs=1e-9)


@pytest.mark.parametrize("row", PUBLISHED["edges"])
def test_published_strata_of_awm(row: dict) -> None:
    """[awm] (timesteps): the edges, and one index from each stratum, all of which occur."""
    count, steps = row["pairs"], row["steps"]
    edges = strata_edges(steps, count, row["fraction"], row["first"])
    assert edges == row["edges"]
    rule: Times = "discrete_wo_init" if row["first"] else "discrete"
    grid = time_grid(steps, 3.0)
    drawn = [draw_times(grid, count, KEY / i, rule, row["fraction"]) for i in range(200)]
    for place, (low, high) in enumerate(pairwise(edges)):
        assert {grid.index(times[place]) for times in drawn} == set(range(low, high))


def test_awm_never_trains_the_two_cleanest_of_fourteen_times() -> None:
    grid = time_grid(14, 3.0)
    for rule, first in (("discrete", 0), ("discrete_wo_init", 1)):
        drawn = [draw_times(grid, 6, KEY / i, rule, 0.9) for i in range(300)]  # pyright: ignore
        assert {t for times in drawn for t in times} == set(grid[first:12])


def test_the_first_time_may_always_be_drawn() -> None:
    """[awm] (timesteps): discrete_with_init is index 0 and five strata of the others."""
    grid = time_grid(14)
    drawn = [draw_times(grid, 6, KEY / i, "discrete_with_init", 0.9) for i in range(100)]
    assert {times[0] for times in drawn} == {1.0}
    assert all(len(times) == 6 and len(set(times)) == 6 for times in drawn)
    assert draw_times(grid, 1, KEY, "discrete_with_init", 0.9) == [1.0]


def test_an_empty_stratum_is_its_lower_edge() -> None:
    """Three times for six strata: indices 1 1 1 2 2 2."""
    grid = time_grid(4)
    assert strata_edges(4, 6, 0.9, 1) == [1, 1, 1, 2, 2, 2, 3]
    expected = [grid[i] for i in (1, 1, 1, 2, 2, 2)]
    assert draw_times(grid, 6, KEY, "discrete_wo_init", 0.9) == expected


@pytest.mark.parametrize("rule", ["discrete", "discrete_wo_init", "discrete_with_init"])
def test_clean_data_is_never_a_time(rule: Times) -> None:
    """On one step there is nothing but pure noise; a rule without it has nothing to draw."""
    for steps in (1, 2, 3, 8):
        for fraction in (0.9, 1.0):
            try:
                drawn = draw_times(time_grid(steps), 3, KEY, rule, fraction)
            except ValueError as error:
                assert "cannot draw" in str(error)  # noqa: PT017
            else:
                assert min(drawn) > 0


@pytest.mark.parametrize(("rule", "low", "high"), [("uniform", 0.2, 1.0), ("logit_normal", 0, 1)])
def test_continuous_rules_put_one_time_into_each_stratum_of_their_law(
    rule: Times, low: float, high: float
) -> None:
    """[awm] (timesteps): levels of [0.2, 1], or of a standard normal behind a sigmoid."""
    drawn = torch.tensor([draw_times(GRID, 4, KEY / i, rule) for i in range(500)], dtype=F64)
    if rule == "uniform":
        level = (drawn - low) / (high - low)
    else:
        level = Normal(0.0, 1.0).cdf(drawn.logit())
    place = 4 * level - torch.arange(4)
    floor = 1e-9 + (drawn <= 0.01 + 1e-12) * 1.0  # times below 0.01 were lifted to it
    assert ((place >= -floor) & (place <= 1 + 1e-9)).all()
    assert (place.min(0).values < 0.05).all()  # all of a stratum is used: (1 − 0.05)^500 < 1e-11
    assert (place.max(0).values > 0.95).all()
    correlation = torch.corrcoef(place.T) - torch.eye(4)
    assert correlation.abs().max() < 5.5 / 500**0.5


def test_logit_normal_times_stay_off_the_data() -> None:
    """The lowest of 400 strata lies below sigmoid(−2.8) = 0.06, of a million below 0.0087."""
    for count, low, high in ((400, 0.01, 0.06), (1_000_000, 0.01, 0.01)):
        times = draw_times(GRID, count, KEY, "logit_normal")
        assert low <= times[0] <= high
        assert times[-1] < 1


def test_times_may_be_shared_where_noise_is_not() -> None:
    """[awm] (timesteps): two addresses, one of times and one of noise."""
    args = (4, GRID, RectifiedFlow(), "stratified")
    pairs = draw_pairs(X0, keys([1, 2, 3, 3]), *args, keys([9, 9, 9, 8]))
    assert torch.equal(pairs.t[0], pairs.t[1])
    assert torch.equal(pairs.t[0], pairs.t[2])
    assert not torch.equal(pairs.t[0], pairs.t[3])
    assert torch.equal(pairs.eps[2], pairs.eps[3])
    assert not torch.equal(pairs.eps[0], pairs.eps[1])
    alike = draw_pairs(X0, keys([1, 2, 3, 3]), *args)
    assert torch.equal(alike.eps, pairs.eps)
    torch.testing.assert_close(pairs.x_t, noised(RectifiedFlow(), X0, pairs.t, pairs.eps))


def test_equal_keys_share_their_pairs_and_others_do_not() -> None:
    """[vgrpo] (Sec. 4.4)"""
    pairs = draw_pairs(X0, keys([7, 7, 2, 7]), 4, GRID, RectifiedFlow())
    for same in (1, 3):
        assert torch.equal(pairs.eps[0], pairs.eps[same])
        assert torch.equal(pairs.t[0], pairs.t[same])
    assert not torch.equal(pairs.eps[0], pairs.eps[2])
    assert len({tuple(e.tolist()) for e in pairs.eps[0]}) == 4
    assert not torch.equal(pairs.x_t[0], pairs.x_t[1])


def test_pairs_do_not_depend_on_the_batch() -> None:
    pairs = draw_pairs(X0, keys([7, 5, 2, 7]), 4, GRID, RectifiedFlow())
    alone = draw_pairs(X0[2:3], keys([2]), 4, GRID, RectifiedFlow())
    for name in ("t", "eps", "x_t"):
        assert torch.equal(getattr(alone, name)[0], getattr(pairs, name)[2])


def test_the_noise_of_pairs_is_standard_normal() -> None:
    """4,800 numbers: mean and variance within 5 standard errors."""
    pairs = draw_pairs(torch.zeros(400, 3), keys(list(range(400))), 4, GRID, RectifiedFlow())
    n = pairs.eps.numel()
    assert pairs.eps.mean().abs() < 5 / n**0.5
    assert (pairs.eps.var() - 1).abs() < 5 * (2 / n) ** 0.5


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_states_are_signal_and_noise_in_the_proportions_of_their_time(process: Process) -> None:
    """[flow-matching] (forward process): one time per pair, whatever the shape of a sample."""
    x0 = (KEY / "image").normal(2, 3, 2, 2, dtype=F64)
    t = torch.tensor([[0.1, 0.5, 0.9], [0.2, 0.3, 0.4]], dtype=F64)
    eps = (KEY / "eps").normal(2, 3, 3, 2, 2, dtype=F64)
    states = noised(process, x0, t, eps)
    for i in range(2):
        for j in range(3):
            alpha, sigma = process.alpha(t[i, j]), process.sigma(t[i, j])
            torch.testing.assert_close(states[i, j], alpha * x0[i] + sigma * eps[i, j])


@pytest.mark.parametrize("kind", KINDS)
def test_targets_are_what_a_denoiser_that_knows_x0_says(kind: Kind) -> None:
    """As read by the derivative, the density and the pair itself in `test_prediction`."""
    process = LinearVP()
    pairs = draw_pairs(X0, keys([1, 2, 3, 4]), 2, GRID, process)
    a = 1.0 if kind == "x0" else 0.0
    got = targets(process, X0, pairs, kind)
    t = pairs.t[..., None]
    if kind == "velocity":
        expected = process.d_alpha(t) * X0[:, None] + process.d_sigma(t) * pairs.eps
    elif kind == "v":
        expected = process.alpha(t) * pairs.eps - process.sigma(t) * X0[:, None]
    else:
        b = {"x0": 0.0, "eps": 1.0}.get(kind, -1 / process.sigma(t))
        expected = a * X0[:, None] + b * pairs.eps
    torch.testing.assert_close(got, expected)


def test_each_pair_is_asked_about_with_the_condition_of_its_own_sample() -> None:
    denoiser = policy()
    pairs = draw_pairs(X0, keys([1, 2, 3, 4]), 3, GRID, RectifiedFlow())
    answers = predict_as(denoiser, pairs, COND, "x0")
    assert answers.shape == (4, 3, 3)
    assert torch.equal(predict(denoiser, pairs, COND).as_("x0").reshape(4, 3, 3), answers)
    for i in range(4):
        for j in range(3):
            one = denoiser(pairs.x_t[i, j][None], pairs.t[i, j][None], COND[i][None])
            assert torch.equal(one.x0[0], answers[i, j])


# Errors


def test_squared_error_is_a_mean_over_dimensions() -> None:
    pred, target = real(1.0, 2.0, 5.0)[None, None], real(0.0, 0.0, 1.0)[None, None]
    assert squared_error(pred, target).tolist() == [[(1 + 4 + 16) / 3]]
    image = torch.ones(2, 3, 4, 5)
    assert squared_error(3 * image, image).tolist() == [[4.0] * 3] * 2


def test_self_normalised_error_is_the_mean_square_over_the_mean_size() -> None:
    """[vgrpo] (14), with a mean in the numerator: (1 + 4 + 16)/3 over (1 + 2 + 4)/3 is 3."""
    pred, target = real(1.0, -2.0, 5.0)[None, None], real(0.0, 0.0, 1.0)[None, None]
    torch.testing.assert_close(self_normalised_error(pred, target), real(3.0)[None])


def test_the_size_of_the_error_is_a_constant_to_the_gradient() -> None:
    """[vgrpo] (14): 2 e/d over mean|e|, without a term from the denominator."""
    target = (KEY / "t").normal(2, 3, 6, dtype=F64)
    pred = (KEY / "p").normal(2, 3, 6, dtype=F64).requires_grad_()
    (slope,) = torch.autograd.grad(self_normalised_error(pred, target).sum(), pred)
    e = (pred - target).detach()
    torch.testing.assert_close(slope, 2 * e / 6 / e.abs().mean(2, keepdim=True))


def test_a_perfect_answer_has_no_error_and_no_slope() -> None:
    target = torch.ones(1, 2, 3)
    pred = target.clone().requires_grad_()
    error = self_normalised_error(pred, target)
    (slope,) = torch.autograd.grad(error.sum(), pred)
    assert not error.any()
    assert not slope.any()
    small = self_normalised_error(target + 1e-3, target, floor=1.0)
    torch.testing.assert_close(small, torch.full((1, 2), 1e-6), rtol=1e-3, atol=0)


@pytest.mark.parametrize(("size", "divisor"), [(1e-7, 1e-5), (9e-6, 1e-5), (1.1e-5, 1.1e-5)])
def test_an_error_below_the_floor_is_divided_by_the_floor(size: float, divisor: float) -> None:
    """1e-5, as in every public code that divides an error by its own size."""
    target = (KEY / "floor").normal(2, 3, 4, dtype=F64)
    error = self_normalised_error(target + size, target)
    torch.testing.assert_close(error, torch.full_like(error, size**2 / divisor), rtol=1e-8, atol=0)


@pytest.mark.parametrize("count", [1, 4, 9])
def test_distinct_times_are_different_ones_of_the_grid_without_clean_data(count: int) -> None:
    """[dgpo] (timesteps)"""
    seen: Counter[float] = Counter()
    for i in range(400):
        drawn = draw_times(GRID, count, KEY / i, "distinct", fraction=1.0)
        assert len(set(drawn)) == count
        assert drawn == sorted(drawn, reverse=True)
        seen.update(drawn)
    assert set(seen) == set(GRID[:-1])
    share = count / 10  # of 400 draws; five standard errors, one chance in 3 million a time
    for times in seen.values():
        assert abs(times / 400 - share) < 5 * (share * (1 - share) / 400) ** 0.5 + 1e-12


def test_distinct_times_may_be_the_noisiest_alone() -> None:
    """[dgpo] (timesteps): seven of ten, all of which four draws may take."""
    drawn = {t for i in range(60) for t in draw_times(GRID, 4, KEY / i, "distinct", fraction=0.7)}
    assert drawn == set(GRID[:7])


def test_more_distinct_times_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot draw 11 different times out of 10"):
        draw_times(GRID, 11, KEY, "distinct", fraction=1.0)


def test_the_x0_error_is_the_velocity_error_times_t() -> None:
    """On rectified flow x̂0 − x0 = −t (v̂ − v), so the self-normalised errors differ by t."""
    denoiser, process = policy(), RectifiedFlow()
    pairs: NoisySamples = draw_pairs(X0, keys([1, 1, 2, 2]), 4, GRID, process)

    def error(kind: Kind) -> Tensor:
        answer, target = predict_as(denoiser, pairs, COND, kind), targets(process, X0, pairs, kind)
        return self_normalised_error(answer, target)

    torch.testing.assert_close(error("x0"), pairs.t * error("velocity"))
