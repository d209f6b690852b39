"""Forward-process methods: published numbers, what they share at the old policy, and learning."""

from dataclasses import replace

import pytest
import torch

from scoreward.core.denoiser import Guided, NetworkDenoiser
from scoreward.core.likelihood import self_normalised_error, squared_error
from scoreward.core.prediction import Kind
from scoreward.objectives.samples.answers import Answers
from scoreward.objectives.samples.awm import AWM
from scoreward.objectives.samples.crd import CRD
from scoreward.objectives.samples.dgpo import DGPO
from scoreward.objectives.samples.diffusion_nft import DiffusionNFT
from scoreward.objectives.samples.epg import EPG, PAR, PEPG
from scoreward.objectives.samples.fpo import FPO
from scoreward.objectives.samples.pairs import PairObjective, growth
from scoreward.objectives.samples.ram import RAM
from scoreward.objectives.samples.vgrpo import VGRPO
from tests.core.laws import F64, real
from tests.objectives.learning import START, learned
from tests.objectives.pairing import (
    FLOW,
    GROUP,
    KEY,
    NUMBERS,
    asked,
    near,
    policy,
    prepared,
    published_answers,
    slope,
)
from tests.support.matrix import mostly_long

PAIRED = {"pairs": 4, "share": "group", "times": "stratified"}


# The published tensors


def test_published_numbers_of_diffusion_nft() -> None:
    """[diffusion-nft] (optimality), [diffusion-nft] (loss)"""
    n, answers = NUMBERS["nft"], published_answers()
    objective = DiffusionNFT(beta=n["beta"])
    near(objective.optimality(answers.rows.advantage), n["r"])
    target = answers.read(answers.target, "x0")
    for name, sign in (("plus", 1), ("minus", -1)):
        mixed = answers.old + sign * n["beta"] * (answers.new - answers.old)
        error = self_normalised_error(answers.read(mixed, "x0"), target)
        near(error[:, 0], n[name])
    loss, metrics = objective.matching(answers)
    near(loss, n["loss"], 1e-5)
    near(metrics["error/plus"], sum(n["plus"]) / 4)


def test_published_numbers_of_awm() -> None:
    """[awm] (weighting)"""
    n, answers = NUMBERS["awm"], published_answers()
    error = squared_error(answers.new, answers.target)
    near(error[:, 0], n["error"])
    t = answers.rows.pairs.t
    near(AWM().weighted(error, t)[:, 0], n["ghuber"])
    near(AWM(weighting="huber").weighted(error, t)[:, 0], n["huber"])
    near(AWM(weighting="uniform").weighted(error, t), error)
    near(AWM(weighting="t").weighted(error, t), 0.6 * error)
    near(AWM(weighting="t2").weighted(error, t), 0.36 * error)


@pytest.mark.parametrize("schedule", ["ramp", "late"])
def test_published_decays_of_the_old_policy(schedule: str) -> None:
    """[diffusion-nft] (decay)"""
    objective = DiffusionNFT(schedule=schedule)  # pyright: ignore[reportArgumentType]
    for step, decay in NUMBERS["decay"][schedule].items():
        assert objective.old_decay(int(step)) == pytest.approx(decay)
    assert DiffusionNFT(schedule="copy").old_decay(500) == 0


def test_the_slow_average_of_awm() -> None:
    """[awm] (EMA decay)"""
    assert [AWM().slow_decay(k) for k in (0, 100, 300, 900)] == [0, 0.1, 0.3, 0.3]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("all", [0.3, 0.5, 0.9]),
        ("positive_only", [0.5, 0.5, 0.9]),
        ("negative_only", [0.3, 0.5, 0.5]),
        ("one_only", [0.5, 0.5, 0.6]),
        ("binary", [0.4, 0.5, 0.6]),
    ],
)
def test_which_advantages_diffusion_nft_counts(mode: str, expected: list[float]) -> None:
    objective = DiffusionNFT(mode=mode)  # pyright: ignore[reportArgumentType]
    near(objective.optimality(real(-2.0, 0.0, 4.0)), expected)


