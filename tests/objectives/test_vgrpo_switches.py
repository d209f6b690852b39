"""Each setting of V-GRPO changes what it should and nothing else; pairs follow their addresses."""

from dataclasses import dataclass, replace
from math import exp

import pytest
import torch
from torch import Tensor

from scoreward.core.advantage import Advantages
from scoreward.core.chain import uniform
from scoreward.core.denoiser import NetworkDenoiser
from scoreward.core.kernel import ddim
from scoreward.core.keys import Key
from scoreward.core.likelihood import predict_as, targets
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.prediction import KINDS, Kind
from scoreward.core.process import RectifiedFlow
from scoreward.models.analytic import GaussianPolicy
from scoreward.objectives.base import Samples
from scoreward.objectives.samples.answers import PairRows
from scoreward.objectives.samples.vgrpo import VGRPO
from tests.core.laws import F64, real

KEY = Key(("switches",))
FLOW = RectifiedFlow()
GROUP = torch.arange(3).repeat_interleave(4)
WITHOUT = VGRPO(soft_clip=None, clip=None)


def reading(shift: float) -> NetworkDenoiser:
    module = GaussianPolicy(prompts=3, dim=2).double()
    with torch.no_grad():
        module.mean.copy_((KEY / "means").normal(3, 2, dtype=F64) + shift)
    return NetworkDenoiser(module, FLOW)


def policy(shift: float = 0.0, on_policy: bool = False) -> DiffusionPolicy:
    """`shift` is how far the current policy has gone since the samples were drawn."""
    return DiffusionPolicy(
        reading(shift), reading(0.0), reading(-0.5), FLOW, uniform(ddim(), 8), on_policy
    )


def samples() -> Samples:
    x0, reward = (KEY / "x0").normal(12, 2, dtype=F64), (KEY / "reward").normal(12, dtype=F64)
    advantage = Advantages()(reward[None], torch.ones(1, dtype=F64), GROUP)
    return Samples(x0, GROUP, advantage, GROUP, torch.arange(12), reward)


def prepared(objective: VGRPO, using: DiffusionPolicy) -> PairRows:
    rows = objective.ready(samples(), using, KEY / "round")
    return replace(rows, old=None if rows.old is None else rows.old.detach())


def slope(objective: VGRPO, rows: PairRows, using: DiffusionPolicy) -> Tensor:
    loss, _ = objective.loss(rows, using)
    assert isinstance(using.current, NetworkDenoiser)
    (gradient,) = torch.autograd.grad(loss, list(using.current.network.parameters()))
    return gradient


# The error in every space


@pytest.mark.parametrize("kind", KINDS)
def test_errors_of_all_kinds_are_multiples_of_the_velocity_error(kind: Kind) -> None:
    """x̂0 − x0 = −t (v̂ − v), ε̂ − ε = (1 − t)(v̂ − v), and the other kinds follow."""
    using = policy(0.4)
    rows = prepared(VGRPO(), using)

    def error(kind: Kind) -> Tensor:
        answer = predict_as(using.current, rows.pairs, GROUP, kind)
        return answer - targets(FLOW, rows.x0, rows.pairs, kind)

    t = rows.pairs.t[..., None]
    factor = {
        "x0": -t,
        "eps": 1 - t,
        "velocity": torch.ones_like(t),
        "v": (1 - t) ** 2 + t**2,
        "score": -(1 - t) / t,
    }[kind]
    torch.testing.assert_close(error(kind), factor * error("velocity"))


# Pairs


@pytest.mark.parametrize("share", ["none", "group", "batch"])
def test_a_shuffled_batch_has_the_same_pairs_in_another_order(share: str) -> None:
    """[vgrpo] (Sec. 4.4): addresses are of prompt and sample, not of places in a batch."""
    objective = VGRPO(share=share)  # pyright: ignore[reportArgumentType]
    order, using = (KEY / "order").permutation(12), policy()
    straight = objective.ready(samples(), using, KEY)
    shuffled = objective.ready(samples()[order], using, KEY)
    for name in ("t", "eps", "x_t"):
        assert torch.equal(getattr(shuffled.pairs, name), getattr(straight.pairs, name)[order])
    assert torch.equal(shuffled.sample, order)


def test_every_time_of_the_grid_but_the_last_is_used_once_per_stratum() -> None:
    """As many pairs as steps: each pair has one possible time, from noise to data."""
    rows = VGRPO(pairs=8).ready(samples(), policy(), KEY)
    expected = torch.tensor([1 - i / 8 for i in range(8)], dtype=F64)
    torch.testing.assert_close(rows.pairs.t, expected.expand(12, 8))


# One update per round


@pytest.mark.parametrize("kind", ["x0", "velocity", "eps"])
@pytest.mark.parametrize("adaptive", [True, False])
def test_without_the_old_pass_the_gradient_is_the_same(kind: Kind, adaptive: bool) -> None:
    objective = VGRPO(prediction=kind, adaptive=adaptive, proximal=0.5, anchor=0.2)
    both = [policy(0.0, on_policy) for on_policy in (False, True)]
    with_old, without = (slope(objective, prepared(objective, using), using) for using in both)
    torch.testing.assert_close(without, with_old)
    losses = [objective.loss(prepared(objective, using), using)[0] for using in both]
    torch.testing.assert_close(losses[0], losses[1])


