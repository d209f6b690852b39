"""The value function: exact on clean data, as printed when fitted, and the same after a resume."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.core.policy import Rollout
from scoreward.core.rows import Looked
from scoreward.methods.sampling import Noisy
from scoreward.objectives.paths.critic import PathCritic
from scoreward.objectives.paths.denoised_value import DenoisedValue, Skip, weights_of
from scoreward.objectives.paths.score_as_action import ScoreAsAction
from scoreward.objectives.paths.visited import States, described, gathered, visited
from scoreward.rewards.base import RewardError
from scoreward.training.geometry import Geometry
from scoreward.training.run import Keeping, Run
from scoreward.training.sources.online import Online
from tests.core.laws import F64, real
from tests.objectives import p1, rollouts
from tests.objectives.learning import SDE, trainer
from tests.objectives.p1 import Law, clock, reward
from tests.training.toys import live_after, records, toy

KEY = Key(("value",))
LONG = (pytest.mark.slow, pytest.mark.long)
SKIPS: tuple[Skip, ...] = ("cosine", "one_minus_cosine", "linear")


def alone(value: Tensor) -> Tensor:
    return value


def states(t: Tensor, inputs: Tensor, first: Tensor, reward: Tensor) -> States:
    """States of separate samples, each at the end of its path."""
    index = torch.arange(len(t))
    return States(t, inputs, first, reward, torch.ones_like(t), index, index * 0, index * 0 - 1)


# The form


@pytest.mark.parametrize("skip", SKIPS)
def test_on_clean_data_only_the_reward_counts(skip: Skip) -> None:
    """[score-as-action] (value network): c_skip = 1 and c_out = 0 at t = 0, exactly."""
    c_skip, c_out = weights_of(skip, real(0.0, 1.0))
    assert c_skip[0] == 1
    assert c_out[0] == 0
    assert c_skip[1].item() == pytest.approx(0, abs=1e-15)
    assert c_out[1].item() == pytest.approx(1)


def test_the_weights_in_between_are_those_of_their_names() -> None:
    half = real(0.5)
    root = 0.5**0.5
    assert [float(w) for w in weights_of("cosine", half)] == pytest.approx([root, root])
    assert [float(w) for w in weights_of("one_minus_cosine", half)] == pytest.approx(
        [root, 1 - root]
    )
    assert [float(w) for w in weights_of("linear", half)] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("skip", SKIPS)
def test_whatever_the_network_says_the_value_of_clean_data_is_its_reward(skip: Skip) -> None:
    critic = PathCritic(DenoisedValue(skip=skip, hidden=8), {}, alone)
    rewards = real(0.3, -1.7, 12.0)
    critic.begin(rewards, 2, KEY)
    wild = KEY.normal(len(critic.memory["value/weights"]), dtype=F64)
    given = states(real(0, 0, 0), KEY.normal(3, 2, dtype=F64), rewards, rewards)
    assert torch.equal(critic(given, wild), rewards)
    noisy = replace(given, t=real(0.5, 0.5, 0.5))
    assert (critic(noisy, wild) - rewards).abs().min() > 1e-3


def test_before_any_fit_it_goes_from_the_reward_to_the_mean_reward() -> None:
    """F starts at 0: V = c_skip r + (1 − c_skip) m."""
    critic = PathCritic(DenoisedValue(hidden=8), {}, alone)
    critic.begin(real(1.0, 3.0), 1, KEY)
    given = states(real(0.5, 1.0), torch.zeros(2, 1, dtype=F64), real(4.0, 4.0), real(0, 0))
    torch.testing.assert_close(critic(given), real(2 + 2 * 0.5**0.5, 2.0))
    assert critic.memory["value/unit"].tolist() == [2.0, 1.0]


def test_what_the_network_is_told_is_the_reward_of_the_first_branch() -> None:
    for told in (True, False):
        critic = PathCritic(DenoisedValue(hidden=8, told=told, skip="linear"), {}, alone)
        critic.begin(real(-1.0, 1.0), 1, KEY)
        wild = KEY.normal(len(critic.memory["value/weights"]), dtype=F64)
        late = states(real(1, 1), torch.zeros(2, 1, dtype=F64), real(0.0, 1.0), real(0, 0))
        said = critic(late, wild)  # c_skip is 0 here, so r has no other way in
        assert (said[0] != said[1]) == told


# Learning


def uncontrolled(count: int) -> tuple[States, Tensor]:
    """Exact paths of the first score at η = 1, by the law of a step for Gaussian data.

    Their times hold the four printed ones; `first` is the reward of the exact x0hat.
    """
    times = real(3, 1.5, 0.7, 0.2, 0.09, 0.05, 0.05 - 1e-6, 0.03, 0) / 3
    a, v = clock(times)
    half = (KEY / "start").normal(count // 2, 1, dtype=F64) / a[0]
    y = torch.cat([half, -half])
    columns: list[States] = []
    for k, t in enumerate(times):
        here, x = t.expand(count), a[k] * y
        said = reward(Law(1.0).mean(here, x[:, 0])[:, None])
        after = torch.arange(count) + (k + 1) * count if k < len(times) - 1 else here.long() * 0 - 1
        length = times[k] - (times[k + 1] if k < len(times) - 1 else 0.0)
        index = torch.arange(count)
        columns.append(
            States(here, x, said, said, length.expand(count) * 8, index, index * 0 + k, after)
        )
        if k < len(times) - 1:
            ratio = v[k + 1] / v[k]
            z = (KEY / "step" / k).normal(count, 1, dtype=F64)
            y = p1.MU + ratio * (y - p1.MU) + (v[k + 1] * (1 - ratio)).sqrt() * z
    earned = reward(y)
    path = [replace(c, reward=earned) for c in columns]
    joined = States(*(torch.cat([vars(c)[n] for c in path]) for n in vars(path[0])))
    return joined, earned.repeat(len(times))


def fitted(settings: DenoisedValue, count: int, passes: int) -> PathCritic:
    """A value function of uncontrolled paths; the rate falls in three stages."""
    given, returns = uncontrolled(count)
    critic = PathCritic(settings, {}, alone)
    for number, rate in enumerate((3e-2, 1e-2, 2e-3)):
        critic = replace(critic, settings=replace(settings, rate=rate))
        critic.begin(returns[:count], 1, KEY)
        critic.fit(given, returns * 0, returns, passes, KEY / number)
    return critic


Rule = Literal["monte_carlo", "martingale", "orthogonality"]


@pytest.mark.parametrize(
    ("learning", "passes", "last"),
    [
        ("monte_carlo", 8, 0.05),
        pytest.param("monte_carlo", 40, 0.02, marks=LONG),
        pytest.param("martingale", 8, 0.25, marks=LONG),
        pytest.param("orthogonality", 12, 0.25, marks=LONG),
    ],
)
def test_the_printed_values_are_learned_from_paths(
    learning: Rule, passes: int, last: float
) -> None:
    """[score-as-action] (value learning), [score-as-action] (orthogonality): within 2 %.

    The plug-in r(x0hat) is 20 % off; V differs from it by a function of time, −(κ/2) Sig. At the
    last point F weighs 0.026, its square in the loss 0.0007, so it takes longer to be found.
    """
    settings = DenoisedValue(hidden=16, learning=learning, decay=0.0, batches=20)
    critic = fitted(settings, 20_000, passes)
    t, x = real(3, 1.5, 0.7, 0.05) / 3, real(0, -0.5, 0.9, 1.2)
    plug_in = reward(Law(1.0).mean(t, x)[:, None])
    value = critic(states(t, x[:, None], plug_in, plug_in))
    printed = real(-1.25973896, -1.45297261, -0.91669896, -0.19771822)
    assert ((plug_in - printed) / printed).abs().min() > 0.15
    off = ((value - printed) / printed).abs()
    assert off[:3].max() < 0.02
    assert off[3] < last


def test_the_three_rules_differ_as_they_should() -> None:
    """The martingale loss weighs by time; orthogonality follows ∇V times the next increment."""
    given, returns = uncontrolled(50)
    at = torch.arange(100, 200)
    slopes = {}
    for rule in ("monte_carlo", "martingale", "orthogonality"):
        critic = PathCritic(DenoisedValue(hidden=4, learning=rule), {}, alone)  # pyright: ignore
        critic.begin(returns[:50], 1, KEY)
        weights = (
            0.3 * KEY.normal(len(critic.memory["value/weights"]), dtype=F64)
        ).requires_grad_()
        cost = returns * 0 + 0.1
        loss = critic._loss(given, at, cost, returns, weights)
        slopes[rule] = torch.autograd.grad(loss, weights)[0]
        value = critic(given[at], weights)
        with torch.no_grad():
            ahead = critic(given[given.after[at]], weights) - critic(given[at], weights) - 0.1
        by_hand = {
            "monte_carlo": (value - returns[at]).square().sum(),
            "martingale": (given.length[at] * (value - returns[at]).square()).sum(),
            "orthogonality": -(value * ahead).sum(),
        }[rule]
        torch.testing.assert_close(slopes[rule], torch.autograd.grad(by_hand, weights)[0])
    assert not torch.allclose(slopes["monte_carlo"], slopes["martingale"])


def test_costs_are_gathered_from_the_end_of_a_path() -> None:
    given, _ = uncontrolled(2)
    one = torch.ones_like(given.t)
    total = gathered(given, one, one)
    torch.testing.assert_close(total, real(9, 9, 8, 8, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1))


def test_one_step_of_the_fit_is_adamw() -> None:
    """Two updates of the critic against torch's AdamW with the same gradients."""
    given, returns = uncontrolled(20)
    settings = DenoisedValue(hidden=4, rate=0.02, decay=0.1, batches=1)
    critic = PathCritic(settings, {}, alone)
    critic.begin(returns[:20], 1, KEY)
    weights = critic.memory["value/weights"].clone().requires_grad_()
    theirs = torch.optim.AdamW([weights], lr=0.02, weight_decay=0.1)
    unit = critic.memory["value/unit"]
    for _ in range(2):
        theirs.zero_grad()
        error = ((critic(given, weights) - returns) / unit[1]).square().mean()
        error.backward()
        theirs.step()
    critic.fit(given, returns * 0, returns, 2, KEY)
    torch.testing.assert_close(critic.memory["value/weights"], weights.detach())


