"""A remote reward gives the server's numbers or an error, whatever happens to the servers."""

import gc
import socket
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from scoreward.rewards.base import RewardError, scored
from scoreward.rewards.encodings import ENCODINGS, Encoding, quantised, restored
from scoreward.rewards.remote.client import Remote, remote_rewards, sizes
from scoreward.rewards.remote.fleet import Asking, RemoteError
from scoreward.rewards.remote.wire import Secret
from scoreward.training.about import described
from tests.rewards.serving import QUICK, Script, brightness, metric, number, running, scripted

FAST = Asking(deadline=10.0, timeout=5.0, rest=0.01)
OK = (200, {"rewards": {"number": [1.0, 2.0]}})
TWO = ["1", "2"]


def pictures(count: int, side: int = 8) -> Tensor:
    return torch.rand(count, 3, side, side)


def ask(script: Script, how: Asking = FAST) -> Tensor:
    """The reward "number" of two pictures by a scripted server."""
    with scripted(script) as url:
        return scored("number", Remote("number", (url,), replace(how)), pictures(2), TWO)


def failure(script: Script, how: Asking = FAST) -> str:
    with pytest.raises(RewardError) as caught:
        ask(script, how)
    return str(caught.value)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running({"number": number, "brightness": brightness, "none": nothing}) as address:
        yield address


def nothing(media: Tensor, prompts: Sequence[str]) -> Tensor:
    return torch.zeros(len(prompts))


# The same numbers


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_it_agrees_with_the_reward_in_the_process(url: str, encoding: Encoding) -> None:
    """Exactly, on the media as they arrive: 8 bits, half precision, or as they are."""
    media = pictures(9)
    arrived = {"float16": media.half().float(), "float32": media}
    expected = brightness(arrived.get(encoding, restored(quantised(media))), [])
    remote = Remote("brightness", (url,), replace(FAST, encoding=encoding))
    torch.testing.assert_close(remote(media, ["a"] * 9), expected, rtol=1e-6, atol=0)
    assert (expected - brightness(media, [])).abs().max() <= 0.5 / 255


def test_answers_stay_in_order_over_many_pieces_and_servers(url: str) -> None:
    with running({"number": number}) as other:
        before = metric(url, "scoreward_pictures_total")
        remote = Remote("number", (url, other), replace(FAST, piece=3))
        prompts = [str(i) for i in range(50)]
        assert remote(pictures(50), prompts).tolist() == list(range(50))
        here = metric(url, "scoreward_pictures_total") - before
        there = metric(other, "scoreward_pictures_total")
    assert here + there == 50
    assert min(here, there) >= 10


