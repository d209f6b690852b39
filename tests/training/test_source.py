"""Where rounds come from: prompts, noise, rewards and captions, all by address."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoreward.core.advantage import Advantages
from scoreward.core.chain import Sampler, uniform
from scoreward.core.denoiser import Cond
from scoreward.core.kernel import DDIM, ddim, generalised
from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.prediction import Prediction
from scoreward.core.process import RectifiedFlow
from scoreward.models.base import Model
from scoreward.objectives.base import Needs, Objective
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.tasks.toy import CORNERS, closeness, toy_model
from scoreward.training.clock import Clock
from scoreward.training.geometry import Geometry
from scoreward.training.sources.online import Collected, Source, Work
from scoreward.training.sources.stored import Offline
from scoreward.training.team import Team
from tests.training.toys import online

KEY = Key(("scoreward", 0))


class Recorder:
    """A denoiser that keeps what it was shown at the first time of the grid."""

    def __init__(self, model: Model) -> None:
        self.model, self.starts = model, []

    def __call__(self, x_t: Tensor, t: Tensor, cond: Cond) -> Prediction:
        if float(t[0]) == 1.0:
            self.starts.append(x_t)
        return self.model.denoiser(x_t, t, cond)


class Paths(VGRPO):
    """An objective that wants the transitions of its rollouts."""

    @property
    def needs(self) -> Needs:
        return Needs(data="paths")


def work_of(
    model: Model, sampler: Sampler, objective: Objective = VGRPO()
) -> tuple[Work, Recorder]:
    reading = Recorder(model)
    policy = DiffusionPolicy(reading, reading, reading, model.process, sampler)
    return Work(model, policy, Team(), Clock(), objective.needs), reading


def collect(source: Source, round: int = 0, model: Model | None = None) -> Collected:
    work, _ = work_of(model or toy_model(), source.sampler(round))
    return source.collect(round, KEY, work)


def test_every_prompt_is_used_once_before_any_comes_again() -> None:
    """Seven prompts, three a round: after 7 rounds each has been used three times."""
    words = [f"prompt {i}" for i in range(7)]
    source = online(Geometry(prompts=3, group=2), prompts=words)
    used = [p for round in range(7) for p in source.chosen(round, KEY)]
    for epoch in range(3):
        assert sorted(used[7 * epoch : 7 * epoch + 7]) == words
    assert used[:7] != used[7:14]


@pytest.mark.parametrize(("batch", "expected"), [(5, [4, 4, 4]), (9, [8, 4]), (64, [12])])
def test_pictures_are_made_and_scored_in_pieces_of_whole_groups(
    batch: int, expected: list[int]
) -> None:
    """A reward may compare the samples of a prompt, so a group is never divided."""
    sizes: list[int] = []

    def decode(x0: Tensor) -> Tensor:
        sizes.append(len(x0))
        return model.decode(x0)

    model, size = toy_model(), {"prompts": 3, "group": 4}
    pieces = collect(
        online(Geometry(**size, rollout_batch=batch)), 0, replace(model, decode=decode)
    )
    whole = collect(online(Geometry(**size)), 0, model)
    assert sizes == expected
    assert torch.equal(pieces.samples.reward, whole.samples.reward)


def test_prompts_depend_on_seed_and_round_only() -> None:
    source = online(Geometry(prompts=3, group=2))
    assert source.chosen(5, KEY) == source.chosen(5, KEY)
    rounds = [tuple(source.chosen(r, KEY)) for r in range(8)]
    other = [tuple(source.chosen(r, Key(("scoreward", 1)))) for r in range(8)]
    assert rounds != other


def test_more_prompts_a_round_than_there_are_come_again_within_it() -> None:
    chosen = online(Geometry(prompts=10, group=2)).chosen(0, KEY)
    assert sorted(chosen[:4]) == sorted(chosen[4:8]) == sorted(CORNERS)


def test_samples_of_a_prompt_are_neighbours_and_numbered_within_the_round() -> None:
    samples = collect(online(Geometry(prompts=2, group=3))).samples
    assert samples.group.tolist() == [0, 0, 0, 1, 1, 1]
    assert samples.sample.tolist() == [0, 1, 2, 3, 4, 5]


def test_no_two_samples_of_a_run_share_their_noise() -> None:
    source = online(Geometry(prompts=2, group=3))
    x0 = torch.cat([collect(source, round).samples.x0 for round in range(3)])
    assert len({tuple(row) for row in x0.tolist()}) == 18


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("batch", [1, 5, 64])
def test_the_rollout_batch_changes_nothing(batch: int, eta: float) -> None:
    sampler = uniform(DDIM(generalised(eta)), 4)
    whole = online(Geometry(3, 4, rollout_batch=12), rollout=sampler)
    pieces = replace(whole, geometry=Geometry(3, 4, rollout_batch=batch))
    (work, seen), (work_pieces, seen_pieces) = (work_of(toy_model(), sampler) for _ in range(2))
    one, other = whole.collect(2, KEY, work), pieces.collect(2, KEY, work_pieces)
    assert torch.equal(torch.cat(seen.starts), torch.cat(seen_pieces.starts))
    torch.testing.assert_close(one.samples.x0, other.samples.x0, rtol=0, atol=1e-6)
    torch.testing.assert_close(one.samples.advantage, other.samples.advantage, rtol=1e-5, atol=1e-5)


def test_kept_paths_carry_the_samples_of_their_round() -> None:
    """Two of four steps are stochastic (the last is not, for σ falls to 0), in pieces of 5."""
    sampler = uniform(DDIM(generalised(1.0)), 4)
    source = online(Geometry(3, 4, rollout_batch=5), rollout=sampler)
    work, _ = work_of(toy_model(), sampler, Paths())
    collected = source.collect(0, KEY, work)
    paths = collected.rollout.paths
    assert paths is not None
    assert sorted(set(paths.step.tolist())) == [0, 1, 2][-len(set(paths.step.tolist())) :]
    for step in set(paths.step.tolist()):
        assert sorted(paths.sample[paths.step == step].tolist()) == list(range(12))
    last = paths[paths.step == max(paths.step.tolist())]
    order = last.sample.argsort()
    again = toy_model().denoiser(last.next[order], last.s[order], collected.samples.cond).x0
    torch.testing.assert_close(again, collected.samples.x0, rtol=0, atol=1e-5)


def test_rewards_are_weighed_and_reported_one_by_one() -> None:
    """R = 1 · first + 3 · second, where `second` weighs 3 and `first` is left at 1."""
    source = online(
        Geometry(2, 3),
        rewards={"first": closeness, "second": lambda media, prompts: media[:, 0]},
        weights={"second": 3.0},
        advantages=Advantages(scale="none"),
    )
    collected = collect(source)
    x0 = collected.samples.x0.double()
    words = [p for p in source.chosen(0, KEY) for _ in range(3)]
    first, second = closeness(x0, words), x0[:, 0]
    total = first + 3 * second
    means = total.reshape(2, 3).mean(1).repeat_interleave(3)
    torch.testing.assert_close(collected.samples.advantage, total - means, rtol=0, atol=1e-5)
    metrics = collected.metrics
    assert metrics["reward/mean"] == pytest.approx(float(total.mean()), rel=1e-5)
    assert metrics["reward/std"] == pytest.approx(float(total.std(correction=0)), rel=1e-5)
    assert metrics["reward/first"] == pytest.approx(float(first.mean()), rel=1e-5)
    assert metrics["reward/second"] == pytest.approx(float(second.mean()), rel=1e-5)
    assert metrics["sample/rms"] == pytest.approx(float(x0.square().mean().sqrt()), rel=1e-6)


def test_a_group_without_spread_is_counted() -> None:
    """Two groups of three: the first prompt's rewards are all alike."""
    words = online(Geometry(2, 3)).chosen(0, KEY)
    flat = online(
        Geometry(2, 3),
        rewards={"r": lambda m, prompts: torch.tensor([p != words[0] for p in prompts]) * m[:, 0]},
    )
    assert collect(flat).metrics["groups/zero_variance"] == 0.5