def test_two_processes_make_the_fit_of_one() -> None:
    """Every process sees half of the samples; gradients are added up, in lockstep."""
    from threading import Barrier, Thread

    given, returns = uncontrolled(40)
    settings = DenoisedValue(hidden=4, rate=0.01, batches=3)
    whole = PathCritic(settings, {}, alone)
    whole.begin(returns[:40], 1, KEY)
    whole.fit(given, returns * 0, returns, 3, KEY)
    barrier, held = Barrier(2), [torch.zeros(0)] * 2
    halves = [PathCritic(settings, {}, lambda value: value) for _ in range(2)]

    def work(rank: int) -> None:
        def total(value: Tensor) -> Tensor:
            held[rank] = value
            barrier.wait()
            summed = held[0] + held[1]
            barrier.wait()
            return summed

        mine = (given.sample % 2 == rank).nonzero()[:, 0]
        critic = halves[rank] = replace(halves[rank], total=total)
        critic.begin(returns[:40][given.sample[:40] % 2 == rank], 1, KEY)
        critic.fit(given[mine], returns[mine] * 0, returns[mine], 3, KEY)

    threads = [Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(halves[0].memory["value/weights"], halves[1].memory["value/weights"])
    for name in ("value/weights", "value/unit", "value/square"):
        torch.testing.assert_close(halves[0].memory[name], whole.memory[name])


# What it sees of a rollout


@pytest.mark.parametrize("branches", ["mixed", "denoised", "noisy"])
def test_branches_see_the_noisy_or_the_denoised_state(branches: str) -> None:
    made, using = rollouts.drawn(), rollouts.policy()
    using = replace(using, rollout=Rollout(score=lambda x0, sample: 10 * x0[:, 1] + sample))
    rows = rollouts.prepared(ScoreAsAction(), made, replace(using, memory={}))
    seen = visited(rows, made.samples, using, branches)  # pyright: ignore
    path, count = rows.path, len(rows)
    x0 = using.old(path.x, path.t, rows.cond).x0
    looked = path.x if branches == "noisy" else x0
    torch.testing.assert_close(seen.first[:count], 10 * looked[:, 1] + path.sample)
    alpha, sigma = 1 - path.t, path.t
    scaled = path.x / (alpha**2 + sigma**2).sqrt()[:, None]
    read = x0 if branches == "denoised" else scaled
    torch.testing.assert_close(seen.inputs[:count, :3], read)
    assert torch.equal(seen.inputs[:count, 3], rows.cond.to(F64))  # pyright: ignore
    assert torch.equal(seen.first[count:], made.samples.reward)
    assert torch.equal(seen.t[count:], torch.zeros(12, dtype=F64))


def test_a_path_that_ends_early_has_the_value_of_its_last_state() -> None:
    """Only the first steps were stored, so the state after them is asked about once more."""
    made, using = rollouts.drawn(), rollouts.policy()
    early = replace(made, paths=made.paths[made.paths.step < 3])
    using = replace(using, rollout=Rollout(score=lambda x0, sample: x0[:, 0]), memory={})
    rows = rollouts.prepared(ScoreAsAction(), early, using)
    seen = visited(rows, made.samples, using, "mixed")
    last = made.paths[made.paths.step == 3]
    x0 = using.old(last.x, last.t, made.samples.cond).x0
    torch.testing.assert_close(seen.first[len(rows) :], x0[:, 0])
    torch.testing.assert_close(seen.t[len(rows) :], last.t)


def test_conditions_become_numbers() -> None:
    assert described(None) is None
    assert torch.equal(described(torch.tensor([2, 0])), torch.tensor([[2.0], [0.0]]))  # pyright: ignore
    phrases = KEY.normal(2, 3, 4)
    assert torch.equal(described(phrases), phrases.mean(1))  # pyright: ignore
    looked = Looked(phrases, torch.tensor([1, 0, 1]))
    assert torch.equal(described(looked), phrases.mean(1)[[1, 0, 1]])  # pyright: ignore


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="`passes` must be at least 1, got 0"):
        DenoisedValue(passes=0)