# At the old policy


@pytest.mark.parametrize("beta", [0.1, 1.0, 3.0])
def test_at_the_old_policy_diffusion_nft_is_vgrpo(beta: float) -> None:
    """[diffusion-nft] (optimality): ∇L = E[A ∇ℓ] for every β while |A| ≤ 5."""
    using = policy()
    nft = DiffusionNFT(beta=beta, anchor=0.0, **PAIRED)  # pyright: ignore
    vgrpo = VGRPO(soft_clip=None, clip=None)
    torch.testing.assert_close(slope(nft, using), slope(vgrpo, using))
    assert slope(vgrpo, using).abs().max() > 1e-3
    moved = policy(0.4)
    assert not torch.allclose(slope(nft, moved), slope(vgrpo, moved))


def test_at_the_old_policy_plain_epg_is_fpo() -> None:
    """[epg] (objective), [fpo] (ratio): sg(ρ) ∇ log p = ∇ρ where ρ = 1, and not off-policy.

    There EPG has a ratio for each time, FPO one of the mean over times.
    """
    plain = EPG(likelihood="uniform", size=1.0, anchor=0.0, **PAIRED)  # pyright: ignore
    for shift, same in ((0.0, True), (0.5, False)):
        first, second = (slope(o, policy(shift)) for o in (plain, FPO(pairs=4, clip=None)))
        assert torch.allclose(first, second, rtol=1e-9) == same


def test_awm_that_sums_first_is_fpo() -> None:
    """Uniform weights, advantage / 5, no anchors, no clip."""
    using = policy(0.2)
    awm = AWM(anchor=0, slow_anchor=0, weighting="uniform", ratio="sum_first", clip=None, **PAIRED)  # pyright: ignore
    fpo = FPO(pairs=4, clip=None, bound=None)
    torch.testing.assert_close(5 * slope(awm, using), slope(fpo, using))


def test_one_ratio_per_time_has_the_same_gradient_at_the_old_policy_and_not_elsewhere() -> None:
    awm = AWM(anchor=0, slow_anchor=0, **PAIRED)  # pyright: ignore
    late = replace(awm, ratio="sum_first")
    for shift, same in ((0.0, True), (0.5, False)):
        first, summed = slope(awm, policy(shift)), slope(late, policy(shift))
        assert torch.allclose(first, summed, rtol=1e-9) == same


def test_awm_huber_points_where_vgrpo_points_up_to_the_size_of_each_error() -> None:
    """∇ t√ℓ = t∇ℓ/2√ℓ and V-GRPO's is t∇ℓ/mean|e|: one sample, one pair, equal direction."""
    using = policy()
    one = {"pairs": 1, "share": "group", "times": "stratified"}
    huber = AWM(anchor=0, slow_anchor=0, weighting="huber", **one)  # pyright: ignore
    vgrpo = VGRPO(soft_clip=None, clip=None, pairs=1)
    for i in range(12):
        rows = [prepared(o, using)[torch.tensor([i])] for o in (huber, vgrpo)]
        if rows[0].advantage.abs() < 0.1:
            continue
        a, b = (
            torch.autograd.grad(o.loss(r, using)[0], list(using.current.network.parameters()))[0]  # pyright: ignore
            for o, r in zip((huber, vgrpo), rows)
        )
        cosine = torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)
        assert cosine.item() == pytest.approx(1, abs=1e-6)


def test_while_the_policy_is_the_reference_ram_is_reward_weighted_matching() -> None:
    """[ram] (loss): the gradient is that of R mean (v − v*)²."""
    using = policy(0.0, reference=0.0)
    objective = RAM(signal="reward")
    rows = prepared(objective, using)
    assert isinstance(using.current, NetworkDenoiser)
    velocity = asked(using, rows)
    error = squared_error(velocity, Answers(rows, FLOW, velocity, velocity).target)
    weighted = (rows.reward[:, None] * error).mean()
    (expected,) = torch.autograd.grad(weighted, list(using.current.network.parameters()))
    torch.testing.assert_close(slope(objective, using), expected)


