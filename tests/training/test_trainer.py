"""The loop: what memory settings may not change, what is counted, what is refused."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from scoreward.core.chain import uniform
from scoreward.core.denoiser import Guided
from scoreward.core.kernel import DDIM, generalised
from scoreward.models.analytic import GaussianPolicy
from scoreward.models.base import Model
from scoreward.objectives.base import Needs, Objective
from scoreward.objectives.samples.crd import CRD
from scoreward.objectives.samples.dgpo import DGPO
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.rewards.base import RewardError
from scoreward.tasks.toy import toy_model
from scoreward.training.geometry import Geometry
from scoreward.training.guards import Diverged, Guards
from scoreward.training.trainer import Trainer, combined
from tests.training.toys import (
    SMALL,
    BrokenLater,
    Tampered,
    float64_trainer,
    make_trainer,
    means,
    online,
    rounds_of,
    wrong_at,
)

FULL = VGRPO(clip=0.01, proximal=0.3, anchor=0.1)
ROUND = Geometry(prompts=4, group=5, minibatches=3, epochs=2)


def after_three_rounds(geometry: Geometry) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """Metrics of each round; live weights, average and moments at the end."""
    trainer = float64_trainer(geometry, FULL)
    metrics = [dict(r.metrics) for r in rounds_of(trainer, 3)]
    (moments,) = trainer.torch_optimizer.state.values()
    ema = trainer.weights.snapshot("ema")["mean"]
    return metrics, {"live": means(trainer), "ema": ema, "moment": moments["exp_avg"]}


@pytest.fixture(scope="module")
def reference() -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    return after_three_rounds(replace(ROUND, micro_batch=20, rollout_batch=20))


@pytest.mark.parametrize("micro_batch", [1, 3, 7, 64])
@pytest.mark.parametrize("rollout_batch", [5, 64])
def test_batches_of_memory_never_change_the_algorithm(
    reference: tuple, micro_batch: int, rollout_batch: int
) -> None:
    """Losses, ratios, gradients and weights in float64: only the order of sums may differ."""
    metrics, weights = after_three_rounds(
        replace(ROUND, micro_batch=micro_batch, rollout_batch=rollout_batch)
    )
    for ours, theirs in zip(metrics, reference[0], strict=True):
        same = {k: v for k, v in ours.items() if k != "gradient/signal_to_noise"}
        wanted = {k: v for k, v in theirs.items() if k != "gradient/signal_to_noise"}
        assert same == pytest.approx(wanted, rel=1e-6, abs=1e-6)
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, reference[1][name], rtol=1e-11, atol=1e-12)


def test_that_comparison_would_notice_another_minibatch(reference: tuple) -> None:
    _, weights = after_three_rounds(replace(ROUND, minibatches=4))
    assert not torch.allclose(weights["live"], reference[1]["live"], rtol=1e-3)


def test_the_gradient_is_the_mean_over_the_samples_of_a_minibatch() -> None:
    """Micro-batches of 3 + 3 + 1 weigh by their size: one AdamW step, compared by its moment."""
    geometry = Geometry(prompts=1, group=7, micro_batch=3)
    trainer = float64_trainer(geometry, VGRPO(clip=None, soft_clip=None))
    whole = float64_trainer(replace(geometry, micro_batch=7), VGRPO(clip=None, soft_clip=None))
    for each in (trainer, whole):
        each.step()
    first, second = (next(iter(t.torch_optimizer.state.values())) for t in (trainer, whole))
    assert float(first["exp_avg"].abs().max()) > 1e-4
    torch.testing.assert_close(first["exp_avg"], second["exp_avg"], rtol=1e-12, atol=0)


def test_extremes_combine_as_extremes_and_means_by_rows() -> None:
    answers = [
        (1, {"a/min": 3.0, "a/max": 3.0, "a/mean": 3.0}),
        (3, {"a/min": -1.0, "a/max": 7.0, "a/mean": 1.0}),
    ]
    assert combined(answers) == {"a/min": -1.0, "a/max": 7.0, "a/mean": 1.5}
    assert combined([]) == {}


@pytest.mark.parametrize("verify_every", [1, 10])
@pytest.mark.parametrize("geometry", [SMALL, Geometry(4, 4, 2, 3)])
def test_the_ratio_is_one_before_the_first_update_of_every_round(
    geometry: Geometry, verify_every: int
) -> None:
    """With one update per round it stays so; with several it moves after the first."""
    guards = Guards(verify_every=verify_every)
    trainer = make_trainer(geometry, guards=guards)
    for round in rounds_of(trainer, 4):
        first = [round.metrics[f"first/ratio/{k}"] for k in ("min", "mean", "max")]
        assert first == pytest.approx([1.0] * 3, abs=1e-6)
        spread = round.metrics["ratio/max"] - round.metrics["ratio/min"]
        assert (spread > 1e-4) == (geometry.updates > 1)


def counts(trainer: Trainer) -> tuple[int, int, int]:
    e = trainer.evaluations
    return e.behaviour, e.training_forward, e.training_backward


def test_evaluations_are_counted_exactly() -> None:
    """16 samples, 10 steps, 4 pairs.  Verified round: 160 rollout + 64 old; others 160."""
    trainer = make_trainer(SMALL, guards=Guards(verify_every=2))
    trainer.step()
    assert counts(trainer) == (160 + 64, 64, 64)
    trainer.step()
    assert counts(trainer) == (2 * 160 + 64, 128, 128)
    assert trainer.evaluations.total == 384 + 3 * 128


def test_epochs_train_again_but_sample_once() -> None:
    trainer = make_trainer(Geometry(4, 4, minibatches=3, epochs=2))
    rounds_of(trainer, 2)
    assert counts(trainer) == (2 * (160 + 64), 2 * 128, 2 * 128)


def test_the_anchor_and_the_kind_of_solver_are_counted() -> None:
    """Anchor: 64 more behaviour evaluations; 5 steps of DDIM: 80."""
    source = online(SMALL, rollout=uniform(DDIM(generalised(0.0)), 5))
    trainer = make_trainer(objective=VGRPO(clip=None, anchor=0.1), source=source)
    trainer.step()
    assert counts(trainer) == (80 + 64 + 64, 64, 64)


def guided_model() -> Model:
    """The toy, whose null condition is the first prompt."""
    return replace(toy_model(), null=lambda cond: torch.zeros_like(cond))


def test_guidance_costs_two_evaluations() -> None:
    trainer = make_trainer(model=guided_model(), guidance=2.5)
    trainer.step()
    assert counts(trainer) == (2 * (160 + 64), 2 * 64, 2 * 64)
    assert isinstance(trainer.reading("ema"), Guided)


def test_the_average_follows_its_own_decay() -> None:
    """Decays (1 + k)/(10 + k) after update k: ema = Σ over the path of the live weights."""
    trainer = make_trainer(SMALL)
    average = means(trainer)
    for k in range(1, 5):
        trainer.step()
        decay = (1 + k) / (10 + k)
        average = decay * average + (1 - decay) * means(trainer)
    torch.testing.assert_close(trainer.weights.snapshot("ema")["mean"], average)


def test_a_trainer_is_an_iterator_of_rounds() -> None:
    trainer = make_trainer(SMALL)
    numbers = [round.index for round, _ in zip(trainer, range(3), strict=False)]
    assert numbers[:3] == [1, 2, 3]


def test_reference_and_old_stay_where_they_were() -> None:
    trainer = make_trainer(SMALL)
    rounds_of(trainer, 2)
    before_third = means(trainer)
    trainer.step()
    assert torch.equal(trainer.weights.snapshot("reference")["mean"], torch.zeros(4, 2))
    assert torch.equal(trainer.weights.snapshot("old")["mean"], before_third)
    assert not torch.equal(means(trainer), before_third)


def test_the_anchor_measures_the_distance_to_the_start_not_to_the_last_round() -> None:
    """One update a round: to its own rollouts' policy the distance would be 0 in every round."""
    trainer = make_trainer(objective=VGRPO(clip=None, anchor=1e-6))
    drift = [round.metrics["drift/velocity"] for round in rounds_of(trainer, 4)]
    assert drift[0] == 0
    assert 0 < drift[1] < drift[2] < drift[3]


