"""EPG, PEPG and PAR: released numbers, gradients by hand, identities, and what they draw."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoreward.core.advantage import Advantages
from scoreward.objectives.samples.answers import Answers, PairRows
from scoreward.objectives.samples.awm import AWM
from scoreward.objectives.samples.diffusion_nft import DiffusionNFT
from scoreward.objectives.samples.epg import ELBO, EPG, PAR, PEPG
from scoreward.objectives.samples.ram import RAM
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.recipes import recipe
from scoreward.training.sources.online import Online
from tests.core.laws import F64, real
from tests.objectives.learning import ODE, trainer
from tests.objectives.pairing import (
    FLOW,
    GROUP,
    KEY,
    RELEASED,
    asked,
    derivative,
    near,
    policy,
    prepared,
    released,
    released_answers,
    slope,
)

METHODS: list[type[EPG]] = [EPG, PEPG, PAR]
EVERY = pytest.mark.parametrize("method", METHODS)
SHARED = {"pairs": 4, "share": "group", "times": "stratified", "anchor": 0.0}
CLOSE = RELEASED["tolerance"]
CENTRED = real(-1.0, 0.0, 2.0, -1.0)


def bare(method: type[EPG], **settings: object) -> EPG:
    """On pairs that groups share, without an anchor."""
    return method(**SHARED | settings)  # pyright: ignore[reportArgumentType]


def likelihood(velocity: Tensor | None, rows: PairRows) -> Tensor:
    """ℓ = −mean e²/mean|e| with e = x̂0 − x0 = −t (v − v*), the divisor a constant."""
    assert velocity is not None
    e = rows.pairs.t[..., None] * (velocity - (rows.pairs.eps - rows.x0[:, None]))
    return -(e * e).mean(2) / e.detach().abs().mean(2)


# Released numbers


@pytest.mark.parametrize("name", list(RELEASED["likelihood"]))
def test_released_likelihoods(name: ELBO) -> None:
    """[epg] (likelihood): each policy with its own divisor."""
    answers, objective = released_answers(released("new"), CENTRED), EPG(likelihood=name)
    for policy_name, velocity in (("new", answers.new), ("old", answers.old)):
        got = objective.log_p(answers, velocity)[:, 0]
        near(got.detach(), RELEASED["likelihood"][name][policy_name], CLOSE)


@EVERY
@pytest.mark.parametrize("form", ["weighted", "plain", "at_old"])
def test_released_losses_and_slopes(method: type[EPG], form: str) -> None:
    """[epg] (objective), [epg] (PEPG), [epg] (PAR)"""
    network = released("old" if form == "at_old" else "new")
    loss, metrics = method(weighted=form != "plain").matching(released_answers(network, CENTRED))
    (gradient,) = torch.autograd.grad(loss, network)
    wanted = RELEASED["losses"][method.__name__][form]
    near(torch.stack([loss.detach(), gradient[0]]), wanted, CLOSE)
    if form != "at_old":
        near(metrics["ratio/max"], max(RELEASED["ratio"]), CLOSE)
        near(metrics["ratio/min"], min(RELEASED["ratio"]), CLOSE)
        near(metrics["ratio/mean"], sum(RELEASED["ratio"]) / 4, CLOSE)


@EVERY
def test_released_losses_of_three_samples(method: type[EPG]) -> None:
    """[epg] (objective), [epg] (PEPG), [epg] (PAR): from likelihoods alone."""
    n = RELEASED["terms"]
    new, old, advantage = (real(*n[k])[:, None] for k in ("new", "old", "advantage"))
    value = ((new - old).exp() * method().term(advantage, new, old)).mean()
    near(value, n[method.__name__], 1e-12)


def test_the_anchor_is_added_with_its_weight() -> None:
    """Measured on the released tensors: mean (v − v_ref)² and its slope, times 1e-4."""
    network = released("new")
    answers = released_answers(network, CENTRED)
    assert answers.rows.reference is not None
    distance = (answers.new - answers.rows.reference).square().mean()
    (gradient,) = torch.autograd.grad(distance, network)
    near(torch.stack([distance.detach(), gradient[0]]), RELEASED["anchor"], CLOSE)
    using = policy(0.3)
    rows = prepared(EPG(), using)
    free = replace(rows, reference=None)
    by_hand = (asked(using, rows) - rows.reference).square().mean()  # pyright: ignore
    loss = EPG().loss(rows, using)[0] - EPG().loss(free, using)[0]
    torch.testing.assert_close(loss, 1e-4 * by_hand)


# Gradients by hand


@EVERY
@pytest.mark.parametrize("weighted", [True, False])
def test_at_the_old_policy_the_gradient_is_advantage_times_likelihood(
    method: type[EPG], weighted: bool
) -> None:
    """[epg] (objective): −0.1 E[A ∇ℓ] for all three, with ρ or without."""
    using, objective = policy(), bare(method, weighted=weighted)
    rows = prepared(objective, using)
    log_p = likelihood(asked(using, rows), rows)
    expected = derivative(-(0.1 * rows.advantage[:, None] * log_p).mean(), using)
    torch.testing.assert_close(slope(objective, using), expected)
    assert expected.abs().max() > 1e-3


@pytest.mark.parametrize(("method", "pull"), [(EPG, 0.0), (PEPG, 1.0), (PAR, 1.0)])
def test_off_policy_every_time_of_a_sample_has_a_constant_ratio_of_its_own(
    method: type[EPG], pull: float
) -> None:
    """[epg] (objective), [epg] (PEPG), [epg] (PAR): −E[ρ (A − pull Δ) ∇ℓ]."""
    using, objective = policy(0.4), bare(method)
    rows = prepared(objective, using)
    log_p, old = likelihood(asked(using, rows), rows), likelihood(rows.old, rows)
    gain = (log_p - old).detach()
    weight = gain.exp() * (0.1 * rows.advantage[:, None] - pull * gain)
    expected = derivative(-(weight * log_p).mean(), using)
    torch.testing.assert_close(slope(objective, using), expected)
    _, metrics = objective.loss(rows, using)
    torch.testing.assert_close(metrics["ratio/max"], gain.exp().max())
    assert gain.std(1).min() > 1e-3


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("shift", [0.0, 0.3, 2.0])
def test_pepg_and_par_are_one_update_at_every_policy(shift: float, weighted: bool) -> None:
    """[epg] (PAR): ρ has no gradient, so ∇ ½ρ(A − Δ)² = −ρ (A − Δ) ∇ℓ; only the value differs."""
    using = policy(shift)
    first, second = (bare(m, weighted=weighted) for m in (PEPG, PAR))
    torch.testing.assert_close(slope(first, using), slope(second, using), rtol=1e-12, atol=1e-14)
    rows = prepared(first, using)
    assert first.loss(rows, using)[0] != second.loss(rows, using)[0]


def test_pepg_rests_where_the_gain_is_the_advantage_and_epg_does_not() -> None:
    """[epg] (PEPG): Δ = A is its stationary point."""
    using = policy(0.3)
    rows = prepared(bare(PEPG, pairs=1), using)
    gain = likelihood(asked(using, rows), rows).detach() - likelihood(rows.old, rows)
    there = replace(rows, advantage=10 * gain[:, 0])
    for method in METHODS:
        loss, _ = bare(method, pairs=1).loss(there, using)
        size = derivative(loss, using).abs().max()
        assert size > 1e-4 if method is EPG else size < 1e-15


# Identities and limits


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_at_the_old_policy_epg_is_vgrpo_times_its_size(clip: float | None) -> None:
    """[vgrpo] (14), [epg] (objective): the same likelihood on shared pairs."""
    using = policy()
    vgrpo = VGRPO(soft_clip=None, clip=clip)
    torch.testing.assert_close(slope(bare(EPG), using), 0.1 * slope(vgrpo, using))


@pytest.mark.parametrize("beta", [0.1, 1.0, 3.0])
def test_at_the_old_policy_epg_is_diffusion_nft(beta: float) -> None:
    using = policy()
    nft = DiffusionNFT(beta=beta, **SHARED)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(slope(bare(EPG, size=1.0), using), slope(nft, using))


@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_with_plain_errors_epg_is_awm_without_clip_anywhere(shift: float) -> None:
    """∇ρ = ρ ∇ℓ: one ratio per (sample, time) on both sides; AWM divides its advantage by 5."""
    using = policy(shift)
    awm = AWM(slow_anchor=0, weighting="uniform", clip=None, **SHARED)  # pyright: ignore
    plain = bare(EPG, likelihood="uniform", size=1.0)
    torch.testing.assert_close(slope(plain, using), 5 * slope(awm, using))


def test_at_the_reference_plain_epg_is_ram() -> None:
    """[ram] (loss): both are the gradient of A mean (v − v*)²; RAM's signal carries m."""
    using = policy(0.0, reference=0.0)
    plain = bare(EPG, likelihood="uniform", size=1.0)
    ram = RAM(scale=2.0, **SHARED)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(2 * slope(plain, using), slope(ram, using))


