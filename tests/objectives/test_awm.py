"""AWM: its gradient under every weighting, its limits, shared times, the slow average of a run."""

from dataclasses import replace

import pytest
import torch

from scoreward.objectives.samples.awm import AWM, Weighting
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.training.geometry import Geometry
from tests.core.laws import F64, real
from tests.objectives.learning import ODE, trainer
from tests.objectives.pairing import (
    KEY,
    asked,
    derivative,
    error_of,
    policy,
    prepared,
    samples,
    slope,
)

BARE = AWM(anchor=0.0, slow_anchor=0.0)
WEIGHTINGS: list[Weighting] = ["uniform", "t", "t2", "huber", "ghuber"]


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_the_gradient_at_the_old_policy(weighting: Weighting) -> None:
    """[awm] (weighting): E[A/5 · W′(ℓ) ∇ℓ], over samples and times, W′ written out."""
    using, objective = policy(), replace(BARE, weighting=weighting)
    rows = prepared(objective, using)
    error, t = error_of(asked(using, rows), rows), rows.pairs.t
    inner = error.detach() + 1e-10
    rate = {
        "uniform": torch.ones_like(t),
        "t": t,
        "t2": t * t,
        "huber": t / (2 * inner**0.5),
        "ghuber": t * inner**-0.75,
    }[weighting]
    expected = derivative((rows.advantage[:, None] / 5 * rate * error).mean(), using)
    torch.testing.assert_close(slope(objective, using), expected)


@pytest.mark.parametrize("ratio", ["exp_first", "sum_first"])
def test_the_loss_away_from_the_old_policy(ratio: str) -> None:
    """−E A/5 exp(W_old − W): of each time, or of the mean over times."""
    using, objective = policy(0.3), replace(BARE, weighting="t2", ratio=ratio, clip=None)
    rows = prepared(objective, using)
    assert rows.old is not None
    t = rows.pairs.t
    gain = t * t * (error_of(rows.old, rows) - error_of(asked(using, rows), rows))
    rho = gain.exp() if ratio == "exp_first" else gain.mean(1, keepdim=True).exp()
    loss, metrics = objective.loss(rows, using)
    torch.testing.assert_close(loss, -(rho * rows.advantage[:, None] / 5).mean())
    torch.testing.assert_close(metrics["ratio/min"], rho.min().detach())
    assert (metrics["ratio/max"] - metrics["ratio/min"]).abs() > 0.01


def test_weightings_meet_at_the_ends_of_the_power() -> None:
    """[awm] (weighting): ghuber is 2 huber at p = ½ and t ℓ at p = 1."""
    error, t = (KEY / "e").uniform(3, 4).to(F64) * 5, (KEY / "t").uniform(3, 4).to(F64)

    def w(weighting: Weighting, power: float = 0.25) -> torch.Tensor:
        return AWM(weighting=weighting, power=power).weighted(error, t)

    torch.testing.assert_close(w("ghuber", 0.5), 2 * w("huber"))
    torch.testing.assert_close(w("ghuber", 1.0), w("t"))
    assert AWM(weighting="ghuber").weighted(0 * error, t).abs().max() < 1e-15


def test_huber_is_vgrpo_scaled_by_the_shape_of_the_error() -> None:
    """One pair: V-GRPO's slope is 2 rms(e)/mean|e| as long, and AWM's advantage a fifth."""
    using = policy()
    one = {"pairs": 1, "share": "group", "times": "stratified"}
    huber = replace(BARE, weighting="huber", **one)  # pyright: ignore[reportArgumentType]
    vgrpo = VGRPO(soft_clip=None, clip=None, pairs=1)
    rows = prepared(huber, using)
    e = (asked(using, rows) - (rows.pairs.eps - rows.x0[:, None])).detach()[:, 0]
    stretch = 2 * e.square().mean(1).sqrt() / e.abs().mean(1)
    assert stretch.max() > 1.05 * stretch.min()
    for i in range(12):
        row = rows[i : i + 1]
        ours = derivative(huber.loss(row, using)[0], using)
        theirs = derivative(vgrpo.loss(row, using)[0], using)
        torch.testing.assert_close(theirs, 5 * stretch[i] * ours)


