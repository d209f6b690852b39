"""V-GRPO against the published numbers, its gradient written out, and its switches one by one."""

from collections.abc import Sequence
from dataclasses import replace
from math import tanh

import pytest
import torch
from torch import Tensor, nn

from scoreward.core.advantage import Advantages
from scoreward.core.chain import draw, rollout, uniform
from scoreward.core.denoiser import Counted, NetworkDenoiser
from scoreward.core.kernel import DDIM, DPMSolverPP, Kernel, ddim, euler, generalised
from scoreward.core.keys import Key
from scoreward.core.likelihood import NoisySamples, noised, predict_as, targets
from scoreward.core.likelihood import self_normalised_error as error_of
from scoreward.core.policy import DiffusionPolicy, Rollout
from scoreward.core.process import RectifiedFlow
from scoreward.objectives.base import Samples
from scoreward.objectives.samples.answers import PairRows
from scoreward.objectives.samples.vgrpo import VGRPO
from tests.core.laws import F64, real
from tests.golden.load import golden

NUMBERS = golden("vgrpo")
FLOW = RectifiedFlow()
KEY = Key(("vgrpo",))
PLAIN = VGRPO(soft_clip=None)  # hard advantages


class Line(nn.Module):
    """v(z, t) = a z + b t."""

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.a = nn.Parameter(real(a)[0])
        self.b = nn.Parameter(real(b)[0])

    def forward(self, z: Tensor, t: Tensor, cond: None) -> Tensor:
        return self.a * z + self.b * t[:, None]


def line(name: str = "old") -> NetworkDenoiser:
    return NetworkDenoiser(Line(*NUMBERS[name]), FLOW)


