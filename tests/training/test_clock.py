"""Where the time goes, and how a run is asked to stop."""

import os
import signal
import threading

import pytest
import torch

from scoreward.tasks.toy import toy_model
from scoreward.training.clock import Clock, Watched
from scoreward.training.interrupt import Stop, stop_after_round


def test_sections_add_up_and_the_rest_is_other() -> None:
    clock = Clock()
    clock.seconds.update({"forward": 3.0, "backward": 4.0, "reward": 1.0})
    profile = clock.profile(10.0)
    assert profile["seconds"] == {"forward": 3.0, "backward": 4.0, "reward": 1.0, "other": 2.0}
    assert profile["share_in_network"] == 0.7


def test_nothing_spent_is_no_share() -> None:
    assert Clock().profile(0.0) == {"seconds": {"other": 0.0}, "share_in_network": 0.0}


def test_a_section_is_timed_even_when_it_fails() -> None:
    clock = Clock()
    with pytest.raises(KeyError), clock.section("reward"):
        raise KeyError
    assert clock.seconds["reward"] > 0


def test_a_watched_denoiser_counts_samples_and_changes_nothing() -> None:
    model, clock = toy_model(), Clock()
    watched = Watched(model.denoiser, clock)
    x, t = torch.randn(5, 2), torch.full((5,), 0.3)
    cond = torch.tensor([0, 1, 2, 3, 0])
    first = watched(x, t, cond)
    watched(x[:2], t[:2], cond[:2])
    assert torch.equal(first.x0, model.denoiser(x, t, cond).x0)
    assert watched.count == 7
    assert clock.seconds["forward"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_insists(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_after_round() as stop:
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_handlers_are_put_back_when_the_loop_fails() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="broken"), stop_after_round():
        raise ValueError("broken")
    assert signal.getsignal(signal.SIGINT) == before


def test_a_run_in_another_thread_leaves_signals_alone() -> None:
    seen: list[Stop] = []

    def body() -> None:
        with stop_after_round() as stop:
            seen.append(stop)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert [stop.asked for stop in seen] == [False]