@given(st.integers(1, 500), st.integers(1, 9), st.integers(1, 64))
def test_pieces_are_the_batch_and_none_is_too_large(total: int, servers: int, most: int) -> None:
    parts = sizes(total, servers, most)
    assert sum(parts) == total
    assert min(parts) >= 1
    assert max(parts) <= most
    assert len(parts) >= min(-(-total // 2), 2 * servers)  # work for every server


def test_a_video_arrives_as_it_is(url: str) -> None:
    media = torch.rand(5, 3, 4, 6, 6)
    remote = Remote("brightness", (url,), replace(FAST, encoding="float32"))
    torch.testing.assert_close(remote(media, ["a"] * 5), brightness(media, []))


def test_no_samples_need_no_server() -> None:
    assert Remote("any", ("http://127.0.0.1:9",))(torch.zeros(0, 3, 4, 4), []).shape == (0,)


def test_the_answer_has_no_gradient_and_is_float32_whatever_the_default(url: str) -> None:
    torch.set_default_dtype(torch.float64)
    media = torch.rand(2, 3, 4, 4, requires_grad=True)
    answer = Remote("brightness", (url,), FAST)(media, ["a", "b"])
    assert answer.dtype == torch.float32
    assert not answer.requires_grad


# Several rewards, one request


def test_rewards_of_the_same_servers_share_their_requests(url: str) -> None:
    before = metric(url, "scoreward_requests_total")
    rewards = remote_rewards(["brightness", "number", "none"], [url], FAST)
    media = pictures(2)
    answers = {name: reward(media, TWO) for name, reward in rewards.items()}
    assert answers["number"].tolist() == [1.0, 2.0]
    assert answers["none"].tolist() == [0.0, 0.0]
    expected = brightness(restored(quantised(media)), [])
    torch.testing.assert_close(answers["brightness"], expected)
    assert metric(url, "scoreward_requests_total") == before + len(sizes(2, 1, FAST.piece))


def test_shared_answers_are_never_those_of_other_media_or_prompts(url: str) -> None:
    rewards = remote_rewards(["brightness", "number"], [url], FAST)
    media = torch.zeros(2, 3, 4, 4)
    assert rewards["number"](media, TWO).tolist() == [1.0, 2.0]
    assert rewards["number"](media, ["3", "4"]).tolist() == [3.0, 4.0]
    media.fill_(1.0)  # in place: the same tensor, other pictures
    assert rewards["brightness"](media, ["3", "4"]).tolist() == [1.0, 1.0]
    with torch.inference_mode():  # where writes are not counted
        media = torch.zeros(2, 3, 4, 4)
        assert rewards["number"](media, TWO).tolist() == [1.0, 2.0]
        media.fill_(1.0)
        assert rewards["brightness"](media, TWO).tolist() == [1.0, 1.0]


def test_shared_rewards_forget_their_media_when_all_are_answered(url: str) -> None:
    rewards = remote_rewards(["brightness", "number"], [url], FAST)
    media = pictures(2)
    alive = weakref.ref(media)
    for reward in rewards.values():
        reward(media, TWO)
    del media
    gc.collect()
    assert alive() is None


# What goes wrong, and is mended


@pytest.mark.parametrize("trouble", [None, (503, {"error": "busy"}), (502, "<html>"), (500, {})])
def test_it_tries_again_and_succeeds(trouble: Any) -> None:
    script = Script([trouble, trouble, OK])
    assert ask(script).tolist() == [1.0, 2.0]
    assert len(script.seen) >= 3
    assert script.seen[0]["rewards"] == ["number"]


def test_a_server_that_breaks_off_loses_nothing_and_is_asked_less(url: str) -> None:
    """Its pieces go to the other; it is tried again after rests, one request at a time."""
    script = Script([None])
    with scripted(script) as dying:
        remote = Remote("number", (dying, url), replace(FAST, rest=0.2, piece=2))
        for _ in range(3):
            prompts = [str(i) for i in range(40)]
            assert remote(pictures(40), prompts).tolist() == list(range(40))
    assert 1 <= len(script.seen) <= 30  # of 60 pieces; each twice on a connection kept


def test_a_server_that_comes_back_is_used_again(url: str) -> None:
    with running({"number": number}) as other:
        port = int(other.rpartition(":")[2])
    remote = Remote("number", (other, url), replace(FAST, rest=0.01))
    prompts = [str(i) for i in range(30)]
    assert remote(pictures(30), prompts).tolist() == list(range(30))
    with running({"number": number}, port=port):
        time.sleep(0.1)  # its rest is over
        for _ in range(3):
            assert remote(pictures(30), prompts).tolist() == list(range(30))
        assert metric(other, "scoreward_pictures_total") > 0


def test_a_hanging_server_is_left_for_another_after_the_timeout(url: str) -> None:
    with scripted(Script([OK], sleep=20.0)) as hanging:
        remote = Remote("number", (hanging, url), replace(FAST, timeout=0.3))
        begun = time.monotonic()
        assert remote(pictures(8), list("12345678")).tolist() == list(range(1, 9))
        assert time.monotonic() - begun < 15


def test_a_connection_closed_while_idle_is_no_failure() -> None:
    script = Script([OK], hold=True)
    with scripted(script) as url:
        remote = Remote(
            "number", (url,), replace(FAST, rest=60.0, longest_rest=60.0, deadline=100.0)
        )
        begun = time.monotonic()
        for _ in range(4):
            assert remote(pictures(2), TWO).tolist() == [1.0, 2.0]
    assert time.monotonic() - begun < 25  # no rest
    assert len(script.seen) == 4


def test_connections_are_kept() -> None:
    opened = []
    with running({"number": number}) as url:
        remote = Remote("number", (url,), FAST)
        server = remote._fleet.servers[0]
        connect = server._connected
        server._connected = lambda: opened.append(1) or connect()  # pyright: ignore
        for _ in range(5):
            remote(pictures(2), TWO)
    assert 1 <= len(opened) <= 2


# What goes wrong, and is told


def test_a_reward_that_fails_there_is_an_error_here_after_some_tries() -> None:
    script = Script([(500, {"error": "reward 'number' raised KeyError: 'x'"})])
    said = failure(script)
    assert "reward 'number' raised RemoteError: http://127.0.0.1:" in said
    assert "answered 500: reward 'number' raised KeyError: 'x' (try 3)" in said
    assert len(script.seen) == 3


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"rewards": {"number": [1.0]}}, "answered 1 numbers for 2 samples of reward 'number'"),
        ({"rewards": {"number": [1.0, 2.0, 3.0]}}, "answered 3 numbers for 2 samples of reward"),
        ({"rewards": {"number": 1.0}}, "answered no list for 2 samples of reward 'number'"),
        ({"rewards": {"other": [1.0, 2.0]}}, "answered no list for 2 samples of reward 'number'"),
        ({"rewards": {"number": [1.0, float("nan")]}}, "answered something that is not a finite"),
        ({"rewards": {"number": [1.0, float("inf")]}}, "answered something that is not a finite"),
        ({"rewards": {"number": [1.0, None]}}, "answered something that is not a finite number"),
        ({"rewards": {"number": [1.0, True]}}, "answered something that is not a finite number"),
        ("<html>", "answered without rewards; is it a reward server?"),
        ([1, 2], "answered without rewards; is it a reward server?"),
    ],
)
def test_an_answer_that_is_not_the_rewards_is_an_error(answer: Any, sentence: str) -> None:
    assert sentence in failure(Script([(200, answer)]))