class Forgetful(GaussianPolicy):
    """A network that drops out even in eval mode."""

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(x, t, cond), 0.1, training=True)


def test_a_network_with_dropout_is_caught_before_it_trains() -> None:
    model = replace(toy_model(), network=Forgetful(4, 2))
    trainer = make_trainer(model=model)
    with pytest.raises(
        Diverged, match=r"^the ratio before the first update of round 1 is off 1 by"
    ):
        trainer.step()
    assert torch.equal(means(trainer), torch.zeros(4, 2))
    assert trainer.between_rounds
    assert trainer.done == 0


def test_a_network_left_in_training_mode_is_switched_to_evaluation() -> None:
    model = toy_model()
    model.network.train()
    assert not make_trainer(model=model).model.network.training


@pytest.mark.parametrize("at", [0, 2])
def test_a_stale_old_snapshot_is_caught(at: int) -> None:
    source = Tampered(online(SMALL), at)
    trainer = make_trainer(source=source, guards=Guards(verify_every=1))
    source.trainer = trainer
    rounds_of(trainer, at)
    before = means(trainer)
    with pytest.raises(
        Diverged, match=f"first update of round {at + 1} is off 1 by .* stale weigh"
    ):
        trainer.step()
    assert torch.equal(means(trainer), before)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_broken_loss_stops_before_the_step(factor: float) -> None:
    trainer = make_trainer(objective=BrokenLater(VGRPO(clip=None), 3, factor))
    rounds_of(trainer, 2)
    before, moments = means(trainer), next(iter(trainer.torch_optimizer.state.values()))
    average = trainer.weights.snapshot("ema")["mean"].clone()
    steps = float(moments["step"])
    with pytest.raises(Diverged, match=r"^loss became -?(nan|inf) in round 3; lower the"):
        trainer.step()
    assert torch.equal(means(trainer), before)
    assert torch.equal(trainer.weights.snapshot("ema")["mean"], average)
    assert float(moments["step"]) == steps
    assert trainer.weights.parameters["mean"].grad is None
    assert trainer.between_rounds