def test_one_reward_is_not_reported_twice() -> None:
    assert "reward/closeness" not in collect(online()).metrics


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prompts": []}, "online training needs at least one prompt and one reward"),
        ({"rewards": {}}, "online training needs at least one prompt and one reward"),
        ({"geometry": Geometry(8, 1)}, "a group of 1 has no spread of rewards to learn from"),
        ({"weights": {"closness": 2.0}}, r"weights given for unknown rewards \['closness'\]; have"),
    ],
)
def test_an_online_source_that_cannot_teach_is_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"^{sentence}"):
        online(**changes)


class Named(torch.nn.Module):
    """A network that is never asked; its model encodes a prompt as its number plus one."""


def named_model() -> Model:
    return Model(
        network=Named(),
        process=RectifiedFlow(),
        kind="velocity",
        shape=(1,),
        encode=lambda prompts: torch.tensor([[float(p) + 1] for p in prompts]),
        decode=lambda x0: x0,
        null=lambda cond: cond * 0 if isinstance(cond, Tensor) else cond,
    )


def offline(count: int, per_round: int, dropout: float) -> Offline:
    data = torch.arange(count, dtype=torch.float32)[:, None]
    return Offline(data, [str(i) for i in range(count)], Geometry(per_round, 1), dropout)


def test_offline_data_comes_once_per_epoch_with_its_own_caption() -> None:
    source, seen = offline(7, 3, 0.0), []
    for round in range(14):
        samples = collect(source, round, named_model()).samples
        assert isinstance(samples.cond, Tensor)
        torch.testing.assert_close(samples.cond, samples.x0 + 1)
        seen += samples.x0[:, 0].int().tolist()
    for epoch in range(6):
        assert sorted(seen[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert seen[:7] != seen[7:14]


def test_the_share_of_dropped_captions_is_its_probability() -> None:
    """4000 draws at 0.2: the standard deviation is 25.3, so ±130 fails once in three million."""
    source = offline(500, 500, 0.2)
    dropped = 0
    for round in range(8):
        cond = collect(source, round, named_model()).samples.cond
        assert isinstance(cond, Tensor)
        dropped += int((cond == 0).sum())
    assert abs(dropped - 800) < 130


def test_dropped_captions_are_other_ones_each_round() -> None:
    conds = [collect(offline(50, 50, 0.5), r, named_model()).samples.cond for r in range(2)]
    zero = [set((c == 0).nonzero()[:, 0].tolist()) for c in conds if isinstance(c, Tensor)]
    assert len(zero) == 2
    assert zero[0] != zero[1]


def test_offline_data_and_captions_must_match() -> None:
    with pytest.raises(ValueError, match=r"^got 3 samples and 2 prompts; expected one each$"):
        Offline(torch.zeros(3, 1), ["a", "b"])
    with pytest.raises(ValueError, match=r"^got 0 samples and 0 prompts"):
        Offline(torch.zeros(0, 1), [])


def starts_of(**changes: object) -> torch.Tensor:
    source = replace(online(Geometry(2, 4)), **changes)  # pyright: ignore[reportArgumentType]
    work, seen = work_of(toy_model(), uniform(ddim(), 2))
    source.collect(1, KEY, work)
    return torch.cat(seen.starts)


def test_samples_of_a_prompt_may_start_from_one_noise() -> None:
    start = starts_of(own_start=0.0)
    assert torch.equal(start[:4], start[:1].expand(4, 2))
    assert not torch.equal(start[0], start[4])


def test_a_shared_start_may_keep_some_noise_of_its_own() -> None:
    """√(1 − m) of the group's and √m of the sample's own: variance 1, correlation 1 − m."""
    shared, own = starts_of(own_start=0.0), starts_of(own_start=1.0)
    torch.testing.assert_close(starts_of(own_start=0.36), 0.8 * shared + 0.6 * own)


def test_the_rewards_of_a_prompt_are_remembered_between_rounds() -> None:
    source = online(Geometry(4, 4), advantages=Advantages(scale="prompt", history=8, least=4))
    work, _ = work_of(toy_model(), uniform(ddim(), 2))
    first = source.collect(0, KEY, work).samples
    history = work.policy.memory["rewards/history"]
    assert (~history.isnan()).sum(1).tolist() == [4, 4, 4, 4]
    assert sorted(history[~history.isnan()].tolist()) == pytest.approx(
        sorted(first.reward.tolist())
    )
    source.collect(1, KEY, work)
    assert not history.isnan().any()
