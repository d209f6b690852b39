"""CRD: released numbers, its least squares written out, where it rests, its two slow policies."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoreward.objectives.samples.answers import PairRows
from scoreward.objectives.samples.crd import CRD
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.training.geometry import Geometry
from tests.core.laws import F64, real
from tests.objectives.learning import ODE, trainer
from tests.objectives.pairing import RELEASED, asked, derivative, near, policy, prepared, slope

BARE = CRD(anchor=0.0, gap="sample", policies="copy")
N, CLOSE = RELEASED["crd"], RELEASED["tolerance"]


def normalised(velocity: Tensor | None, rows: PairRows) -> Tensor:
    """mean over pairs of mean(e²)/mean|e|, the size a constant."""
    assert velocity is not None
    e = velocity - (rows.pairs.eps - rows.x0[:, None])
    return (e.square().mean(2) / e.detach().abs().mean(2)).mean(1)


def centred(value: Tensor) -> Tensor:
    each = value.reshape(3, 4)
    return (each - each.mean(1, keepdim=True)).flatten()


# Released numbers: two groups of two samples at two times


@pytest.mark.parametrize("form", list(N["losses"]))
def test_released_distances_and_gradients(form: str) -> None:
    """[crd] (external reward), [crd] (loss): centred over group or batch, per time or sample."""
    centre, gap = form.split("/")
    objective = CRD(centre=centre, gap=gap)  # pyright: ignore[reportArgumentType]
    implicit = torch.tensor(N["implicit"], dtype=F64, requires_grad=True)
    external = objective.external(real(*N["advantage"]))
    near(external, N["external"], CLOSE)
    loss = objective.distance(implicit, external, torch.tensor(N["group"]))
    near(loss.detach(), N["losses"][form], CLOSE)
    (gradient,) = torch.autograd.grad(loss, implicit)
    near(gradient, N["gradients"][form], CLOSE)


def test_released_anchor_holds_better_samples_more() -> None:
    """[crd] (KL): λ mean (m + (1 − m) r) distance, m = 1e-4/λ; or λ alone."""
    rows = replace(prepared(BARE, policy())[:4], advantage=real(*N["advantage"]))
    held = CRD(anchor=N["anchor"]).held(rows)
    assert held is not None
    near(N["anchor"] * (held * real(*N["distances"])).mean(), N["felt"], CLOSE)
    assert CRD(anchor_floor=None).held(rows) is None
    near(N["anchor"] * real(*N["distances"]).mean(), N["constant"], CLOSE)


def test_the_anchor_in_the_loss_is_weighed_by_the_external_reward() -> None:
    """[crd] (KL): the metric stays the plain distance."""
    using = policy(0.3)
    objective = replace(BARE, anchor=0.2, anchor_guidance=1.0)
    rows = prepared(objective, using)
    distance = (asked(using, rows) - rows.reference).square().mean((1, 2))  # pyright: ignore
    r, m = (rows.advantage / 10 + 0.5).clamp(0, 1), 1e-4 / 0.2
    for floor, weight in ((1e-4, m + r * (1 - m)), (None, torch.ones_like(r))):
        loss, metrics = replace(objective, anchor_floor=floor).loss(rows, using)
        plain = BARE.loss(replace(rows, reference=None), using)[0]
        torch.testing.assert_close(loss, plain + 0.2 * (weight * distance).mean())
        torch.testing.assert_close(metrics["drift/velocity"], distance.mean().detach())


def test_every_time_has_a_gap_of_its_own() -> None:
    """[crd] (loss), off-policy and by hand: the gaps of a sample's times are not averaged first."""
    using, objective = policy(0.3), CRD(anchor=0.0, beta=2.0)
    rows = prepared(objective, using)
    assert rows.slow is not None
    assert rows.old is None
    target = rows.pairs.eps - rows.x0[:, None]

    def sizes(velocity: Tensor) -> Tensor:
        e = velocity - target
        return e.square().mean(2) / e.detach().abs().mean(2)

    implicit = sizes(rows.slow) - sizes(asked(using, rows))
    gap = torch.empty_like(implicit)
    external = rows.advantage / 10 + 0.5
    for g in range(3):
        mine = slice(4 * g, 4 * g + 4)
        ours = implicit[mine] - implicit[mine].mean(0)
        gap[mine] = 2.0 * ours - (external[mine] - external[mine].mean())[:, None]
    loss, _ = objective.loss(rows, using)
    torch.testing.assert_close(loss, (gap**2).mean() * 5 / 2)
    expected = derivative((2 * gap.detach() * 2.0 * implicit).mean() * 5 / 2, using)
    torch.testing.assert_close(slope(objective, using), expected)
    assert not torch.allclose(loss, replace(objective, gap="sample").loss(rows, using)[0])