@pytest.mark.parametrize("method", [EPG, PEPG])
def test_a_constant_of_both_likelihoods_changes_no_gradient(method: type[EPG]) -> None:
    new, old = ((KEY / name).normal(4, 3, dtype=F64) for name in ("l", "o"))
    gradients = []
    for constant in (0.0, 5.0):
        mine = (new + constant).requires_grad_()
        (gradient,) = torch.autograd.grad(
            method().term(CENTRED[:, None], mine, old + constant).sum(), mine
        )
        gradients.append(gradient)
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("name", list(RELEASED["likelihood"]))
def test_a_perfect_answer_has_no_slope(name: ELBO) -> None:
    """[epg] (likelihood): the floor keeps 0/0 away."""
    rows = prepared(EPG(), policy())
    perfect = (rows.pairs.eps - rows.x0[:, None]).requires_grad_()
    loss, _ = EPG(likelihood=name).matching(Answers(rows, FLOW, perfect, perfect.detach()))
    (gradient,) = torch.autograd.grad(loss, perfect)
    assert gradient.abs().max() == 0


# Advantages, pairs, policies


def test_advantages_are_cut_after_they_are_scaled() -> None:
    """|0.1 (R − mean)| ≤ 5: differences of 60 and 80 count as 50, those of 40 as they are."""
    using, objective = policy(0.2), bare(EPG)
    rows = prepared(objective, using)
    losses = [
        objective.loss(replace(rows, advantage=size * rows.advantage.sign()), using)[0].item()
        for size in (40.0, 50.0, 60.0, 80.0)
    ]
    assert losses[1] == losses[2] == losses[3]
    assert losses[0] == pytest.approx(0.8 * losses[1])