@pytest.mark.parametrize("status", [400, 401, 404, 413])
def test_what_no_retry_will_mend_is_told_at_once(status: int) -> None:
    script = Script([(status, {"error": "because."})])
    assert f"answered {status}: because." in failure(script)
    assert len(script.seen) == 1


def test_an_unknown_reward_is_refused_with_the_servers_sentence(url: str) -> None:
    with pytest.raises(RemoteError, match="no reward 'numbr' here; did you mean 'number'"):
        Remote("numbr", (url,), FAST)(pictures(2), TWO)


def test_a_token_opens_the_server_and_its_absence_is_told() -> None:
    with running({"number": number}, replace(QUICK, token=Secret("abra"))) as url:
        with_it = Remote("number", (url,), replace(FAST, token=Secret("abra")))
        assert with_it(pictures(2), TWO).tolist() == [1.0, 2.0]
        with pytest.raises(RemoteError, match="answered 401: this server needs its token"):
            Remote("number", (url,), FAST)(pictures(2), TWO)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_at_the_deadline_it_tells_what_happened_with_which_server() -> None:
    gone = f"http://127.0.0.1:{closed_port()}"
    begun = time.monotonic()
    with scripted(Script([OK], sleep=20.0)) as slow:
        remote = Remote("number", (gone, slow), replace(FAST, deadline=0.6, timeout=0.2))
        with pytest.raises(RewardError) as caught:
            scored("number", remote, pictures(2), TWO)
        took = time.monotonic() - begun
    said = str(caught.value)
    assert "raised RemoteError: no answer within 0.6 s: " in said
    assert f"{gone} could not be connected to ([Errno 111] Connection refused)" in said
    assert f"{slow} did not answer within 0." in said
    assert 0.5 < took < 15


