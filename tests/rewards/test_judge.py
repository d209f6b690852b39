"""Judges, asked over a real connection to a small server in a thread."""

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scoreward.rewards.base import RewardError, scored
from scoreward.rewards.catalogue import find
from scoreward.rewards.judge import (
    Checklist,
    Endpoint,
    FinalScore,
    JudgeError,
    final_score,
    yes,
)

SECRET = "sk-not-for-anyone"


def said(text: str) -> tuple[int, Any]:
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}}]}


@dataclass
class Judge:
    """Answers each request by `reply(number of the request, its body)`."""

    reply: Callable[[int, dict], tuple[int, Any]]
    delay: float = 0.0
    models: tuple[str, ...] = ("tiny",)
    bodies: list[dict] = field(default_factory=list)
    headers: list[dict] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    most_at_once: int = 0
    now: int = 0
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def take(self, body: dict, headers: dict) -> tuple[int, Any]:
        with self.lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            self.now += 1
            self.most_at_once = max(self.most_at_once, self.now)
        time.sleep(self.delay)
        try:
            return self.reply(number, body)
        finally:
            with self.lock:
                self.now -= 1


@pytest.fixture
def serve() -> Iterator[Callable[..., Judge]]:
    servers: list[ThreadingHTTPServer] = []

    def start(reply: Callable[[int, dict], tuple[int, Any]], **given: Any) -> Judge:
        judge = Judge(reply, **given)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.answer(*judge.take({"path": self.path, **body}, dict(self.headers)))

            def do_GET(self) -> None:
                self.answer(200, {"data": [{"id": name} for name in judge.models]})

            def answer(self, status: int, content: Any) -> None:
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                if status == 429:
                    self.send_header("Retry-After", "0.3")
                if status == 302:
                    self.send_header("Location", judge.url + "/elsewhere")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        judge.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return judge

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def endpoint(judge: Judge, **given: Any) -> Endpoint:
    return Endpoint(judge.url, **{"model": "tiny", "first_wait": 0.02, "seconds": 10.0, **given})


def test_the_score_is_a_fifth_of_the_final_score(serve: Callable[..., Judge]) -> None:
    """Each picture with its own prompt, in order, whatever order the answers come in."""

    def reply(number: int, body: dict) -> tuple[int, Any]:
        words = body["messages"][0]["content"][1]["text"]
        prompt = words.rpartition("[")[2].rstrip("]")
        time.sleep(0.05 * (3 - int(prompt[-1])))
        return said(f"Fine.\nFinal Score: {prompt[-1]}.5")

    judge = serve(reply)
    media = torch.rand(3, 3, 8, 10)
    value = scored("judge", FinalScore(endpoint(judge)), media, ["cat 1", "{x} 2", "cat 3"])
    torch.testing.assert_close(value, torch.tensor([0.3, 0.5, 0.7]))
    assert {b["model"] for b in judge.bodies} == {"tiny"}
    assert {b["temperature"] for b in judge.bodies} == {0}
    assert {b["path"] for b in judge.bodies} == {"/v1/chat/completions"}
    seen = {}
    for body in judge.bodies:
        picture, text = body["messages"][0]["content"]
        kind, _, data = picture["image_url"]["url"].partition("base64,")
        assert kind == "data:image/png;"
        seen[text["text"][-2]] = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    for i, number in enumerate("123"):
        expected = (media[i].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        assert np.array_equal(seen[number], expected)


def test_a_checklist_is_the_weighted_share_of_yes(serve: Callable[..., Judge]) -> None:
    def reply(number: int, body: dict) -> tuple[int, Any]:
        words = body["messages"][0]["content"][1]["text"]
        assert words.endswith("yes or no.")
        return said("Yes." if "cat" in words else " no, it is not")

    judge = serve(reply)
    questions = ("Is there {prompt}?", "Is it sharp?")
    media = torch.rand(2, 3, 4, 4)
    reward = Checklist(endpoint(judge), questions, weights=(3.0, 1.0))
    assert scored("list", reward, media, ["a cat", "a dog"]).tolist() == [0.75, 0]
    assert len(judge.bodies) == 4
    equal = Checklist(endpoint(judge), questions)
    assert equal.parts(media, ["a cat", "a dog"]).tolist() == [[1, 0], [0, 0]]
    assert equal(media, ["a cat", "a dog"]).tolist() == [0.5, 0]
    with pytest.raises(ValueError, match="2 questions and 1 weights"):
        Checklist(endpoint(judge), questions, weights=(1.0,))
    with pytest.raises(ValueError, match="expected none below 0"):
        Checklist(endpoint(judge), questions, weights=(-1.0, 2.0))


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("Final Score: 4", 4),
        ("**Final Score:** 3.5", 3.5),
        ("final score: **2**", 2),
        ("Final Score: 1\nOn reflection.\nFinal Score: 5/5", 5),
    ],
)
def test_scores_that_can_be_read(answer: str, score: float) -> None:
    assert final_score(answer) == score


