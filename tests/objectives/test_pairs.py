"""What forward-process methods have in common: on-policy facts, invariances, costs, learning."""

from dataclasses import replace

import pytest
import torch

from scoreward.core.chain import uniform
from scoreward.core.kernel import DPMSolverPP, euler
from scoreward.objectives.samples.answers import Share
from scoreward.objectives.samples.awm import AWM
from scoreward.objectives.samples.crd import CRD
from scoreward.objectives.samples.dgpo import DGPO
from scoreward.objectives.samples.diffusion_nft import DiffusionNFT
from scoreward.objectives.samples.epg import EPG
from scoreward.objectives.samples.fpo import FPO
from scoreward.objectives.samples.pairs import PairObjective
from scoreward.objectives.samples.ram import RAM
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.training.geometry import Geometry
from tests.objectives.learning import ODE, START, distances, trainer
from tests.objectives.pairing import BARE, GROUP, KEY, policy, prepared, samples, slope
from tests.support.matrix import mostly_long

EVERY = pytest.mark.parametrize("name", list(BARE))


@pytest.mark.parametrize("name", ["vgrpo", "awm", "fpo", "epg", "pepg", "par"])
def test_the_ratio_is_one_before_the_first_update(name: str) -> None:
    """[ppo] (7) starts at ρ = 1, and leaves it when the policy moves."""
    for shift, one in ((0.0, True), (0.3, False)):
        using = policy(shift)
        _, metrics = BARE[name].loss(prepared(BARE[name], using), using)
        ratios = torch.stack([metrics[f"ratio/{k}"] for k in ("min", "mean", "max")])
        assert torch.allclose(ratios, torch.ones_like(ratios), rtol=0, atol=1e-12) == one


@EVERY
def test_without_the_old_pass_an_on_policy_gradient_is_the_same(name: str) -> None:
    using = policy()
    alone = replace(using, on_policy=True)
    assert prepared(BARE[name], alone).old is None
    torch.testing.assert_close(slope(BARE[name], alone), slope(BARE[name], using))


@EVERY
def test_a_constant_added_to_the_rewards_of_a_prompt_changes_nothing(name: str) -> None:
    """Off-policy too: every method sees advantages, RAM unless it is told to take rewards."""
    using, objective = policy(0.3), BARE[name]
    offset = 5.0 * (GROUP + 1).double()
    raised = objective.ready(samples(offset=offset), using, KEY / "round")
    assert not torch.allclose(raised.reward, samples().reward)
    loss, _ = objective.loss(raised, using)
    torch.testing.assert_close(loss, objective.loss(prepared(objective, using), using)[0])


@EVERY
def test_how_the_samples_were_drawn_does_not_matter(name: str) -> None:
    """The same samples and grid from other solvers give the same loss; another grid does not."""
    objective, using = BARE[name], policy(0.3)
    loss, _ = objective.loss(prepared(objective, using), using)
    for kernel in (euler(), DPMSolverPP()):
        other = replace(using, sampler=uniform(kernel, 8))
        assert torch.equal(objective.loss(prepared(objective, other), other)[0], loss)
    finer = replace(using, sampler=uniform(euler(), 11))
    assert not torch.equal(objective.loss(prepared(objective, finer), finer)[0], loss)


@pytest.mark.parametrize(
    ("share", "times", "noises"),
    [("none", 12, 12), ("times", 1, 12), ("group_noise", 1, 3), ("group", 3, 3), ("batch", 1, 1)],
)
def test_who_shares_what(share: Share, times: int, noises: int) -> None:
    """Twelve samples of three prompts: how many different sets of times and of noises there are.

    Strata of 3, 3 and 2 times make 18 sets, so two of twelve samples may draw the same one.
    """
    rows = prepared(VGRPO(pairs=3, share=share), policy())
    assert len(rows.pairs.eps.unique(dim=0)) == noises
    sets = len(rows.pairs.t.unique(dim=0))
    assert sets == times if times < 12 else sets > 3


@EVERY
def test_a_shuffled_batch_has_the_same_gradient(name: str) -> None:
    """Pairs belong to a prompt and a sample, and no loss depends on the order of the rows."""
    objective, using = BARE[name], policy(0.3)
    order = (KEY / "order").permutation(12)
    with torch.no_grad():
        shuffled = objective.ready(samples()[order], using, KEY / "round")
    loss, _ = objective.loss(shuffled, using)
    torch.testing.assert_close(loss, objective.loss(prepared(objective, using), using)[0])


# What a round costs: T = 8 steps of rollout, N pairs, one evaluation for each policy asked

STEPS = 8
COSTS: list[tuple[PairObjective, int, int]] = [
    (AWM(), STEPS + 2 * 6, 6),
    (AWM(slow_anchor=0.0), STEPS + 6, 6),
    (FPO(pairs=5), STEPS, 5),
    (EPG(), STEPS + 2 * 7, 7),  # the reference, and an old policy that lags
    (EPG(anchor=0.0, schedule="copy"), STEPS, 7),
    (RAM(), STEPS + 7, 7),
    (DGPO(), STEPS + 2 * 4, 4),  # the reference and the slow average
    (DGPO(clip=None), STEPS + 4, 4),
    (DGPO(clip=None, anchor=0.0, reference="slow"), STEPS + 4, 4),
    (CRD(), STEPS + 3 * 4, 4),  # the guided reference is asked twice, the slow average once
    (CRD(anchor_guidance=1.0), STEPS + 2 * 4, 4),
    (CRD(anchor=0.0), STEPS + 4, 4),
    (CRD(anchor=0.0, policies="copy"), STEPS, 4),
    (VGRPO(clip=None, norm_guard=1.0), STEPS + 4, 4),
    (DiffusionNFT(norm_guard=1.0), STEPS + 2 * 7, 7),  # the anchor's reference serves the guard
]


@pytest.mark.parametrize(("objective", "behaviour", "trained"), COSTS)
def test_evaluations_per_sample_of_an_ordinary_round(
    objective: PairObjective, behaviour: int, trained: int
) -> None:
    run, _ = trainer(objective, ODE, Geometry(4, 4))
    run.step()
    before = replace(run.evaluations)
    run.step()
    assert run.evaluations.behaviour - before.behaviour == 16 * behaviour
    assert run.evaluations.training_forward - before.training_forward == 16 * trained


def test_a_distance_to_the_guided_reference_is_not_called_drift() -> None:
    """It is not 0 at the start, and health checks read "drift/velocity" as distance from there."""
    using = policy(0.0, reference=0.0)
    for objective in (CRD(), CRD(anchor_guidance=1.0)):
        _, metrics = objective.loss(prepared(objective, using), using)
        guided = objective.anchor_guidance != 1
        assert ("drift/guided" in metrics, "drift/velocity" in metrics) == (guided, not guided)
        value = metrics["drift/guided" if guided else "drift/velocity"]
        assert (value > 1e-3) == guided


@pytest.mark.parametrize("name", mostly_long(BARE, ("vgrpo", "fpo")))
def test_a_turned_reward_leads_away(name: str) -> None:
    """The same run with the reward's sign changed ends further from every corner than it began."""
    run, model = trainer(BARE[name], ODE, weights={"closeness": -1.0})
    for _ in range(10):
        run.step()
    assert distances(model).min() > START


@pytest.mark.parametrize("name", ["anchor", "slow_anchor", "norm_guard"])
def test_weights_below_nought_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="are weights and must not be negative"):
        RAM(**{name: -0.1})  # pyright: ignore[reportArgumentType]