@pytest.mark.parametrize("name", ["epg", "pepg", "par"])
def test_the_settings_cut_where_the_method_does(name: str) -> None:
    """No deviation, and no cut before 50 that would come ahead of the method's."""
    run = recipe(name).run()
    source, objective = run.source, run.objective
    assert isinstance(source, Online)
    assert isinstance(source.advantages, Advantages)
    assert isinstance(objective, EPG)
    reward, one = (KEY / "reward").normal(12, dtype=F64), torch.ones(1, dtype=F64)
    plain, large = (source.advantages(f * reward[None], one, GROUP) for f in (0.1, 1.0))
    torch.testing.assert_close(large, 10 * plain)
    by_hand = reward.reshape(3, 4) - reward.reshape(3, 4).mean(1, keepdim=True)
    torch.testing.assert_close(large, by_hand.flatten())
    far = source.advantages(torch.tensor([[200.0, 0.0, 0.0, 0.0]]), torch.ones(1), GROUP[:4])
    assert (objective.size * far).abs().max() == objective.bound


@EVERY
def test_every_time_but_one_with_noise_of_its_own(method: type[EPG]) -> None:
    """Eight steps have seven pairs a sample; no two share noise, all are on the grid."""
    rows = prepared(method(), policy())
    assert rows.pairs.t.shape == (12, 7)
    assert len(rows.pairs.eps.flatten(0, 1).unique(dim=0)) == 12 * 7
    grid = torch.tensor(policy().times[:-1])
    for times in rows.pairs.t.float():
        assert len(times.unique()) == 7
        assert (times[:, None] - grid).abs().min(1).values.max() < 1e-6


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("copy", [0.0, 0.0, 0.0, 0.0, 0.0]),
        ("ramp", [0.0, 0.009, 0.03, 0.06, 0.5]),
        ("late", [0.0, 0.0, 0.2, 0.5, 0.5]),
    ],
)
def test_how_the_old_policy_follows(schedule: str, expected: list[float]) -> None:
    """[epg] (decay)"""
    objective = EPG(schedule=schedule)  # pyright: ignore[reportArgumentType]
    got = [objective.old_decay(k) for k in (0, 9, 30, 60, 900)]
    assert got == pytest.approx(expected)


def test_the_policy_that_samples_follows_slowly() -> None:
    """[epg] (decay): old ← d old + (1 − d) current before each round."""
    run, model = trainer(PEPG(schedule="late"), ODE)
    (mean,) = model.network.parameters()
    old = mean.detach().clone()
    for k in range(14):
        d = 0.0 if k < 10 else 0.01 * (k - 10)
        old = d * old + (1 - d) * mean.detach()
        run.step()
    torch.testing.assert_close(run.weights.snapshot("old")["mean"], old)
    assert not torch.equal(old, mean)


@EVERY
def test_defaults_are_those_of_the_official_scripts(method: type[EPG]) -> None:
    o = method()
    assert (o.anchor, o.size, o.bound, o.likelihood) == (1e-4, 0.1, 5.0, "adaptive")
    assert (o.share, o.times, o.schedule, o.weighted) == ("none", "grid", "ramp", True)


@pytest.mark.parametrize("wrong", [{"size": 0.0}, {"bound": -1.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="`size` and `bound` must be positive, got"):
        EPG(**wrong)  # pyright: ignore[reportArgumentType]