def test_ram_centres_and_scales_its_signal_on_request() -> None:
    using = policy(0.0, reference=0.0)
    plain = slope(RAM(), using)
    torch.testing.assert_close(slope(RAM(scale=2.0), using), 2 * plain)
    assert not torch.allclose(plain, slope(RAM(signal="reward"), using))


def test_dgpo_at_the_reference_is_half_of_advantage_weighted_matching() -> None:
    """[dgpo] (weight): sigmoid(0) = ½."""
    using = policy(0.0, reference=0.0)
    shared = DGPO(anchor=0.0, clip=None, **PAIRED)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(slope(shared, using), 0.5 * slope(FPO(pairs=4, clip=None), using))


def test_dgpo_weighs_a_group_by_what_it_has_gained() -> None:
    """A group that already prefers its better samples is weighed less, the opposite more."""
    rows = prepared(DGPO(beta=5.0), policy(0.4))
    new = rows.reference
    assert new is not None
    target = Answers(rows, FLOW, new, new).target
    closer = torch.where((rows.advantage > 0)[:, None, None], target, new)
    apart = torch.where((rows.advantage < 0)[:, None, None], target, new)
    weights = [
        DGPO(beta=5.0).matching(Answers(rows, FLOW, v, new))[1]["weight/mean"]
        for v in (closer, apart)
    ]
    assert weights[0] < 0.5 < weights[1]


def test_dgpos_clip_drops_what_has_moved_far_enough() -> None:
    using = policy(0.6)
    free = slope(DGPO(clip=None), using)
    assert not torch.allclose(slope(DGPO(clip=1e-3), using), free)
    close = policy(-0.19)  # the slow average is at −0.2
    torch.testing.assert_close(slope(DGPO(clip=0.9), close), slope(DGPO(clip=None), close))


def test_at_the_old_policy_crd_is_advantage_weighted_matching_of_normalised_errors() -> None:
    """[crd] (implicit reward) is 0 there; the loss's slope is −2·5 E[(r − r̄) ∇r_θ] = E[A ∇ℓ]."""
    using = policy()
    crd = CRD(anchor=0.0, policies="copy")
    rows = prepared(crd, using)
    velocity = asked(using, rows)
    target = Answers(rows, FLOW, velocity, velocity).target
    error = self_normalised_error(velocity, target).mean(1)
    value = (rows.advantage * error).mean()
    (expected,) = torch.autograd.grad(value, list(using.current.network.parameters()))  # pyright: ignore
    torch.testing.assert_close(slope(crd, using), expected)


def test_crd_rests_where_its_centred_reward_is_the_external_one() -> None:
    """[crd] (loss): β (r_θ − mean) = r − mean gives 0."""
    rows = prepared(CRD(anchor=0.0, policies="copy"), policy(0.3))
    old = rows.old
    assert old is not None
    answers = Answers(rows, FLOW, old, old)
    loss, _ = CRD().matching(answers)
    external = (rows.advantage / 10).reshape(3, 4)
    expected = (external - external.mean(1, keepdim=True)).square().mean() * 5
    torch.testing.assert_close(loss, expected)


METHODS: list[PairObjective] = [
    VGRPO(clip=None), DiffusionNFT(anchor=0.0), AWM(anchor=0.0, slow_anchor=0.0), FPO(),
    EPG(anchor=0.0), PEPG(anchor=0.0), PAR(anchor=0.0), CRD(anchor=0.0, policies="copy"),
]  # fmt: skip
NAMES = [type(o).__name__ for o in METHODS]


@pytest.mark.parametrize("objective", METHODS, ids=NAMES)
def test_turned_advantages_turn_the_gradient(objective: PairObjective) -> None:
    using = policy()
    torch.testing.assert_close(slope(objective, using, -1.0), -slope(objective, using))


@pytest.mark.parametrize("objective", mostly_long(METHODS, METHODS[:2]), ids=NAMES)
def test_a_toy_with_a_known_optimum_is_learned(objective: PairObjective) -> None:
    assert learned(objective).max() < 0.5 * START


