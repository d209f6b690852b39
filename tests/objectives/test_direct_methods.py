"""Methods that differentiate the reward: where gradients flow, what they cost, that they learn."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoreward.core.chain import Sampler, uniform
from scoreward.core.denoiser import Cond, Guided, NetworkDenoiser
from scoreward.core.kernel import DDIM, ddim, generalised
from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy, Rollout
from scoreward.core.prediction import Prediction
from scoreward.core.process import RectifiedFlow
from scoreward.models.analytic import GaussianPolicy
from scoreward.objectives.base import Samples
from scoreward.objectives.gradients.align_prop import AlignProp
from scoreward.objectives.gradients.draft import DRaFT
from scoreward.objectives.gradients.refl import ReFL
from scoreward.objectives.gradients.starts import StartObjective, StartRows
from scoreward.rewards.base import RewardError
from scoreward.training.geometry import Geometry
from tests.core.laws import F64
from tests.objectives.learning import ODE, START, distances, learned, trainer
from tests.objectives.slopes import differences
from tests.support.matrix import long

KEY, FLOW, STEPS = Key(("direct",)), RectifiedFlow(), 6
NOISY = uniform(DDIM(generalised(1.0)), STEPS)
PLAIN = uniform(ddim(), STEPS)


def score(x0: Tensor, sample: Tensor) -> Tensor:
    return -(x0 - 1.0).square().sum(1) + 0.1 * x0[:, 0] ** 3


def policy(sampler: Sampler = NOISY, on_policy: bool = False) -> DiffusionPolicy:
    def reading(shift: float) -> NetworkDenoiser:
        module = GaussianPolicy(prompts=2, dim=2).double()
        with torch.no_grad():
            module.mean.copy_((KEY / "means").normal(2, 2, dtype=F64) + shift)
        return NetworkDenoiser(module, FLOW)

    readings = reading(0.0), reading(0.0), reading(-0.5)
    return replace(
        DiffusionPolicy(*readings, FLOW, sampler, on_policy), rollout=Rollout(score=score)
    )


def samples() -> Samples:
    zero, which = torch.zeros(6, dtype=F64), torch.arange(6) // 3
    return Samples((KEY / "x").normal(6, 2, dtype=F64), which, zero, which, torch.arange(6), zero)


def prepared(objective: StartObjective, using: DiffusionPolicy) -> StartRows:
    return objective.ready(samples(), using, KEY / "round")


def slope(objective: StartObjective, using: DiffusionPolicy) -> Tensor:
    loss, metrics = objective.loss(prepared(objective, using), using)
    assert not any(value.requires_grad for value in metrics.values())
    assert isinstance(using.current, NetworkDenoiser)
    (gradient,) = torch.autograd.grad(loss, list(using.current.network.parameters()))
    return gradient


def test_through_all_steps_the_gradient_is_that_of_the_reward() -> None:
    """[draft] (K steps): against finite differences of the whole chain."""
    using, objective = policy(), DRaFT(last=STEPS)
    rows = prepared(objective, using)
    assert isinstance(using.current, NetworkDenoiser)

    def value() -> Tensor:
        x = rows.x
        for i, kernel in enumerate(using.sampler.kernels):
            t, s = (x.new_full((6,), u) for u in using.times[i : i + 2])
            law = kernel(using.current(x, t, rows.cond), s)
            x = law.mean + law.std * rows.noise[:, i]
        return -score(x, rows.sample).mean()

    expected = differences(value, using.current.network)
    torch.testing.assert_close(slope(objective, using), expected, rtol=1e-6, atol=1e-8)


def test_the_last_step_alone_is_a_derivative_at_a_fixed_state() -> None:
    """[draft] (K steps): with K = 1 the state before the last step is a constant."""
    using = policy()
    rows = prepared(DRaFT(), using)
    assert isinstance(using.current, NetworkDenoiser)
    with torch.no_grad():
        x = rows.x
        for i, kernel in enumerate(using.sampler.kernels[:-1]):
            t, s = (x.new_full((6,), u) for u in using.times[i : i + 2])
            law = kernel(using.current(x, t, rows.cond), s)
            x = law.mean + law.std * rows.noise[:, i]
    t = x.new_full((6,), using.times[-2])

    def value() -> Tensor:
        return -score(using.current(x, t, rows.cond).x0, rows.sample).mean()

    expected = differences(value, using.current.network)
    torch.testing.assert_close(slope(DRaFT(), using), expected, rtol=1e-6, atol=1e-8)
    assert not torch.allclose(slope(DRaFT(last=2), using), expected)


def test_align_prop_from_step_k_is_draft_with_the_rest() -> None:
    """[align-prop] (loss): 1 − r differs from −r by a constant while r < 1."""
    using = policy()
    fixed = AlignProp(cut="fixed", weight=1.0, target=100.0)
    torch.testing.assert_close(slope(fixed, using), slope(DRaFT(last=1), using))


def test_the_cut_of_align_prop_is_drawn_inside_the_chain() -> None:
    """[align-prop] (K): mean 42, std 5 of 50, redrawn until 1 ≤ K < 50."""
    drawn = [AlignProp().first(50, KEY / i) for i in range(500)]
    assert all(1 <= k < 50 for k in drawn)
    assert sum(drawn) / 500 == pytest.approx(41.5, abs=0.8)
    uniformly = {AlignProp(cut="uniform").first(5, KEY / i) for i in range(100)}
    assert uniformly == {0, 1, 2, 3, 4}
    with pytest.raises(ValueError, match="no K in 1 to 4 was drawn in 1,000 attempts"):
        AlignProp(mean=50.0).first(5, KEY)


def test_refl_stops_at_a_random_late_step() -> None:
    """[refl] (loss): steps 30 … 39 of 40."""
    assert {ReFL().first(40, KEY / i) for i in range(400)} == set(range(30, 40))


def test_refl_is_flat_above_its_threshold() -> None:
    using = policy()
    assert slope(ReFL(threshold=-1e3), using).abs().max() == 0
    ratio = slope(ReFL(weight=2.0, threshold=1e3), using) / slope(
        ReFL(weight=1.0, threshold=1e3), using
    )
    torch.testing.assert_close(ratio, torch.full_like(ratio, 2.0))


def test_copies_of_the_last_step_average_their_gradients() -> None:
    """[draft] (LV): more copies, less spread of the gradient over starting noises."""

    def spread(copies: int) -> float:
        found = []
        for i in range(60):
            using, objective = policy(NOISY), DRaFT(copies=copies)
            rows = objective.ready(samples(), using, KEY / "spread" / i)
            loss, _ = objective.loss(rows, using)
            assert isinstance(using.current, NetworkDenoiser)
            found.append(torch.autograd.grad(loss, list(using.current.network.parameters()))[0])
        return float(torch.stack(found).var(0).mean())

    assert spread(4) < 0.9 * spread(1)


def test_recomputed_activations_give_the_same_gradient() -> None:
    using = policy()
    torch.testing.assert_close(
        slope(DRaFT(last=3, recompute=True), using), slope(DRaFT(last=3), using)
    )


def test_the_anchor_adds_the_distance_on_the_graded_steps() -> None:
    using = policy()
    free, held = DRaFT(last=2), DRaFT(last=2, anchor=0.7)
    (loss, _), (other, metrics) = (o.loss(prepared(o, using), using) for o in (free, held))
    assert metrics["drift/velocity"] > 0.01
    torch.testing.assert_close(other - loss, 0.7 * metrics["drift/velocity"])


def test_an_anchor_at_any_step_holds_where_the_chain_has_been() -> None:
    """The distance at one visited state, by a chain of our own; the step is the round's draw."""
    using = policy(PLAIN)
    objective = DRaFT(anchor=0.7, anchor_step="any")
    rows = replace(prepared(objective, using), held_at=torch.full((6,), 3))
    place, x = 3, rows.x
    for i in range(place):
        t, s = (x.new_full((6,), time) for time in PLAIN.times[i : i + 2])
        x = PLAIN.kernels[i](using.current(x, t, rows.cond), s).mean.detach()
    t = x.new_full((6,), PLAIN.times[place])
    ours, first = (r(x, t, rows.cond).as_("velocity") for r in (using.current, using.reference))
    asked: list[tuple[Tensor, Tensor]] = []

    def watched(x_t: Tensor, t: Tensor, cond: Cond) -> Prediction:
        asked.append((x_t, t))
        return using.reference(x_t, t, cond)

    loss, metrics = objective.loss(rows, replace(using, reference=watched))
    ((state, time),) = asked
    torch.testing.assert_close(state, x)
    torch.testing.assert_close(time, t)
    torch.testing.assert_close(metrics["drift/velocity"], (ours - first).square().mean().detach())
    free, _ = DRaFT().loss(rows, using)
    torch.testing.assert_close(loss - free, 0.7 * metrics["drift/velocity"])


