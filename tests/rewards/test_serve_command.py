"""`scoreward serve-reward`: what it starts, what it says, and what it refuses."""

import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from scoreward.cli import main
from scoreward.commands import serve as command
from scoreward.rewards.base import Reward
from scoreward.rewards.catalogue import named
from scoreward.rewards.remote.service import Serving
from scoreward.rewards.remote.wire import Secret
from tests.rewards.serving import brightness, number

KNOWN: dict[str, Reward] = {"brightness": brightness, "number": number}


class Started:
    """What the command would have served."""

    rewards: dict[str, Reward]
    how: Serving
    address: tuple[Any, ...]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """A catalogue of two rewards, and a server that returns at once."""
    seen = Started()

    def find(name: str) -> Reward:
        if name not in KNOWN:
            raise ValueError(f"unknown reward {name!r}")
        return KNOWN[name]

    def create_app(rewards: dict[str, Reward], how: Serving) -> str:
        seen.rewards, seen.how = rewards, how
        return "app"

    def serve(app: str, bound: socket.socket) -> None:
        seen.address = bound.getsockname()
        bound.close()

    catalogue = ModuleType("scoreward.rewards.catalogue")
    vars(catalogue).update(find=find, named=named)
    monkeypatch.setitem(sys.modules, "scoreward.rewards.catalogue", catalogue)
    monkeypatch.setattr(command, "create_app", create_app)
    monkeypatch.setattr(command, "serve", serve)
    monkeypatch.delenv("SCOREWARD_TOKEN", raising=False)
    return seen


def test_it_serves_rewards_by_name_on_this_machine_alone(
    started: Started, capsys: pytest.CaptureFixture
) -> None:
    words = ["serve-reward", "number", "brightness", "--port", "0", "--batch", "8", "--wait-ms"]
    assert main([*words, "2", "--max-pixels", "4096", "--max-pictures", "9", "--max-mib", "3"]) == 0
    host, port = started.address
    said = capsys.readouterr().out
    assert said == f"serving number, brightness on http://127.0.0.1:{port}\n"
    assert host == "127.0.0.1"
    assert started.rewards == {"number": number, "brightness": brightness}
    batching, limits = started.how.batching, started.how.limits
    assert (batching.batch, batching.wait, batching.device) == (8, 0.002, "cpu")
    assert (limits.pixels, limits.pictures, limits.bytes) == (4096, 9, 3 << 20)
    assert started.how.token is None


def test_without_options_the_settings_are_those_of_the_library(started: Started) -> None:
    assert main(["serve-reward", "number", "--port", "0"]) == 0
    assert started.how == Serving()


def test_it_warns_when_others_may_reach_it_without_a_token(
    started: Started, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere = ["serve-reward", "number", "--port", "0", "--host", "0.0.0.0"]
    assert main(everywhere) == 0
    assert "warning: 0.0.0.0 may be reached from other machines, and there is no token" in (
        capsys.readouterr().out
    )
    monkeypatch.setenv("SCOREWARD_TOKEN", "abra")
    assert main(everywhere) == 0
    said = capsys.readouterr().out
    assert "warning" not in said
    assert "abra" not in said
    assert isinstance(started.how.token, Secret)
    assert started.how.token.word() == "abra"


def test_the_token_file_comes_before_the_environment(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCOREWARD_TOKEN", "abra")
    (tmp_path / "token").write_text("cadabra\n")
    words = ["serve-reward", "number", "--port", "0", "--token-file", str(tmp_path / "token")]
    assert main(words) == 0
    assert started.how.token is not None
    assert started.how.token.word() == "cadabra"


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "which rewards? usage: scoreward serve-reward NAME... [options]"),
        (["numbr"], "unknown reward 'numbr'"),
        (["number", "--batch", "0"], "`batch` and `waiting` must be at least 1 and `wait` in [0"),
        (["number", "--max-pixels", "0"], "the limit `pixels` must be at least 1, got 0"),
        (["number", "--token-file", "empty"], "the token file empty is empty"),
        (["number", "--port", "99999"], "cannot listen on 127.0.0.1 port 99999: "),
        (["number", "--host", "256.0.0.1"], "cannot listen on 256.0.0.1 port 8000: "),
    ],
)
def test_what_cannot_be_served_is_one_sentence(
    words: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").write_text("\n")
    assert main(["serve-reward", *words]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"scoreward: {sentence}")
    assert len(said.err.strip().splitlines()) == 1
    assert not said.out


def test_stopping_it_is_no_error(
    started: Started, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(app: str, bound: socket.socket) -> None:
        bound.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "serve", interrupted)
    assert main(["serve-reward", "number", "--port", "0"]) == 0
    assert capsys.readouterr().out.endswith("\nstopped\n")