def test_rests_grow_and_are_bounded() -> None:
    """In half a second with rests 0.05, 0.1, 0.2, 0.2 ... times 0.5 to 1: between 3 and 9 tries."""
    script = Script([(503, {"error": "busy"})])
    how = replace(FAST, deadline=0.6, rest=0.05, longest_rest=0.2)
    assert "answered 503: busy" in failure(script, how)
    assert 3 <= len(script.seen) <= 9


def test_the_first_failure_ends_the_batch() -> None:
    """Without waiting for the pieces that are still in work: one piece for each server."""
    go, over = threading.Event(), threading.Event()

    def slow(media: Tensor, prompts: Sequence[str]) -> Tensor:
        if "bad" in prompts:
            raise ValueError("bad prompt")
        go.wait(20)
        over.set()
        return media.new_zeros(len(prompts))

    how = replace(FAST, tries=1, timeout=60.0, deadline=60.0)
    with running({"slow": slow}, QUICK) as slow_one, running({"slow": slow}, QUICK) as other:
        remote = Remote("slow", (slow_one, other), how)
        try:
            with pytest.raises(RemoteError, match="ValueError: bad prompt"):
                remote(pictures(4), ["a", "a", "bad", "a"])
            assert not over.is_set()
        finally:
            go.set()


@pytest.mark.parametrize(
    ("media", "prompts", "sentence"),
    [
        (torch.zeros(2, 4, 4), TWO, "takes floats of shape [batch, 3, height, width] or [batch"),
        (torch.zeros(2, 1, 4, 4), TWO, "got torch.float32 of shape (2, 1, 4, 4)"),
        (torch.zeros(2, 3, 0, 4), TWO, "got torch.float32 of shape (2, 3, 0, 4)"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), TWO, "got torch.uint8 of shape"),
        (torch.zeros(3, 3, 4, 4), TWO, "shape (3, 3, 4, 4) came with 2 prompts"),
        (torch.full((2, 3, 4, 4), float("nan")), TWO, "hold values that are not finite"),
    ],
)
def test_wrong_media_are_refused_before_anything_is_sent(
    media: Tensor, prompts: list[str], sentence: str
) -> None:
    script = Script([OK])
    with scripted(script) as url, pytest.raises(ValueError) as caught:  # noqa: PT011
        Remote("number", (url,), FAST)(media, prompts)
    assert sentence in str(caught.value)
    assert not script.seen


@pytest.mark.parametrize("bad", ["127.0.0.1:8000", "ftp://x", "http://", "http://me:pw@x", ""])
def test_an_address_is_checked_at_once(bad: str) -> None:
    with pytest.raises(ValueError, match=r"^a reward server is written like http://127.0.0.1:8000"):
        Remote("number", (bad,))
    with pytest.raises(ValueError, match=r"^a remote reward needs at least one server"):
        remote_rewards(["number"], [])
    with pytest.raises(ValueError, match=r"^expected the names of one or more different rewards"):
        remote_rewards(["number", "number"], ["http://127.0.0.1:8000"])


@pytest.mark.parametrize("wrong", [{"timeout": 0.0}, {"deadline": 1e9}, {"tries": 0}, {"piece": 0}])
def test_settings_are_checked_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Asking(**wrong)


def test_a_token_is_not_written_among_the_settings_of_a_run() -> None:
    how = Asking(token=Secret("abra"))
    alone = Remote("a", ("http://127.0.0.1:1",), how)
    rewards = [alone, *remote_rewards(["b"], ["http://127.0.0.1:1"], how).values()]
    assert "127.0.0.1" in str(described(rewards))
    assert "abra" not in str(described(rewards)) + repr(rewards)