@pytest.mark.parametrize(
    "answer",
    [
        *("", "I like it, 4 of 5", "Score: 3", "Final Score: good", "Final Score: 10"),
        *("Final Score: 0", "Final Score: 4/10", "Final Score: -3", "Final Score: 5.5"),
    ],
)
def test_an_answer_without_a_score_is_an_error(answer: str, serve: Callable[..., Judge]) -> None:
    reward = FinalScore(endpoint(serve(lambda number, body: said(answer))))
    with pytest.raises(RewardError, match="JudgeError: the judge's"):
        scored("judge", reward, torch.rand(1, 3, 4, 4), ["a cat"])


def test_only_yes_and_no_are_verdicts() -> None:
    assert [yes(answer) for answer in ("Yes, it does", " **yes**", "NO.")] == [True, True, False]
    for answer in ("", "Yesterday", "Not sure", "maybe yes", "nothing"):
        with pytest.raises(JudgeError, match="neither yes nor no"):
            yes(answer)


def test_a_busy_server_is_asked_again_and_again(serve: Callable[..., Judge]) -> None:
    def reply(number: int, body: dict) -> tuple[int, Any]:
        return said("Final Score: 4") if number == 3 else ((503, 500, 429)[number], {"error": "x"})

    judge = serve(reply)
    value = FinalScore(endpoint(judge))(torch.rand(1, 3, 4, 4), ["a cat"])
    torch.testing.assert_close(value, torch.tensor([0.8]))
    waits = [b - a for a, b in zip(judge.times, judge.times[1:])]
    assert len(waits) == 3
    assert waits[0] >= 0.02
    assert waits[1] >= 0.04  # doubled
    assert waits[2] >= 0.3  # as the server wished


def test_the_deadline_holds(serve: Callable[..., Judge]) -> None:
    judge = serve(lambda number, body: (503, {"error": "loading"}))
    start = time.monotonic()
    with pytest.raises(JudgeError, match=r"did not answer within 0\.5 s: status 503.*loading"):
        FinalScore(endpoint(judge, seconds=0.5))(torch.rand(3, 3, 4, 4), ["a"] * 3)
    assert time.monotonic() - start < 15
    assert len(judge.bodies) > 3


def test_a_slow_answer_counts_against_the_deadline(serve: Callable[..., Judge]) -> None:
    judge = serve(lambda number, body: said("Final Score: 4"), delay=20)
    start = time.monotonic()
    with pytest.raises(JudgeError, match=r"did not answer within 0\.4 s"):
        FinalScore(endpoint(judge, seconds=0.4))(torch.rand(1, 3, 4, 4), ["a"])
    assert time.monotonic() - start < 15


def test_no_server_at_all_is_a_sentence() -> None:
    nobody = Endpoint("http://127.0.0.1:9", model="m", seconds=0.2, first_wait=0.05)
    with pytest.raises(JudgeError, match=r"at http://127\.0\.0\.1:9 did not answer within 0\.2 s"):
        FinalScore(nobody)(torch.rand(1, 3, 4, 4), ["a"])