def matrix(values: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor(values, dtype=F64)


def policy(current: str = "new", on_policy: bool = False) -> DiffusionPolicy:
    old = line("old")
    return DiffusionPolicy(line(current), old, old, FLOW, uniform(ddim(), 8), on_policy)


X0 = matrix(NUMBERS["x0"])
SHARED = (real(*NUMBERS["t"]).expand(4, 2), matrix(NUMBERS["eps"]).expand(4, 2, 2))
PAIRS = NoisySamples(*SHARED, noised(FLOW, X0, *SHARED))
ADVANTAGE = real(-1.0, 0.0, 2.0, -1.0) / 1.5**0.5  # rewards 1, 2, 4, 1, to all digits
SAMPLES = Samples(X0, None, ADVANTAGE, torch.zeros(4).long(), torch.arange(4), ADVANTAGE)


def rows(advantage: Tensor = SAMPLES.advantage) -> PairRows:
    old = predict_as(line("old"), PAIRS, None, "velocity").detach()
    group = SAMPLES.group
    return PairRows(X0, None, advantage, advantage, group, PAIRS, old, None, None, torch.arange(4))


def gradient(objective: VGRPO, data: PairRows, using: DiffusionPolicy) -> tuple[Tensor, Tensor]:
    """(dloss/da, dloss/db)."""
    loss, _ = objective.loss(data, using)
    assert isinstance(using.current, NetworkDenoiser)
    a, b = torch.autograd.grad(loss, list(using.current.network.parameters()))
    return a, b


def by_hand(a: float, b: float, pair: int, sample: int) -> tuple[Tensor, Tensor, Tensor]:
    """(e, de/da, de/db) of the x0 error e = z − t v − o at one pair."""
    t, z = NUMBERS["t"][pair], PAIRS.x_t[sample, pair]
    return z - t * (a * z + b * t) - X0[sample], -t * z, torch.full((2,), -t * t, dtype=F64)


# Published numbers


def test_published_advantages() -> None:
    reward = real(*NUMBERS["rewards"])[None]
    got = Advantages(floor=0.0)(reward, torch.ones(1, dtype=F64), SAMPLES.group)
    torch.testing.assert_close(got, ADVANTAGE)
    torch.testing.assert_close(got, real(*NUMBERS["advantages"]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["old", "new"])
def test_published_surrogates(name: str) -> None:
    """[vgrpo] (14): minus the error is the stand-in for the log-likelihood."""
    error = error_of(predict_as(line(name), PAIRS, None, "x0"), targets(FLOW, X0, PAIRS, "x0"))
    expected = matrix(NUMBERS[f"{name}_surrogates"])
    torch.testing.assert_close(-error.detach(), expected, rtol=0, atol=1e-6)


def test_published_ratios() -> None:
    """One ratio per sample: mean over pairs, then the exponential."""
    for i, expected in enumerate(NUMBERS["ratios"]):
        _, metrics = PLAIN.loss(rows()[i : i + 1], policy())
        assert metrics["ratio/mean"].item() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("clip", NUMBERS["clips"])
def test_published_clipped_loss(clip: float) -> None:
    """[ppo] (7) with one ratio per sample."""
    loss, _ = replace(PLAIN, clip=clip).loss(rows(), policy())
    assert loss.item() == pytest.approx(NUMBERS["clipped_loss"], abs=1e-9)


def test_published_soft_clip() -> None:
    """[vgrpo] (17), applied when the round is prepared."""
    data = VGRPO(pairs=2, soft_clip=3.0).ready(SAMPLES, policy("old"), KEY)
    expected = real(*NUMBERS["soft_clipped"])
    torch.testing.assert_close(data.advantage, expected, rtol=0, atol=1e-6)
    hard = VGRPO(pairs=2, soft_clip=None).ready(SAMPLES, policy("old"), KEY)
    assert torch.equal(hard.advantage, SAMPLES.advantage)


def test_published_distance_to_the_behaviour_policy() -> None:
    """[vgrpo] (16): half the published sums over two dimensions, since ours is a mean."""
    objective = replace(PLAIN, proximal=0.3)
    for i, expected in enumerate(NUMBERS["distances"]):
        one = rows()[i : i + 1]
        loss, metrics = objective.loss(one, policy())
        assert metrics["proximal"].item() == pytest.approx(expected / 2, abs=1e-10)
        without, _ = PLAIN.loss(one, policy())
        assert (loss - without).item() == pytest.approx(0.3 * expected / 2, abs=1e-10)


@pytest.mark.parametrize("on_policy", [False, True])
def test_published_slope_at_the_old_policy(on_policy: bool) -> None:
    """The loss is 0 there, since the advantages of a group add up to 0."""
    data = rows() if not on_policy else replace(rows(), old=None)
    using = policy("old", on_policy)
    loss, _ = PLAIN.loss(data, using)
    assert abs(loss.item()) < 1e-15
    slope, _ = gradient(PLAIN, data, using)
    assert slope.item() == pytest.approx(NUMBERS["slope_in_a"], abs=1e-8)


# The gradient, written out


@pytest.mark.parametrize("clip", [None, 1e-2])
def test_at_the_old_policy_the_gradient_is_that_of_the_weighted_error(clip: float | None) -> None:
    """[vgrpo] (14): mean of A_i · 2 e·de/(d mean|e|) over samples and pairs."""
    expected = torch.zeros(2, dtype=F64)
    for i in range(4):
        for j in range(2):
            e, *slopes = by_hand(*NUMBERS["old"], pair=j, sample=i)
            size = e.abs().mean()
            each = torch.stack([(2 * e * de).mean() / size for de in slopes])
            expected += ADVANTAGE[i] * each / 8
    got = torch.stack(gradient(replace(PLAIN, clip=clip), rows(), policy("old")))
    torch.testing.assert_close(got, expected)


def test_off_the_old_policy_the_gradient_carries_the_ratio_and_the_clip() -> None:
    """Samples 0 and 3 (A < 0) keep their slope, times ρ; sample 2 (A > 0, ρ < 1) does too."""
    expected = torch.zeros(2, dtype=F64)
    for i in range(4):
        for j in range(2):
            e, *slopes = by_hand(*NUMBERS["new"], pair=j, sample=i)
            each = torch.stack([(2 * e * de).mean() / e.abs().mean() for de in slopes])
            expected += NUMBERS["ratios"][i] * ADVANTAGE[i] * each / 8
    got = torch.stack(gradient(replace(PLAIN, clip=1e-2), rows(), policy()))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-8)
    flipped = rows(-ADVANTAGE)  # now sample 0 is good and above 1.01, so its slope goes
    kept = [i for i in range(4) if i != 0]
    rest = torch.stack(gradient(replace(PLAIN, clip=1e-2), flipped[torch.tensor(kept)], policy()))
    all_four = torch.stack(gradient(replace(PLAIN, clip=1e-2), flipped, policy()))
    torch.testing.assert_close(all_four, 0.75 * rest)


def test_without_self_normalisation_the_error_is_a_mean_square() -> None:
    expected = torch.zeros(2, dtype=F64)
    for i in range(4):
        for j in range(2):
            e, *slopes = by_hand(*NUMBERS["old"], pair=j, sample=i)
            expected += ADVANTAGE[i] * torch.stack([(2 * e * de).mean() for de in slopes]) / 8
    got = torch.stack(gradient(replace(PLAIN, adaptive=False), rows(), policy("old")))
    torch.testing.assert_close(got, expected)


def test_in_velocity_space_the_error_is_that_of_the_velocity() -> None:
    """e_v = −e/t, so the self-normalised error and its gradient are those of x0 over t."""
    objective = replace(PLAIN, prediction="velocity")
    data = replace(rows(), old=predict_as(line("old"), PAIRS, None, "velocity").detach())
    expected = torch.zeros(2, dtype=F64)
    for i in range(4):
        for j, t in enumerate(NUMBERS["t"]):
            e, *slopes = by_hand(*NUMBERS["old"], pair=j, sample=i)
            each = torch.stack([(2 * e * de).mean() / e.abs().mean() / t for de in slopes])
            expected += ADVANTAGE[i] * each / 8
    torch.testing.assert_close(torch.stack(gradient(objective, data, policy("old"))), expected)


def test_one_ratio_per_pair_has_the_same_gradient_at_the_old_policy_and_not_elsewhere() -> None:
    def per_pair(using: DiffusionPolicy) -> Tensor:
        answer = predict_as(using.current, PAIRS, None, "x0")
        target = targets(FLOW, X0, PAIRS, "x0")
        old = error_of(predict_as(line("old"), PAIRS, None, "x0").detach(), target)
        ratio = (old - error_of(answer, target)).exp()
        loss = -(ratio * ADVANTAGE[:, None]).mean()
        assert isinstance(using.current, NetworkDenoiser)
        return torch.stack(torch.autograd.grad(loss, list(using.current.network.parameters())))

    objective = replace(PLAIN, clip=None)
    for name, same in (("old", True), ("new", False)):
        ours = torch.stack(gradient(objective, rows(), policy(name)))
        assert torch.allclose(ours, per_pair(policy(name)), rtol=1e-9) == same


def test_turned_advantages_turn_the_gradient() -> None:
    forward = torch.stack(gradient(PLAIN, rows(), policy("old")))
    back = torch.stack(gradient(PLAIN, rows(-ADVANTAGE), policy("old")))
    torch.testing.assert_close(back, -forward)


def test_an_offset_of_the_error_shared_by_the_group_changes_nothing() -> None:
    """Shared pairs are a control variate: Σ A_i c = 0, and the ratio only sees differences."""
    using = policy()
    loss, _ = replace(PLAIN, clip=None).loss(rows(), policy("old"))
    assert loss.item() == pytest.approx(0.0, abs=1e-15)
    answer = predict_as(using.current, PAIRS, None, "x0")
    target = targets(FLOW, X0, PAIRS, "x0")
    error = error_of(answer, target).mean(1)
    assert isinstance(using.current, NetworkDenoiser)
    weights = list(using.current.network.parameters())
    plain = torch.autograd.grad((ADVANTAGE * error).mean(), weights, retain_graph=True)
    offset = error_of(answer, target)[0].mean()  # of sample 0, depends on the policy
    moved = torch.autograd.grad((ADVANTAGE * (error - offset)).mean(), weights)
    torch.testing.assert_close(plain, moved)


# Preparation


def data_of(count: int = 12) -> Samples:
    """Three prompts of four samples each."""
    group = torch.arange(count) // 4
    x0, advantage = (KEY / "x0").normal(count, 2, dtype=F64), (KEY / "A").normal(count, dtype=F64)
    return Samples(x0, None, advantage, group, torch.arange(count), advantage)


@pytest.mark.parametrize("on_policy", [False, True])
@pytest.mark.parametrize("kind", ["x0", "velocity", "eps", "v"])
def test_the_ratio_is_exactly_one_before_the_first_update(kind: str, on_policy: bool) -> None:
    objective = VGRPO(prediction=kind)  # pyright: ignore[reportArgumentType]
    using = policy("old", on_policy)
    _, metrics = objective.loss(objective.ready(data_of(), using, KEY), using)
    assert metrics["ratio/min"].item() == metrics["ratio/max"].item() == 1.0
    assert metrics["clip/above"].item() == metrics["clip/below"].item() == 0.0


def test_one_update_per_round_needs_no_pass_of_the_old_policy() -> None:
    for on_policy, expected in ((True, 0), (False, 12 * 4)):
        old, reference = Counted(line("old")), Counted(line("old"))
        using = replace(policy("old", on_policy), old=old, reference=reference)
        data = VGRPO().ready(data_of(), using, KEY)
        assert (old.count, reference.count) == (expected, 0)
        assert (data.old is None) == on_policy
        assert data.reference is None


def test_what_is_prepared_carries_no_gradient() -> None:
    frozen = replace(policy("old"), old=torch.no_grad()(line("old")))
    data = VGRPO().ready(data_of(), frozen, KEY)
    assert data.old is not None
    assert not data.old.requires_grad
    assert not data.pairs.x_t.requires_grad


def test_pairs_are_shared_by_the_batch_the_group_or_nobody() -> None:
    """[vgrpo] (Sec. 4.4): the text shares by prompt, the code by batch."""
    distinct = {"batch": 1, "group": 3, "none": 12}
    for share, expected in distinct.items():
        objective = VGRPO(share=share)  # pyright: ignore[reportArgumentType]
        pairs = objective.ready(data_of(), policy("old"), KEY).pairs
        assert len({tuple(eps.flatten().tolist()) for eps in pairs.eps}) == expected
    by_group = VGRPO(share="group").ready(data_of(), policy("old"), KEY).pairs
    for i in range(12):
        assert torch.equal(by_group.eps[i], by_group.eps[i // 4 * 4])
        assert torch.equal(by_group.t[i], by_group.t[i // 4 * 4])


def test_times_come_from_the_grid_of_the_rollout_one_from_each_stratum() -> None:
    """[vgrpo] (Sec. 4.4): eight steps and four pairs, so two times for each pair to choose from."""
    times = VGRPO(pairs=4, share="none").ready(data_of(), policy("old"), KEY).pairs.t
    place = (8 * (1 - times)).round().long()
    torch.testing.assert_close(1 - place / 8.0, times.float())
    assert torch.equal(place // 2, torch.arange(4).expand(12, 4))


@pytest.mark.parametrize("share", ["none", "group", "batch"])
def test_a_samples_rows_do_not_depend_on_who_else_is_in_the_batch(share: str) -> None:
    objective = VGRPO(share=share)  # pyright: ignore[reportArgumentType]
    whole = objective.ready(data_of(), policy("old"), KEY)
    part = objective.ready(data_of()[4:7], policy("old"), KEY)
    assert torch.equal(part.pairs.eps, whole.pairs.eps[4:7])
    assert torch.equal(part.pairs.t, whole.pairs.t[4:7])
    assert part.sample.tolist() == [4, 5, 6]
    other = objective.ready(data_of(), policy("old"), KEY / "next round")
    assert not torch.equal(other.pairs.eps, whole.pairs.eps)


def test_the_loss_is_the_mean_of_the_losses_of_its_parts() -> None:
    objective = VGRPO(proximal=0.3, anchor=0.2)
    using = replace(policy(), reference=NetworkDenoiser(Line(0.1, 0.4), FLOW))
    data = objective.ready(data_of(), using, KEY)
    loss, metrics = objective.loss(data, using)
    parts = [objective.loss(part, using) for part in data.split(4)]
    torch.testing.assert_close(loss, torch.stack([part for part, _ in parts]).mean())
    for name in ("ratio/mean", "error/mean", "proximal", "drift/velocity"):
        each = torch.stack([m[name] for _, m in parts])
        torch.testing.assert_close(metrics[name], each.mean())


@pytest.mark.parametrize("kernel", [euler(), DPMSolverPP(), DDIM(generalised(1.0))])
def test_only_the_finished_sample_matters(kernel: Kernel) -> None:
    """Whatever sampler made x0, and whether or not its path was kept."""
    assert VGRPO().needs.data == "samples"
    sampler, keys = uniform(kernel, 4, start=0.98), [KEY / i for i in range(4)]
    start = (KEY / "start").normal(4, 2, dtype=F64)
    path = rollout(sampler, line("old"), start, keys, None)
    samples = replace(SAMPLES, x0=draw(sampler, line("old"), start, keys, None))
    using = replace(policy(), rollout=Rollout(path.transitions()))
    with_path = VGRPO().loss(VGRPO().ready(samples, using, KEY), using)[0]
    without = VGRPO().loss(VGRPO().ready(samples, policy(), KEY), policy())[0]
    assert torch.equal(with_path, without)


# Anchors and settings


def test_the_anchor_is_the_squared_distance_of_velocities_to_the_reference() -> None:
    """[diffusion-nft] (KL term): here v − v_ref = (a − a_ref) z + (b − b_ref) t."""
    using = replace(policy(), reference=NetworkDenoiser(Line(0.1, 0.4), FLOW))
    data = VGRPO(anchor=0.2).ready(data_of(), using, KEY)
    loss, metrics = VGRPO(anchor=0.2).loss(data, using)
    a, b = NUMBERS["new"]
    distance = (a - 0.1) * data.pairs.x_t + (b - 0.4) * data.pairs.t[..., None]
    torch.testing.assert_close(metrics["drift/velocity"], distance.square().mean())
    without, metrics = VGRPO().loss(replace(data, reference=None), using)
    torch.testing.assert_close(loss - without, 0.2 * distance.square().mean())
    assert "drift/velocity" not in metrics


def test_the_anchor_pulls_towards_the_reference() -> None:
    using = replace(policy("old"), reference=NetworkDenoiser(Line(5.0, 0.2), FLOW))
    objective = replace(PLAIN, anchor=1.0)
    data = objective.ready(replace(data_of(), advantage=torch.zeros(12).double()), using, KEY)
    slope, _ = gradient(objective, data, using)
    assert slope < 0  # so a step of descent raises a, towards 5


def test_on_policy_the_proximal_term_is_inert() -> None:
    """Its distance and its gradient are zero where the old policy is the current one."""
    using, objective = policy("old", on_policy=True), replace(PLAIN, proximal=10.0)
    data = replace(rows(), old=None)
    got, expected = gradient(objective, data, using), gradient(PLAIN, data, using)
    torch.testing.assert_close(got, expected)
    assert objective.loss(data, using)[1]["proximal"].item() == 0


def test_metrics_carry_no_gradient_and_report_the_error() -> None:
    objective = VGRPO(proximal=0.3, anchor=0.2)
    data = objective.ready(SAMPLES, policy(), KEY)
    _, metrics = objective.loss(data, policy())
    assert not any(value.requires_grad for value in metrics.values())
    _, metrics = PLAIN.loss(rows(), policy())
    expected = -matrix(NUMBERS["new_surrogates"]).mean()
    torch.testing.assert_close(metrics["error/mean"], expected, rtol=0, atol=1e-6)


def test_settings_say_what_they_expect() -> None:
    with pytest.raises(ValueError, match="`pairs` must be at least 1, got 0"):
        VGRPO(pairs=0)
    with pytest.raises(ValueError, match="`proximal` is a weight and must not be negative"):
        VGRPO(proximal=-0.1)
    with pytest.raises(ValueError, match="are weights and must not be negative"):
        VGRPO(anchor=-0.1)
    with pytest.raises(ValueError, match="cannot draw 9 strata from a grid of 8 steps"):
        VGRPO(pairs=9).ready(SAMPLES, policy("old"), KEY)


def test_defaults_are_those_of_the_paper() -> None:
    """Four pairs by group, error of x0 over its own size, soft clip 3, clip 1e-2, no anchors."""
    assert VGRPO() == VGRPO(
        pairs=4, share="group", prediction="x0", adaptive=True, soft_clip=3.0, clip=1e-2,
        proximal=0.0, anchor=0.0, slow_anchor=0.0, norm_guard=0.0, times="stratified",
    )  # fmt: skip
    data = VGRPO(pairs=1).ready(SAMPLES, policy("old"), KEY)
    assert data.advantage[2].item() == pytest.approx(3 * tanh(ADVANTAGE[2].item() / 3))
