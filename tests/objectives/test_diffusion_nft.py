"""DiffusionNFT: its gradient written out, its modes, its schedules in a run, several rewards."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoreward.core.advantage import Advantages
from scoreward.objectives.samples.answers import Answers
from scoreward.objectives.samples.diffusion_nft import DiffusionNFT, Mode
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.tasks.toy import closeness
from scoreward.training.geometry import Geometry
from tests.core.laws import F64, real
from tests.objectives.learning import ODE, START, distances, trainer
from tests.objectives.pairing import FLOW, derivative, policy, prepared, published_answers

NFT = DiffusionNFT(anchor=0.0, pairs=4, share="group", times="stratified")


@pytest.mark.parametrize("beta", [0.1, 1.0, 2.5])
def test_the_gradient_away_from_the_old_policy(beta: float) -> None:
    """[diffusion-nft] (loss): x± − x0 = −t (v± − v*), and the size of that error is a constant.

    dL/dv = A_max (r 2e⁺/w⁺ − (1 − r) 2e⁻/w⁻) (−t)/(d n): β of the chain rule cancels 1/β.
    """
    answers = published_answers()
    new = answers.new.clone().requires_grad_()
    loss, _ = DiffusionNFT(beta=beta).matching(replace(answers, new=new))
    (got,) = torch.autograd.grad(loss, new)
    r = (answers.rows.advantage / 10 + 0.5)[:, None, None]
    e = [
        -0.6 * (answers.old + side * beta * (answers.new - answers.old) - answers.target)
        for side in (1, -1)
    ]
    better, worse = (2 * error / error.abs().mean(2, keepdim=True) for error in e)
    torch.testing.assert_close(got, 5.0 * -0.6 * (r * better - (1 - r) * worse) / (2 * 4))


def test_the_sides_of_the_loss_are_policies_beyond_and_before_the_old_one() -> None:
    """[diffusion-nft] (loss): with β = 1 the better policy is the current one itself."""
    answers = published_answers()
    good = replace(answers.rows, advantage=torch.full((4,), 5.0, dtype=F64))  # r = 1
    target = answers.read(answers.target, "x0")
    error = answers.read(answers.new, "x0") - target
    expected = 5.0 * (error.square().mean(2) / error.abs().mean(2)).mean()
    torch.testing.assert_close(
        DiffusionNFT().matching(Answers(good, FLOW, answers.new, answers.old))[0], expected
    )


MODES: list[tuple[Mode, Tensor]] = [
    ("all", real(-2.0, 0.0, 4.0)),
    ("positive_only", real(0.0, 0.0, 4.0)),
    ("negative_only", real(-2.0, 0.0, 0.0)),
    ("one_only", real(0.0, 0.0, 1.0)),
    ("binary", real(-1.0, 0.0, 1.0)),
]


@pytest.mark.parametrize(("mode", "advantage"), MODES, ids=[m for m, _ in MODES])
def test_at_the_old_policy_a_mode_is_vgrpo_with_other_advantages(
    mode: Mode, advantage: Tensor
) -> None:
    using, repeated = policy(), real(-2.0, 0.0, 4.0).repeat(4)
    nft, vgrpo = replace(NFT, mode=mode), VGRPO(soft_clip=None, clip=None)
    ours = replace(prepared(nft, using), advantage=repeated)
    theirs = replace(prepared(vgrpo, using), advantage=advantage.repeat(4))
    torch.testing.assert_close(
        derivative(nft.loss(ours, using)[0], using), derivative(vgrpo.loss(theirs, using)[0], using)
    )


def test_advantages_beyond_their_bound_count_as_the_bound() -> None:
    """[diffusion-nft] (optimality) is a probability."""
    r = NFT.optimality(real(-9.0, -5.0, 0.0, 2.5, 5.0, 9.0))
    torch.testing.assert_close(r, real(0.0, 0.0, 0.5, 0.75, 1.0, 1.0))
    torch.testing.assert_close(replace(NFT, bound=2.0).optimality(real(1.0)), real(0.75))


def test_every_time_of_the_grid_but_one_is_used_by_default() -> None:
    """[diffusion-nft] (timesteps): seven of eight steps, each once; noise of one's own."""
    rows = prepared(DiffusionNFT(), policy())
    assert rows.pairs.t.shape == (12, 7)
    assert all(len(times.unique()) == 7 for times in rows.pairs.t)
    assert rows.pairs.t.min() > 0
    assert len(rows.pairs.eps.flatten(0, 1).unique(dim=0)) == 12 * 7


def test_the_old_policy_of_a_run_follows_its_schedule() -> None:
    """[diffusion-nft] (decay): old ← d old + (1 − d) current, d = 0.001 k after k updates."""
    run, model = trainer(DiffusionNFT(), ODE, Geometry(4, 4))
    (mean,) = model.network.parameters()
    old, copied = mean.detach().clone(), mean.detach().clone()
    for k in range(5):
        decay = 0.001 * k
        old = decay * old + (1 - decay) * mean.detach()
        copied = mean.detach().clone()
        run.step()
    got = run.weights.snapshot("old")["mean"]
    torch.testing.assert_close(got, old, rtol=1e-6, atol=1e-7)
    assert not torch.allclose(got, copied, rtol=1e-6, atol=1e-7)


def second(media: Tensor, prompts: object) -> Tensor:
    """A larger reward for what is far to the east."""
    return 100 * media[:, 0]


def test_several_rewards_are_combined_before_they_become_probabilities() -> None:
    """Added raw, the larger reward decides alone; normalised one by one, both have a say."""
    ends = {}
    for combine in ("reward_sum", "advantage_sum"):
        run, model = trainer(
            NFT, ODE, rewards={"closeness": closeness, "east": second},
            advantages=Advantages(combine=combine),  # pyright: ignore[reportArgumentType]
        )  # fmt: skip
        for _ in range(12):
            run.step()
        ends[combine] = distances(model)
    west = [1, 3]  # corners that the second reward pulls away from
    assert (ends["reward_sum"][west] > START).all()
    assert (ends["advantage_sum"][west] < ends["reward_sum"][west] - 0.1).all()


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"bound": -1.0}])
def test_settings_that_would_divide_by_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="`beta` and `bound` must be positive, got"):
        DiffusionNFT(**wrong)  # pyright: ignore[reportArgumentType]