def test_turned_advantages_turn_the_gradient_of_a_round() -> None:
    using = policy()
    rows = prepared(VGRPO(), using)
    turned = replace(rows, advantage=-rows.advantage)
    torch.testing.assert_close(slope(VGRPO(), turned, using), -slope(VGRPO(), rows, using))


@dataclass(frozen=True)
class Offset(VGRPO):
    """The errors of a prompt all moved by the error of its first sample, which has a gradient."""

    def _error(self, pred: Tensor, target: Tensor) -> Tensor:
        error = super()._error(pred, target)
        first = error.mean(1)[:: len(error) // 3].repeat_interleave(len(error) // 3)
        return error + 7.0 * first[:, None]


def test_what_the_samples_of_a_prompt_share_cancels() -> None:
    """Advantages of a group add up to 0, so a common part of the errors is a control variate."""
    plain, using = VGRPO(soft_clip=None), policy()
    moved = Offset(soft_clip=None)
    rows = prepared(plain, using)
    torch.testing.assert_close(slope(moved, rows, using), slope(plain, rows, using))
    biased = replace(rows, advantage=rows.advantage + 1.0)
    assert not torch.allclose(slope(moved, biased, using), slope(plain, biased, using))


def test_a_constant_added_to_the_rewards_of_a_prompt_changes_no_loss() -> None:
    using, one = policy(0.3), torch.ones(1, dtype=F64)
    rows, reward = prepared(VGRPO(), using), (KEY / "reward").normal(12, dtype=F64)
    raised = Advantages()((reward + 5.0 * GROUP)[None], one, GROUP)
    data = VGRPO().ready(replace(samples(), advantage=raised), using, KEY / "round")
    torch.testing.assert_close(VGRPO().loss(data, using)[0], VGRPO().loss(rows, using)[0])


# Several updates per round


def log_ratios(objective: VGRPO, rows: PairRows, using: DiffusionPolicy) -> Tensor:
    """Sample by sample, from the metric."""
    one = [objective.loss(rows[i : i + 1], using)[1]["ratio/mean"] for i in range(len(rows))]
    return torch.stack(one).log()


def test_the_clip_stops_what_has_gone_far_enough_and_is_counted() -> None:
    """Three updates at a large step; the expected metrics are counted from ratios one by one."""
    using, objective = policy(), VGRPO(soft_clip=None, clip=0.05)
    rows = prepared(objective, using)
    assert isinstance(using.current, NetworkDenoiser)
    optimizer = torch.optim.SGD(using.current.network.parameters(), lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        objective.loss(rows, using)[0].backward()
        optimizer.step()
    rho, good = log_ratios(objective, rows, using).exp(), rows.advantage > 0
    above, below = (rho > 1.05) & good, (rho < 0.95) & ~good
    assert above.any()
    assert below.any()
    loss, metrics = objective.loss(rows, using)
    assert metrics["clip/above"].item() == pytest.approx(above.sum().item() / 12)
    assert metrics["clip/below"].item() == pytest.approx(below.sum().item() / 12)
    gain = torch.minimum(rho * rows.advantage, rho.clamp(0.95, 1.05) * rows.advantage)
    torch.testing.assert_close(loss, -gain.mean())
    kept = ~(above | below)
    rest = slope(replace(objective, clip=None), rows[kept], using) * kept.sum() / 12
    torch.testing.assert_close(slope(objective, rows, using), rest)


def test_the_ratio_is_of_mean_errors_and_each_policy_has_its_own_size() -> None:
    """[vgrpo] (14): ρ = exp(mean old error − mean new error), written out for one sample."""
    using = policy(0.3)
    rows = prepared(WITHOUT, using)[2:3]

    def error(denoiser: NetworkDenoiser) -> float:
        total = 0.0
        for j in range(4):
            answer = denoiser(rows.pairs.x_t[:, j], rows.pairs.t[:, j], GROUP[2:3])
            e = (answer.x0 - rows.x0).detach()
            total += (e.square().mean() / e.abs().mean()).item()
        return total / 4

    assert isinstance(using.current, NetworkDenoiser)
    assert isinstance(using.old, NetworkDenoiser)
    expected = exp(error(using.old) - error(using.current))
    assert WITHOUT.loss(rows, using)[1]["ratio/mean"].item() == pytest.approx(expected, rel=1e-12)
    assert abs(expected - 1) > 0.01


# What each switch leaves alone


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"soft_clip": 0.5}, {"advantage"}),
        ({"share": "none"}, {"pairs", "old"}),
        ({"prediction": "velocity"}, set()),
        ({"anchor": 0.2}, {"reference"}),
        ({"adaptive": False}, set()),
        ({"clip": 0.01}, set()),
        ({"proximal": 0.3}, set()),
    ],
)
def test_a_switch_changes_its_own_part_of_what_is_prepared(
    change: dict[str, object], changed: set[str]
) -> None:
    using = policy(0.3)
    before = prepared(WITHOUT, using)
    after = prepared(replace(WITHOUT, **change), using)  # pyright: ignore[reportArgumentType]
    parts = {
        "advantage": torch.equal(before.advantage, after.advantage),
        "pairs": torch.equal(before.pairs.x_t, after.pairs.x_t),
        "old": same(before.old, after.old),
        "reference": same(before.reference, after.reference),
    }
    assert {name for name, equal in parts.items() if not equal} == changed
    assert torch.equal(before.x0, after.x0)