def test_the_step_of_such_an_anchor_changes_from_round_to_round_up_to_the_graded_one() -> None:
    objective, using = DRaFT(last=2, anchor_step="any", anchor=1.0), policy()
    keys = [KEY / "round" / i for i in range(60)]
    found = {int(objective.ready(samples(), using, k).held_at[0]) for k in keys}
    assert found == set(range(STEPS - 1))


def test_a_guided_anchor_asks_the_first_model_twice_and_is_named_so() -> None:
    objective = DRaFT(anchor=0.7, anchor_guidance=2.0)
    using = replace(policy(), null=lambda cond: 1 - cond)  # pyright: ignore
    rows = prepared(objective, using)
    _, metrics = objective.loss(rows, using)
    plain = replace(using, reference=Guided(using.reference, 2.0, using.null))  # pyright: ignore
    _, same = DRaFT(anchor=0.7).loss(rows, plain)
    torch.testing.assert_close(metrics["drift/guided"], same["drift/velocity"])
    assert "drift/velocity" not in metrics
    with pytest.raises(ValueError, match="`anchor_guidance` needs a model with a condition"):
        objective.loss(rows, policy())


@pytest.mark.parametrize(
    ("objective", "behaviour", "trained"),
    [
        (DRaFT(), 7, 1),
        (DRaFT(anchor=1.0), 8, 1),
        (DRaFT(anchor=1.0, anchor_step="any"), 8, 2),
        (DRaFT(last=3), 5, 3),
        (DRaFT(copies=2), 7, 2),
        (ReFL(earliest=0.5, latest=0.5), 4, 1),
    ],
)
def test_what_a_round_costs(objective: StartObjective, behaviour: int, trained: int) -> None:
    """ReFL stops at its step: the rest of the chain is never run."""
    run, _ = trainer(objective, ODE)
    run.step()
    before = replace(run.evaluations)
    run.step()
    assert run.evaluations.behaviour - before.behaviour == 64 * behaviour
    assert run.evaluations.training_forward - before.training_forward == 64 * trained
    assert run.evaluations.training_backward - before.training_backward == 64 * trained