def test_the_loss_and_its_gradient_off_policy() -> None:
    """[crd] (implicit reward), [crd] (loss): the group's mean of r_θ carries no gradient."""
    using, objective = policy(0.3), replace(BARE, beta=2.0)
    rows = prepared(objective, using)
    implicit = normalised(rows.old, rows) - normalised(asked(using, rows), rows)
    external = (rows.advantage / 10 + 0.5).clamp(0, 1)
    gap = (2.0 * centred(implicit) - centred(external)).detach()
    loss, metrics = objective.loss(rows, using)
    torch.testing.assert_close(loss, (gap**2).mean() * 5 / 2.0)
    torch.testing.assert_close(metrics["implicit/mean"], implicit.mean().detach())
    expected = derivative((2 * gap * 2.0 * implicit).mean() * 5 / 2.0, using)
    torch.testing.assert_close(slope(objective, using), expected)


def test_the_centre_of_the_implicit_reward_is_a_constant() -> None:
    """Its gradient would matter off-policy only: Σ of the gaps of a group is 0 with it or not."""
    using = policy(0.3)
    rows = prepared(BARE, using)
    implicit = normalised(rows.old, rows) - normalised(asked(using, rows), rows)
    external = rows.advantage / 10 + 0.5
    through = ((centred(implicit) - centred(external)) ** 2).mean() * 5
    torch.testing.assert_close(slope(BARE, using), derivative(through, using))


@pytest.mark.parametrize("beta", [0.2, 1.0, 7.0])
def test_at_the_old_policy_it_is_vgrpo_of_velocities(beta: float) -> None:
    """[crd] (loss): −2·5 E[(r − mean r) ∇r_θ] = E[A ∇ℓ] for every β while |A| ≤ 5."""
    using = policy()
    vgrpo = VGRPO(prediction="velocity", soft_clip=None, clip=None)
    for gap in ("sample", "time"):
        objective = replace(BARE, beta=beta, gap=gap)
        torch.testing.assert_close(slope(objective, using), slope(vgrpo, using))
    moved = policy(0.4)
    assert not torch.allclose(slope(replace(BARE, beta=beta), moved), slope(vgrpo, moved))


def test_it_rests_where_the_two_rewards_differ_by_a_constant_of_the_prompt() -> None:
    """[crd] (loss): external = β r_θ + anything of the group."""
    using, objective = policy(0.3), replace(BARE, beta=0.7)
    rows = prepared(objective, using)
    implicit = (normalised(rows.old, rows) - normalised(asked(using, rows), rows)).detach()
    wanted = 10 * 0.7 * centred(implicit) + torch.tensor([0.3, -0.2, 0.1]).repeat_interleave(4)
    assert wanted.abs().max() < 5
    there = replace(rows, advantage=wanted)
    loss, _ = objective.loss(there, using)
    assert loss < 1e-25
    assert derivative(objective.loss(there, using)[0], using).abs().max() < 1e-12


def test_external_rewards_are_cut_like_probabilities() -> None:
    """[crd] (loss): advantages of ±9 count as ±5, so the rows cannot tell them apart."""
    using = policy(0.3)
    rows = prepared(BARE, using)
    losses = [
        BARE.loss(replace(rows, advantage=size * rows.advantage.sign()), using)[0]
        for size in (4.0, 5.0, 9.0)
    ]
    torch.testing.assert_close(losses[1], losses[2])
    assert (losses[0] - losses[1]).abs() > 1e-3


@pytest.mark.parametrize(
    ("policies", "old", "sampling"),
    [
        ("port", [0.25, 0.625, 0.775, 0.999], [0.0, 0.0, 0.225, 0.999]),
        ("original", [0.25, 0.325, 0.355, 0.5], [0.0, 0.075, 0.105, 0.5]),
        ("copy", [None] * 4, [0.0] * 4),
    ],
)
def test_how_the_two_policies_follow(policies: str, old: list, sampling: list[float]) -> None:
    """[crd] (old policy), [crd] (sampling policy)"""
    objective = CRD(policies=policies)  # pyright: ignore[reportArgumentType]
    counts = (0, 75, 105, 900)
    assert [objective.slow_decay(k) for k in counts] == pytest.approx(old)
    assert [objective.old_decay(k) for k in counts] == pytest.approx(sampling)


def test_the_policy_compared_with_lags_and_the_one_that_samples_does_so_later() -> None:
    """[crd] (old policy): slow ← d slow + (1 − d) current with d from a quarter on."""
    run, model = trainer(replace(BARE, policies="port"), ODE, Geometry(4, 4))
    (mean,) = model.network.parameters()
    slow = live = mean.detach().clone()
    implicit = []
    for k in range(3):
        live, d = mean.detach().clone(), 0.25 + 0.005 * k
        slow = d * slow + (1 - d) * live
        implicit.append(run.step().metrics["implicit/mean"])
    torch.testing.assert_close(run.weights.snapshot("slow")["mean"], slow)
    torch.testing.assert_close(run.weights.snapshot("old")["mean"], live)
    assert abs(implicit[-1]) > 1e-4
    copied, _ = trainer(BARE, ODE, Geometry(4, 4))
    assert [copied.step().metrics["implicit/mean"] for _ in range(3)] == [0.0] * 3


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"bound": 0.0}, {"anchor_floor": -0.1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected `beta` > 0, `bound` > 0 and `anchor_floor` >="):
        CRD(**wrong)  # pyright: ignore[reportArgumentType]
