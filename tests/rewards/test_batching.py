"""Requests are scored together, and none gets another's answer, error or delay."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoreward.rewards.batching import Batcher, Batching, Job
from scoreward.rewards.encodings import encoded
from scoreward.rewards.remote.wire import Refusal
from tests.rewards.serving import QUICK, number, running, score


def test_many_clients_at_once_get_their_own_answers_from_shared_batches() -> None:
    sizes: list[int] = []

    def counted(media: Tensor, prompts: Sequence[str]) -> Tensor:
        sizes.append(len(prompts))
        time.sleep(0.01)
        return number(media, prompts) + media.flatten(1).mean(1)

    def client(url: str, who: int) -> bool:
        prompts = [str(100 * who + i) for i in range(1 + who % 3)]
        media = torch.full((len(prompts), 3, 4, 4), (who % 2) * 0.5)
        files = encoded(media, "float32")
        answers = [score(url, files, prompts, rewards=["counted"]) for _ in range(3)]
        mine = [float(p) + (who % 2) * 0.5 for p in prompts]
        return answers == [(200, {"rewards": {"counted": mine}})] * 3

    how = replace(QUICK, batching=Batching(batch=8, wait=0.005))
    with running({"counted": counted}, how) as url, ThreadPoolExecutor(16) as pool:
        assert all(pool.map(lambda who: client(url, who), range(16)))
    assert sum(sizes) == 3 * sum(1 + who % 3 for who in range(16))
    assert max(sizes) <= 8
    assert len(sizes) < 48  # fewer calls than requests


def started(reward: object, **how: float) -> Batcher:
    batcher = Batcher("mine", reward, Batching(**how), lambda n, s: None)  # pyright: ignore
    batcher.start()
    return batcher


def job(*prompts: str, side: int = 4, seconds: float = 30.0) -> Job:
    return Job(torch.zeros(len(prompts), 3, side, side), prompts, time.monotonic() + seconds)


def test_one_bad_sample_harms_its_own_request_only() -> None:
    batcher = started(number, batch=8, wait=0.2)
    try:
        good, bad, other = (batcher.submit(job(*p)) for p in (["1", "2"], ["x"], ["3"]))
        assert good.result(10) == [1.0, 2.0]
        assert other.result(10) == [3.0]
        with pytest.raises(RuntimeError, match="reward 'mine' raised ValueError: could not conv"):
            bad.result(10)
    finally:
        batcher.close()


def test_a_batch_holds_media_of_one_shape_and_at_most_its_size() -> None:
    seen: list[tuple[int, int]] = []

    def reward(media: Tensor, prompts: Sequence[str]) -> Tensor:
        seen.append((len(prompts), media.shape[2]))
        return number(media, prompts)

    batcher = started(reward, batch=4, wait=0.2)
    try:
        asked = [job("1", "2"), job("3", side=8), job("4", "5"), job("6"), job(*"123456", side=2)]
        futures = [batcher.submit(j) for j in asked]
        assert [f.result(10) for f in futures] == [[float(p) for p in j.prompts] for j in asked]
    finally:
        batcher.close()
    assert seen == [(4, 4), (1, 8), (1, 4), (4, 2), (2, 2)]


def test_a_full_queue_and_a_late_request_are_refused_without_asking_the_reward() -> None:
    go, asked = threading.Event(), []

    def slow(media: Tensor, prompts: Sequence[str]) -> Tensor:
        asked.extend(prompts)
        assert go.wait(10)
        return number(media, prompts)

    batcher = started(slow, batch=1, wait=0.0, waiting=2)
    try:
        first, ahead = batcher.submit(job("1")), None
        while "1" not in asked:
            time.sleep(0.001)
        ahead = batcher.submit(job("2"))  # made ready while the first is scored
        while batcher.waiting():
            time.sleep(0.001)
        late, gone = batcher.submit(job("3", seconds=0.0)), batcher.submit(job("4"))
        with pytest.raises(Refusal, match="2 samples wait for 'mine'; come later") as full:
            batcher.submit(job("5"))
        assert full.value.status == 503
        assert gone.cancel()
        go.set()
        assert (first.result(10), ahead.result(10)) == ([1.0], [2.0])
        with pytest.raises(Refusal, match="the time of the request passed") as passed:
            late.result(10)
        assert passed.value.status == 504
    finally:
        go.set()
        batcher.close()
    assert asked == ["1", "2"]


def test_closing_refuses_what_waits() -> None:
    batcher = Batcher("mine", number, Batching(), lambda n, s: None)
    waiting = batcher.submit(job("1"))
    batcher.close()
    for refused in (lambda: waiting.result(10), lambda: batcher.submit(job("2"))):
        with pytest.raises(Refusal, match=r"^the server is stopping$"):
            refused()
