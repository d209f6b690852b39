"""A training run whose reward is served: a server is killed, and the run does not notice."""

import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from subprocess import Popen

import pytest
import torch
from torch import Tensor

from scoreward.models.base import Model
from scoreward.rewards.base import Reward, RewardError, scored
from scoreward.rewards.encodings import quantised, restored
from scoreward.rewards.remote.client import Remote
from scoreward.rewards.remote.fleet import Asking
from scoreward.tasks.toy import CORNERS, closeness
from scoreward.training.folder import RunFolder
from scoreward.training.geometry import Geometry
from scoreward.training.run import Budget, Run
from scoreward.training.sources.online import Online
from tests.support.recipes import toy_vgrpo
from tests.systems.launch import ROOT, environment, free_port
from tests.training.toys import finish

SLOW = 0.02  # seconds that the served reward takes for a picture
SERVER = f"""
import sys, time
from scoreward.rewards.remote.server import create_app, listen, serve
from tests.systems.test_reward_servers import near

def slow(media, prompts):
    time.sleep({SLOW} * len(prompts))
    return near(media, prompts)

bound = listen(port=int(sys.argv[1]))
serve(create_app({{"near": slow}}), bound)
"""


def picture(x0: Tensor) -> Tensor:
    """A point of the toy as a picture of one pixel: [-2, 2] is [0, 1]."""
    shade = (x0 / 4 + 0.5).clamp(0, 1)
    return torch.cat([shade, torch.zeros_like(shade[:, :1])], 1)[:, :, None, None]


def near(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """The toy's reward, read from the picture."""
    return closeness((media[:, :2, 0, 0] - 0.5) * 4, prompts)


def pictured(model: Model) -> Model:
    return replace(model, decode=picture)


@contextmanager
def served(count: int) -> Iterator[dict[str, Popen]]:
    """Processes that serve "near", by address; all are stopped at the end."""
    ports = [free_port() for _ in range(count)]
    running = {
        f"http://127.0.0.1:{port}": Popen(
            [sys.executable, "-c", SERVER, str(port)], env=environment(), cwd=ROOT
        )
        for port in ports
    }
    try:
        for url, process in running.items():
            _wait(url, process)
        yield running
    finally:
        for process in running.values():
            process.kill()
            process.wait(30)


def _wait(url: str, process: Popen) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the server did not start")


def toy(folder: Path, reward: Reward, rounds: int = 6) -> Run:
    run = toy_vgrpo(geometry=Geometry(prompts=4, group=8), budget=Budget(rounds=rounds))
    assert isinstance(run.source, Online)
    return replace(
        run,
        folder=folder,
        model=pictured(run.model),
        source=replace(run.source, rewards={"near": reward}),
        evaluation=None,
    )


@pytest.mark.slow
def test_a_server_killed_in_the_middle_of_a_round_loses_no_round(tmp_path: Path) -> None:
    """The rewards of every round are those of a run in the process on the same 8-bit pictures."""
    with served(2) as servers:
        remote = Remote("near", tuple(servers), Asking(deadline=60.0, rest=0.05))
        victim, calls = next(iter(servers.values())), []

        def killing(media: Tensor, prompts: Sequence[str]) -> Tensor:
            calls.append(len(prompts))
            if len(calls) == 3:
                os.kill(victim.pid, signal.SIGSTOP)  # it has taken its pieces, and is still
                killer = threading.Timer(0.1, victim.kill)
                killer.start()
            return remote(media, prompts)

        finish(toy(tmp_path / "remote", killing))
        assert victim.wait(30) == -signal.SIGKILL
    finish(toy(tmp_path / "here", lambda media, words: near(restored(quantised(media)), words)))
    there, here = (
        [r["reward/mean"] for r in RunFolder(tmp_path / name).records("round")]
        for name in ("remote", "here")
    )
    assert len(calls) == 1 + 6  # a run is tried before its first round
    assert there == here
    assert len(there) == 6


@pytest.mark.slow
@pytest.mark.long
def test_a_batch_survives_the_death_of_a_server_that_works_on_it() -> None:
    prompts = list(CORNERS) * 8
    media = torch.rand(len(prompts), 3, 1, 1)
    expected = near(restored(quantised(media)), prompts)
    with served(2) as servers:
        remote = Remote("near", tuple(servers), Asking(deadline=60.0, rest=0.05))
        assert torch.equal(remote(media, prompts), expected)
        first, second = servers.values()
        killer = threading.Timer(SLOW * 4, first.kill)
        killer.start()
        assert torch.equal(scored("near", remote, media, prompts), expected)
        assert first.wait(30) == -signal.SIGKILL
        second.kill()
        second.wait(30)
        alone = replace(remote, how=Asking(deadline=1.0, rest=0.05))
        with pytest.raises(RewardError) as caught:
            scored("near", alone, media, prompts)
    said = str(caught.value)
    assert all(f"{url} could not be connected to" in said for url in servers)