def test_what_will_not_change_is_not_asked_again(serve: Callable[..., Judge]) -> None:
    judge = serve(lambda number, body: (400, {"error": "no such model"}))
    with pytest.raises(JudgeError, match=r"refused: status 400.*no such model"):
        FinalScore(endpoint(judge))(torch.rand(1, 3, 4, 4), ["a"])
    assert len(judge.bodies) == 1
    for content in (b"<html>", {"choices": []}, {"choices": [{"message": {"content": None}}]}):
        judge = serve(lambda number, body, content=content: (200, content))
        with pytest.raises(JudgeError, match=r"something other than JSON|sent no answer"):
            FinalScore(endpoint(judge))(torch.rand(1, 3, 4, 4), ["a"])
        assert len(judge.bodies) == 1


def test_one_failure_stops_the_others(serve: Callable[..., Judge]) -> None:
    """The error is the cause, and nobody waits for a deadline of a minute."""

    def reply(number: int, body: dict) -> tuple[int, Any]:
        bad = "bad" in body["messages"][0]["content"][1]["text"]
        return (400, {"error": "cause"}) if bad else (503, {"error": "busy"})

    start = time.monotonic()
    with pytest.raises(JudgeError, match="cause"):
        FinalScore(endpoint(serve(reply), seconds=60))(
            torch.rand(4, 3, 4, 4), ["a", "b", "c", "bad"]
        )
    assert time.monotonic() - start < 30


def test_no_more_questions_at_once_than_allowed(serve: Callable[..., Judge]) -> None:
    judge = serve(lambda number, body: said("Final Score: 4"), delay=0.03)
    FinalScore(endpoint(judge, at_once=3))(torch.rand(12, 3, 4, 4), ["a"] * 12)
    assert judge.most_at_once == 3


def test_the_secret_is_sent_and_never_shown(
    serve: Callable[..., Judge], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    judge = serve(lambda number, body: (401, {"error": f"{SECRET} is wrong"}))
    reward = FinalScore(endpoint(judge, key="MY_KEY"))
    with pytest.raises(RewardError, match=r"\*\*\* is wrong") as caught:
        scored("judge", reward, torch.rand(1, 3, 4, 4), ["a"])
    assert judge.headers[0]["Authorization"] == f"Bearer {SECRET}"
    chain: BaseException | None = caught.value
    while chain is not None:
        assert SECRET not in f"{chain} {chain.args}"
        chain = chain.__cause__
    assert SECRET not in repr(reward)
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(JudgeError):
        reward(torch.rand(1, 3, 4, 4), ["a"])
    assert "Authorization" not in judge.headers[1]


def test_redirections_are_not_followed(serve: Callable[..., Judge]) -> None:
    judge = serve(lambda number, body: (302, {"moved": "elsewhere"}))
    with pytest.raises(JudgeError, match="refused: status 302"):
        FinalScore(endpoint(judge))(torch.rand(1, 3, 4, 4), ["a"])
    assert len(judge.bodies) == 1


def test_the_only_model_of_a_server_is_taken(serve: Callable[..., Judge]) -> None:
    judge = serve(lambda number, body: said("Final Score: 3"))
    value = find(f"unified_reward={judge.url}")(torch.rand(2, 3, 4, 4), ["a", "b"])
    torch.testing.assert_close(value, torch.tensor([0.6, 0.6]))
    assert judge.bodies[0]["model"] == "tiny"
    two = serve(lambda number, body: said("Final Score: 3"), models=("one", "other"))
    with pytest.raises(JudgeError, match="has the models one, other; say which"):
        find(f"unified_reward={two.url}")(torch.rand(1, 3, 4, 4), ["a"])


def test_addresses_are_checked_at_the_door() -> None:
    with pytest.raises(ValueError, match="say where: unified_reward=http"):
        find("unified_reward")
    for wrong in ("ftp://host/v1", "host:8000", "http://"):
        with pytest.raises(ValueError, match="is no address of a judge"):
            find(f"checklist={wrong}")
