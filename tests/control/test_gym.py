"""The wrapper for other libraries' agents: Gymnasium's own checks, and the same numbers as ours."""

import warnings
from dataclasses import replace
from math import exp

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from scoreward.studies.control import problems
from scoreward.studies.control.gym import GymEnvironment
from scoreward.studies.control.pairs import PowerPairs
from scoreward.studies.control.sde import Environment
from tests.control.clock import Clock


@pytest.mark.parametrize("env", [problems.l1(), problems.matrix(), PowerPairs()])
def test_gymnasium_accepts_the_environment(env: Environment) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*Box observation space m.*")  # states are free
        check_env(GymEnvironment(env, 0.01, low=-1, high=1), skip_render_check=True)


def play(env: GymEnvironment, action: float) -> tuple[float, list[np.ndarray], bool, bool]:
    """Return of an episode, discounted per step; observations; how it ended."""
    seen, _ = env.reset(seed=4)
    total, factor, observations = 0.0, 1.0, [seen]
    while True:
        seen, reward, terminated, truncated, _ = env.step(np.array([action], np.float32))
        total, factor = total + factor * reward, factor * env.discount_per_step
        observations.append(seen)
        if terminated or truncated:
            return total, observations, terminated, truncated


def test_the_discounted_return_is_the_realised_objective() -> None:
    """The clock: Σ e^(−t/2) t dt + e^(−1/2) x(1), the numbers of `returns`."""
    env = GymEnvironment(Clock(discount=0.5, horizon=1.0), 0.1)
    total, observations, terminated, truncated = play(env, 1.0)
    running = sum(0.1 * k * exp(-0.05 * k) * 0.1 for k in range(10))
    assert total == pytest.approx(running + exp(-0.5) * 0.45)
    assert len(observations) == 11
    assert (terminated, truncated) == (True, False)
    assert observations[3] == pytest.approx([0.03, 0.3])  # state and time


def test_without_a_horizon_an_episode_is_cut_and_shows_the_state_alone() -> None:
    env = GymEnvironment(problems.l1(), 0.1, episode=2.0)
    _, observations, terminated, truncated = play(env, 0.0)
    assert len(observations) == 21
    assert observations[0].shape == (1,)
    assert (terminated, truncated) == (False, True)


def test_noise_moves_the_state_and_a_seed_repeats_it() -> None:
    """L1 with action 0.5 and x0: the increment has standard deviation 0.5 √dt."""
    env = GymEnvironment(replace(problems.l1(), start_std=torch.zeros(1).double()), 0.01)
    first = [play(env, 0.5)[1] for _ in range(2)]
    np.testing.assert_array_equal(first[0], first[1])
    path = np.array(first[0])[:, 0]
    shocks = np.diff(path) + path[:-1] * 0.01
    assert shocks.std() == pytest.approx(0.05, rel=0.1)
    env.reset()
    other = env.step(np.array([0.5], np.float32))[0]
    assert other != first[0][1]


def test_the_discount_per_step_and_bad_settings() -> None:
    assert GymEnvironment(problems.l2(), 0.25).discount_per_step == pytest.approx(exp(-0.2))
    with pytest.raises(ValueError, match=r"an episode of 0\.05 holds no step of 0\.1"):
        GymEnvironment(problems.l1(), 0.1, episode=0.05)