def test_the_batch_shares_its_times_and_nobody_the_noise() -> None:
    """[awm] (timesteps): three times of the grid without its first, others in another round."""
    awm = AWM(pairs=3)
    rows = prepared(awm, policy())
    assert (rows.pairs.t == rows.pairs.t[0]).all()
    assert set(rows.pairs.t[0].tolist()) <= {1 - i / 8 for i in range(1, 7)}
    assert len(rows.pairs.eps.flatten(0, 1).unique(dim=0)) == 12 * 3
    part = awm.ready(samples()[torch.tensor([7, 2])], policy(), KEY / "round")
    assert torch.equal(part.pairs.x_t, rows.pairs.x_t[[7, 2]])
    others = [awm.ready(samples(), policy(), KEY / k).pairs.t[0] for k in range(20)]
    assert len({tuple(t.tolist()) for t in others}) > 1
    assert torch.stack(others).max() == 7 / 8  # of eight steps the first would be there 20 times


def test_a_clip_of_one_binds_only_where_a_ratio_has_doubled() -> None:
    using = policy(0.4)
    torch.testing.assert_close(slope(BARE, using), slope(replace(BARE, clip=None), using))
    tight = replace(BARE, clip=0.01)
    assert not torch.allclose(slope(tight, using), slope(BARE, using))


def test_anchors_add_their_weights_times_their_distances() -> None:
    """[awm] (EMA anchor): to the first model and to the slow average, each its own distance."""
    using = policy(0.3)
    plain, _ = BARE.loss(prepared(BARE, using), using)
    held = AWM(anchor=0.2, slow_anchor=0.7)
    rows = prepared(held, using)
    loss, metrics = held.loss(rows, using)
    new = asked(using, rows)
    assert rows.reference is not None
    assert rows.slow is not None
    first, slow = ((new - v).square().mean() for v in (rows.reference, rows.slow))
    torch.testing.assert_close(loss - plain, 0.2 * first + 0.7 * slow)
    torch.testing.assert_close(metrics["drift/slow"], slow.detach())
    pull = derivative(loss, using) - slope(BARE, using)
    torch.testing.assert_close(pull, derivative(0.2 * first + 0.7 * slow, using))
    assert (first - slow).abs() > 0.01


def test_the_slow_average_of_a_run_follows_its_schedule() -> None:
    """[awm] (EMA decay): slow ← d slow + (1 − d) current, d = 0.001 k after k updates."""
    run, model = trainer(AWM(), ODE, Geometry(4, 4))
    (mean,) = model.network.parameters()
    slow, copied, drift = mean.detach().clone(), mean.detach().clone(), 0.0
    for k in range(5):
        decay = 0.001 * k
        slow = decay * slow + (1 - decay) * mean.detach()
        copied = mean.detach().clone()
        drift = run.step().metrics["drift/slow"]
    got = run.weights.snapshot("slow")["mean"]
    torch.testing.assert_close(got, slow, rtol=1e-6, atol=1e-7)
    assert not torch.allclose(got, copied, rtol=1e-6, atol=1e-7)
    assert 0 < drift < 1e-4


@pytest.mark.parametrize("wrong", [{"bound": 0.0}, {"power": -0.25}])
def test_settings_that_would_divide_by_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="`bound` and `power` must be positive, got"):
        AWM(**wrong)  # pyright: ignore[reportArgumentType]


def test_a_single_pair_and_a_perfect_answer_have_finite_slopes() -> None:
    """[awm] (weighting): 1e-10 keeps the root away from 0, where its slope has no bound."""
    error = real(0.0).requires_grad_()
    for weighting in WEIGHTINGS:
        value = AWM(weighting=weighting).weighted(error[None], real(0.5)[None])
        (rate,) = torch.autograd.grad(value.sum(), error)
        assert rate.isfinite().all()
