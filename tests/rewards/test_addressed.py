"""A reward server named by a URL, and the fields of prompts that travel with them."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoreward.data.prompts import Prompt
from scoreward.rewards.base import RewardError, scored
from scoreward.rewards.catalogue import find
from scoreward.rewards.encodings import encoded
from scoreward.rewards.pictures import Frames
from scoreward.rewards.remote.client import Remote, remote_rewards
from scoreward.rewards.remote.wire import FRAMED, Secret, packed
from scoreward.tasks.base import Goal, differentiable
from tests.rewards.serving import QUICK, Script, brightness, running, scripted, talk

MEDIA, TWO = torch.rand(2, 3, 8, 8), ["a", "b"]


def counted(media: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping]) -> Tensor:
    return torch.tensor([float(fields.get("count", -1)) for fields in metadata])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    rewards = {"brightness": brightness, "counted": counted, "mine/own.py:bright": brightness}
    with running(rewards) as address:
        yield address


def test_a_url_is_the_address_of_a_server_and_the_name_of_a_reward(url: str) -> None:
    expected = brightness(MEDIA, [])
    for name in ("brightness", "mine%2Fown.py:bright"):
        value = scored("far", find(f"{url}/{name}"), MEDIA, TWO)
        torch.testing.assert_close(value, expected, atol=1 / 255, rtol=0)
    reward = find(f"{url}/brightness")
    assert isinstance(reward, Remote)
    assert (reward.name, reward.servers) == ("brightness", (url,))


def test_on_the_command_line_it_is_called_as_the_server_calls_it(url: str) -> None:
    goal = Goal("animals", reward=(f"{url}/brightness", f"far={url}/counted", "contrast"))
    assert list(goal.rewards()) == ["brightness", "far", "contrast"]
    assert isinstance(goal.rewards(video=True)["brightness"], Frames)
    assert not differentiable(f"{url}/brightness")
    assert not differentiable(f"far={url}/brightness")
    assert differentiable("unknown.py:mine")


@pytest.mark.parametrize(
    "wrong",
    ["http://127.0.0.1:8000", "http://127.0.0.1:8000/", "https://", "http:///x", "http://h/x?a=b"],
)
def test_a_url_without_a_reward_is_refused_when_it_is_read(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"names no reward of a server.*:8000/pickscore"):
        find(wrong)


def test_a_dead_server_is_refused_at_once_and_says_how_to_start_one() -> None:
    with running({"brightness": brightness}) as gone:
        pass
    begun = time.monotonic()
    with pytest.raises(RewardError, match=r"could not be connected.*scoreward serve-reward bright"):
        scored("far", find(f"{gone}/brightness"), MEDIA, TWO)
    assert time.monotonic() - begun < 3  # a server that one knows is waited for


def test_a_name_that_the_server_does_not_have_is_refused_with_those_it_has(url: str) -> None:
    with pytest.raises(RewardError, match=r"has no reward 'bright'; it has brightness, counted, m"):
        scored("far", find(f"{url}/bright"), MEDIA, TWO)
    none = pytest.raises(RewardError, match="it has none: is it a reward server")
    with scripted(Script([])) as other, none:
        scored("far", find(f"{other}/brightness"), MEDIA, TWO)


def test_once_met_a_server_is_waited_for(url: str) -> None:
    """Only the first call is strict."""
    reward = find(f"{url}/brightness")
    assert isinstance(reward, Remote)
    scored("far", reward, MEDIA, TWO)
    asked: list[str] = []
    reward._fleet.meet = asked.append  # pyright: ignore
    scored("far", reward, MEDIA, TWO)
    assert not asked


def test_the_token_of_the_environment_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with running({"brightness": brightness}, replace(QUICK, token=Secret("word"))) as url:
        with pytest.raises(RewardError, match="answered 401"):
            scored("far", find(f"{url}/brightness"), MEDIA, TWO)
        monkeypatch.setenv("SCOREWARD_TOKEN", "word")
        scored("far", find(f"{url}/brightness"), MEDIA, TWO)


@pytest.mark.parametrize("how", ["alone", "joint"])
def test_the_fields_of_a_prompt_reach_a_reward_behind_a_server(url: str, how: str) -> None:
    prompts = [Prompt("a", {"count": 3, "at": complex(1)}), Prompt("b", {"count": 5})]
    reward = remote_rewards(("counted", "brightness"), (url,))["counted"]
    reward = Remote("counted", (url,)) if how == "alone" else reward
    assert scored("far", reward, MEDIA, prompts).tolist() == [3.0, 5.0]
    assert scored("far", reward, MEDIA, [prompts[1], "b"]).tolist() == [5.0, -1.0]
    assert scored("far", reward, MEDIA, TWO).tolist() == [-1.0, -1.0]


@pytest.mark.parametrize("more", ["text", [1, 2], [{}], {"a": 1}])
def test_fields_that_are_no_objects_are_refused(url: str, more: object) -> None:
    head = {"rewards": ["counted"], "prompts": TWO, "frames": None, "metadata": more}
    body = packed(head, encoded(MEDIA, "uint8"))
    status, answer = talk(url, "POST", "/score", body, {"Content-Type": FRAMED})
    assert status == 400
    assert "`metadata`" in json.loads(answer)["error"]