def same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a, b)


@pytest.mark.parametrize(
    ("change", "metric"),
    [
        ({"adaptive": False}, "ratio/mean"),
        ({"prediction": "velocity"}, "ratio/mean"),
        ({"clip": 0.01}, "clip/above"),
        ({"soft_clip": 0.5}, None),
        ({"proximal": 0.3}, "proximal"),
        ({"anchor": 0.2}, "drift/velocity"),
        ({"share": "none"}, "ratio/mean"),
    ],
)
def test_a_switch_changes_the_loss_off_policy(
    change: dict[str, object], metric: str | None
) -> None:
    using, other = policy(0.3), replace(WITHOUT, **change)  # pyright: ignore[reportArgumentType]
    loss, before = WITHOUT.loss(prepared(WITHOUT, using), using)
    changed, after = other.loss(prepared(other, using), using)
    assert (changed - loss).abs() > 1e-5
    moved = {name for name in after if name not in before or after[name] != before[name]}
    assert metric in moved if metric else not moved
    if metric in ("clip/above", "proximal", "drift/velocity"):
        assert moved <= {metric, "clip/below"}


def test_the_proximal_slope_is_that_of_the_squared_move() -> None:
    """[vgrpo] (16): D = mean (x̂0 − x̂0_old)², and here x̂0 moves by k(t) times the mean's move.

    x̂0 = m + g (x − (1 − t) m), g = (1 − t) c/((1 − t)² c + t²): k = t²/((1 − t)² c + t²).
    """
    using, shift = policy(0.3), 0.3
    rows = replace(prepared(WITHOUT, using), advantage=torch.zeros(12, dtype=F64))
    t = rows.pairs.t
    k = t**2 / (0.25 * (1 - t) ** 2 + t**2)
    loss, metrics = replace(WITHOUT, proximal=2.0).loss(rows, using)
    torch.testing.assert_close(metrics["proximal"], (k * shift).square().mean())
    torch.testing.assert_close(loss, 2.0 * (k * shift).square().mean())
    got = slope(replace(WITHOUT, proximal=2.0), rows, using)
    by_group = torch.stack([k[g == GROUP].square().sum() for g in range(3)])
    expected = 2.0 * 2 * shift * by_group[:, None] / (12 * 4 * 2)
    torch.testing.assert_close(got, expected.expand(3, 2))


def test_the_anchor_slope_is_that_of_the_distance_to_the_reference() -> None:
    """[diffusion-nft] (KL term): velocities move by −x̂0's move over t, and m − m_ref is 0.8."""
    using, distance = policy(0.3), 0.8
    objective = replace(WITHOUT, anchor=0.5)
    rows = replace(prepared(objective, using), advantage=torch.zeros(12, dtype=F64))
    t = rows.pairs.t
    k = t / (0.25 * (1 - t) ** 2 + t**2)
    _, metrics = objective.loss(rows, using)
    torch.testing.assert_close(metrics["drift/velocity"], (k * distance).square().mean())
    by_group = torch.stack([k[g == GROUP].square().sum() for g in range(3)])
    expected = 0.5 * 2 * distance * by_group[:, None] / (12 * 4 * 2)
    torch.testing.assert_close(slope(objective, rows, using), expected.expand(3, 2))


def test_soft_advantages_are_what_the_loss_is_weighted_with() -> None:
    """[vgrpo] (17): 0.5 tanh(A/0.5), taken once when the round is prepared."""
    using = policy()
    soft = prepared(replace(WITHOUT, soft_clip=0.5), using)
    expected = 0.5 * (samples().advantage / 0.5).tanh()
    torch.testing.assert_close(soft.advantage, expected)
    torch.testing.assert_close(WITHOUT.loss(soft, using)[0], -expected.mean())
    torch.testing.assert_close(
        slope(replace(WITHOUT, soft_clip=0.5), soft, using), slope(WITHOUT, soft, using)
    )
    assert soft.advantage.abs().max() < real(0.5)


@pytest.mark.parametrize("wrong", [{"clip": 0.0}, {"clip": -0.1}, {"soft_clip": 0.0}])
def test_clips_that_would_leave_nothing_are_refused(wrong: dict[str, float]) -> None:
    (name, value), *_ = wrong.items()
    with pytest.raises(ValueError, match=rf"`{name}` must be positive or None, got {value}"):
        replace(WITHOUT, **wrong)  # pyright: ignore[reportArgumentType]