# In the trainer


def test_rewards_of_unfinished_samples_are_counted_and_timed() -> None:
    run, _ = trainer(ScoreAsAction(), SDE, Geometry(prompts=4, group=4))
    metrics = run.step().metrics
    assert metrics["value/rewards"] == 8
    assert run.clock.seconds["reward"] > 0
    assert run.memory["value/steps"] == 20 * 4


def test_a_reward_that_fails_on_an_unfinished_sample_is_named() -> None:
    calls = iter(range(100))

    def failing(media: Tensor, prompts: object) -> Tensor:
        if next(calls) > 2:
            raise ConnectionError("the server is gone")
        return media[:, 0]

    run, _ = trainer(ScoreAsAction(), SDE, rewards={"mine": failing})
    with pytest.raises(RewardError, match="reward 'mine' raised ConnectionError"):
        run.step()


def test_a_resumed_run_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    """Weights, moments and unit of V are in the checkpoint."""

    def made(folder: str) -> Run:
        run = toy(tmp_path / folder, rounds=5, geometry=Geometry(4, 4), keeping=Keeping(every=1))
        assert isinstance(run.source, Online)
        source = replace(run.source, rollout=Noisy("ddim", 1.0, steps=4).sampler())
        return replace(run, objective=ScoreAsAction(fraction=0.5), source=source)

    whole, broken = made("whole"), made("broken")
    list(whole.start())
    for moment in broken.start():
        if moment.round == 3:
            break
    list(made("broken").resume())
    assert records(broken.folder) == records(whole.folder)
    assert torch.equal(live_after(broken), live_after(whole))
    assert "value/error" in records(whole.folder, "round")[0]