def test_a_policy_that_jumps_away_is_stopped_though_its_gradient_vanishes() -> None:
    """After a step of 30 every sample is unlikely: all ratios, and with them the loss, are ≈ 0."""
    trainer = make_trainer(Geometry(4, 4, minibatches=4), lr=30.0)
    with pytest.raises(
        Diverged, match=r"^the likelihood ratio exploded in round 1: mean .*e-\d+, "
    ):
        trainer.step()
    assert means(trainer).isfinite().all()
    assert not trainer.between_rounds


def test_a_ratio_above_its_limit_is_named_with_it() -> None:
    """The round that passes under the limit of 10 reaches more than 1.005."""
    geometry = Geometry(4, 4, minibatches=4)
    assert make_trainer(geometry).step().metrics["ratio/max"] > 1.005
    with pytest.raises(
        Diverged, match=r"largest 1\.0\d*, where 0\.995 to 1 is allowed; the policy"
    ):
        make_trainer(geometry, guards=Guards(ratio_limit=1.005)).step()


def test_a_failing_reward_changes_nothing() -> None:
    source = online(SMALL, rewards={"r": wrong_at(2, lambda m, p: m[:, 0] * float("nan"))})
    trainer = make_trainer(source=source)
    trainer.step()
    before, counted = means(trainer), counts(trainer)
    with pytest.raises(RewardError, match=r"^reward 'r' returned nan for prompt"):
        trainer.step()
    assert torch.equal(means(trainer), before)
    assert (trainer.done, counts(trainer), trainer.between_rounds) == (1, counted, True)


@pytest.mark.parametrize(
    "changes",
    [{"verify_every": 0}, {"ratio_tolerance": -1.0}, {"ratio_limit": 1.0}],
)
def test_guards_that_would_guard_nothing_are_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match=r"^expected verify_every >= 1, ratio_tolerance >= 0"):
        Guards(**changes)


def test_a_network_with_nothing_to_train_is_refused() -> None:
    model = toy_model()
    model.network.requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameters"):
        make_trainer(model=model)


# Losses over whole groups

GROUPED = {"dgpo": DGPO(beta=3.0), "crd": CRD(anchor_guidance=1.0)}
WHOLE = Geometry(prompts=5, group=4, minibatches=2, epochs=2, micro_batch=20)


class Scattered(DGPO):
    """The same loss for whom the trainer does not keep groups together."""

    @property
    def needs(self) -> Needs:
        return Needs(answers=True)


def grouped(objective: Objective, geometry: Geometry) -> Tensor:
    trainer = float64_trainer(geometry, objective)
    rounds_of(trainer, 3)
    return means(trainer)


@pytest.mark.parametrize("name", list(GROUPED))
def test_batches_of_memory_never_change_a_loss_over_groups(name: str) -> None:
    """Micro-batches of less than a group become one group, others whole numbers of groups."""
    whole = grouped(GROUPED[name], WHOLE)
    for micro, rollout in ((1, 20), (6, 3), (9, 7), (64, 20)):
        sizes = replace(WHOLE, micro_batch=micro, rollout_batch=rollout)
        torch.testing.assert_close(grouped(GROUPED[name], sizes), whole, rtol=1e-11, atol=1e-12)


def test_split_groups_would_change_that_loss() -> None:
    torn = [grouped(Scattered(beta=3.0), replace(WHOLE, micro_batch=m)) for m in (3, 20)]
    assert not torch.allclose(torn[0], torn[1], rtol=1e-4)
    whole = grouped(GROUPED["dgpo"], replace(WHOLE, minibatches=1))
    torch.testing.assert_close(grouped(Scattered(beta=3.0), replace(WHOLE, minibatches=1)), whole)


def test_more_minibatches_than_prompts_are_refused_for_a_loss_over_groups() -> None:
    with pytest.raises(ValueError, match="6 minibatches cannot be made of 5 prompts"):
        make_trainer(replace(WHOLE, minibatches=6), DGPO()).step()