@pytest.mark.long
def test_ram_and_dgpo_go_as_far_as_their_reference_lets_them() -> None:
    """RAM's target is the reference's velocity shifted by A; a larger scale goes further."""
    near_start, further = learned(RAM()).max(), learned(RAM(scale=4.0)).max()
    assert further < near_start < 0.9 * START
    assert learned(DGPO(beta=1.0)).max() < learned(DGPO(beta=100.0)).max() < 0.9 * START


@pytest.mark.parametrize(
    ("objective", "kind", "metric"),
    [
        (VGRPO(), "x0", "error/mean"),
        (DiffusionNFT(), "x0", "error/plus"),
        (EPG(), "x0", "error/mean"),
        (CRD(), "velocity", "error/mean"),
    ],
)
def test_every_method_that_normalises_has_one_floor(
    objective: PairObjective, kind: Kind, metric: str
) -> None:
    """Velocities 1e-7 off: e² over 1e-5, not over |e|; in x0 the error is t times smaller."""
    rows = replace(prepared(objective, policy()), slow=None)
    target = Answers(rows, FLOW, rows.x0, rows.x0).target
    answers = Answers(rows, FLOW, target + 1e-7, target + 1e-7)
    factor = rows.pairs.t if kind == "x0" else torch.ones_like(rows.pairs.t)
    _, metrics = objective.matching(answers)
    expected = (factor.square() * 1e-14 / 1e-5).mean()
    torch.testing.assert_close(metrics[metric], expected, rtol=1e-6, atol=0)


# Anchors


def test_an_anchor_may_be_the_guided_reference() -> None:
    """[crd] (KL): the distance is to the first model under guidance."""
    using = policy(0.3)
    rows = prepared(VGRPO(anchor=0.5, anchor_guidance=2.0), using)
    null = using.null
    assert null is not None
    guided = Guided(using.reference, 2.0, null)
    expected = guided(
        rows.pairs.x_t.flatten(0, 1), rows.pairs.t.flatten(), GROUP.repeat_interleave(4)
    )
    torch.testing.assert_close(rows.reference, expected.as_("velocity").reshape(12, 4, 2))
    plain = prepared(VGRPO(anchor=0.5), using)
    assert not torch.allclose(rows.reference, plain.reference)  # pyright: ignore
    with pytest.raises(ValueError, match="`anchor_guidance` needs a model with a condition"):
        prepared(VGRPO(anchor=0.5, anchor_guidance=2.0), replace(using, null=None))


def test_the_slow_anchor_is_the_distance_to_the_slow_average() -> None:
    """[awm] (EMA anchor)"""
    using = policy(0.3)
    bare, held = (VGRPO(clip=None, slow_anchor=w) for w in (0.0, 0.7))
    (loss, metrics), (plain, _) = (
        held.loss(prepared(held, using), using), bare.loss(prepared(bare, using), using)
    )  # fmt: skip
    assert metrics["drift/slow"] > 0.01
    torch.testing.assert_close(loss - plain, 0.7 * metrics["drift/slow"])


def test_a_velocity_that_has_grown_is_penalised_and_one_that_has_not_is_not() -> None:
    """[norm-guard] (hinge)"""
    v = (KEY / "v").normal(2, 3, 5, dtype=F64)
    torch.testing.assert_close(growth(1.2 * v, v), torch.full((2, 3), 0.2, dtype=F64))
    using = policy(0.0, reference=0.0)
    free, guarded = (VGRPO(clip=None, norm_guard=w) for w in (0.0, 5.0))
    rows = prepared(guarded, using)
    assert rows.reference is not None
    for factor, excess in ((1.2, 0.0), (0.8, 0.25**2)):
        scaled = replace(rows, reference=factor * rows.reference)
        _, metrics = guarded.loss(scaled, using)
        torch.testing.assert_close(metrics["norm/excess"], real(excess)[0])
    loss, _ = guarded.loss(replace(rows, reference=0.8 * rows.reference), using)
    torch.testing.assert_close(
        loss, free.loss(replace(rows, reference=None), using)[0] + 5 * 0.0625
    )