@pytest.mark.parametrize(
    "objective", [long(ReFL(weight=1.0)), DRaFT(), long(AlignProp(weight=1.0, target=0))]
)
def test_a_toy_with_a_known_optimum_is_learned(objective: StartObjective) -> None:
    assert learned(objective).max() < 0.5 * START


def test_the_micro_batch_changes_nothing() -> None:
    means = []
    for micro in (5, 64):
        run, model = trainer(DRaFT(), ODE, Geometry(4, 4, micro_batch=micro))
        for _ in range(3):
            run.step()
        means.append(distances(model))
    torch.testing.assert_close(means[0], means[1], rtol=1e-5, atol=1e-6)


def test_a_reward_without_a_gradient_is_refused_in_a_sentence() -> None:
    rewards = {"steps": lambda media, prompts: (media[:, 0] > 0).float()}
    run, _ = trainer(DRaFT(), ODE, rewards=rewards)
    with pytest.raises(RewardError, match="reward 'steps' has no gradient, and this objective"):
        run.step()


def test_settings_say_what_they_expect() -> None:
    with pytest.raises(ValueError, match="copies with last=1 only"):
        DRaFT(last=2, copies=2)
    with pytest.raises(ValueError, match="expected 0 <= earliest <= latest < 1"):
        ReFL(earliest=0.9, latest=0.5)
    with pytest.raises(ValueError, match="`anchor` is a weight"):
        AlignProp(anchor=-1)
