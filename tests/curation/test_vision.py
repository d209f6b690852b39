"""Vision-language models as critics and writers, asked over a real connection to a small server."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scoreward.curation.records import Complaint, Critique, Instructions, Rejected
from scoreward.curation.run import Curation
from scoreward.curation.stages import Instructor, PictureCritic, Pipeline
from scoreward.curation.vision import (
    Questions,
    Unreadable,
    VisionCritic,
    VisionInstructor,
    object_with,
    read_critique,
    read_instructions,
)
from scoreward.rewards.judge import Endpoint, JudgeError
from tests.curation.doubles import pipeline, wanted

Reply = Callable[[int, str], Any]
ONE = {"about": "hat", "fault": "wrong", "quote": "a green hat", "text": "the hat is red"}
GOOD = json.dumps({"complaints": [ONE], "score": 4, "reason": "hat"})
TOLD = '{"instructions": ["replace the red hat with a green hat"]}'


@pytest.fixture
def serve() -> Iterator[Callable[[Reply], tuple[Endpoint, list[str]]]]:
    """Answers the n-th question by `reply(n, question)`: a text, or a status with a body."""
    servers: list[ThreadingHTTPServer] = []

    def start(reply: Reply) -> tuple[Endpoint, list[str]]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                content = body["messages"][0]["content"]
                assert content[0]["image_url"]["url"].startswith("data:image/png;base64,")
                asked.append(content[1]["text"])
                said = reply(len(asked) - 1, content[1]["text"])
                message = {"choices": [{"message": {"content": said}}]}
                status, answer = said if isinstance(said, tuple) else (200, message)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                with suppress(BrokenPipeError):  # whoever asked has given up
                    self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        return Endpoint(url, "m", seconds=5.0, patience=0.3, first_wait=0.02), asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def pictures(count: int) -> list[Image.Image]:
    return [Image.new("RGB", (4, 4), (10 * i, 0, 0)) for i in range(count)]


def test_a_critique_is_read_wherever_it_stands() -> None:
    expected = (Complaint("hat", "wrong", "the hat is red", "", "a green hat"),)
    fenced = f"Sure! Here you are:\n```json\n{GOOD}\n```\nAnything {{else}}?"
    for answer in (GOOD, fenced, f"{{}} {GOOD}"):
        found = read_critique(answer)
        assert (found.complaints, found.score, found.raw) == (expected, 4.0, answer)
    thought = json.dumps({"complaints": [], "score": 9})
    assert read_critique(f"First I thought {thought}, but no: {GOOD}").score == 4


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"complaints": "none"}, '"complaints" is not a list'),
        ({"complaints": ["hat"]}, "not an object"),
        ({"complaints": [{**ONE, "quote": " "}]}, 'no "quote" in words'),
        ({"complaints": [{**ONE, "about": 3}]}, 'no "about" in words'),
        ({"complaints": [{**ONE, "fault": "ugly"}]}, "'ugly', expected one of wrong, missing"),
        ({"complaints": [{**ONE, "found": 1}]}, '"found" is not a text'),
        ({"score": 0}, '"score" is 0'),
        ({"score": True}, '"score" is True'),
        ({"score": "7"}, "\"score\" is '7'"),
        ({"score": float("nan")}, '"score" is nan'),
    ],
)
def test_a_critique_of_another_form_is_none(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_critique(json.dumps({"complaints": [], "score": 5, **changes}))
    assert why in str(caught.value)


@pytest.mark.parametrize("answer", ["", "none", "{", '{"a": 1}', "[1, 2]", '{"complaints": [}'])
def test_an_answer_without_the_object_is_unreadable(answer: str) -> None:
    with pytest.raises(Unreadable, match='no JSON object with "complaints"'):
        object_with(answer, "complaints")


def test_instructions_are_short_commands_or_none() -> None:
    assert read_instructions(TOLD, 1).lines == ("replace the red hat with a green hat",)
    for answer in ("NONE", " none. ", '{"instructions": []}', '{"instructions": ["NONE"]}'):
        assert read_instructions(answer, 3).lines == ()
    three = json.dumps({"instructions": ["make it  blue", "add a hat", "do not " * 20]})
    assert read_instructions(three, 2).lines == ("make it blue", "add a hat")
    with pytest.raises(Unreadable, match="40 words, expected 1 to 15"):
        read_instructions(three, 3)
    for line in ("do not show a hat", "a sky without clouds", "No hat"):
        with pytest.raises(Unreadable, match="has a negation"):
            read_instructions(json.dumps({"instructions": [line]}), 1)
    assert read_instructions('{"instructions": ["notice the nose"]}', 1).lines
    with pytest.raises(Unreadable, match="not a list of texts"):
        read_instructions('{"instructions": "add a hat"}', 1)


def test_a_critic_sees_picture_and_prompt(serve: Callable[..., Any]) -> None:
    endpoint, asked = serve(lambda n, text: GOOD)
    critic = VisionCritic(Questions(endpoint))
    assert isinstance(critic, PictureCritic)
    found = critic(["a cat", "a {prompt} dog"], pictures(2))
    assert [one.score for one in found if isinstance(one, Critique)] == [4.0, 4.0]
    assert sorted("a cat" in text for text in asked) == [False, True]
    assert all('"complaints"' in text and "[a " in text for text in asked)


def test_what_cannot_be_read_is_asked_again_with_the_reason(serve: Callable[..., Any]) -> None:
    def reply(n: int, text: str) -> str:
        return GOOD if "could not be used" in text and n >= 3 else "I like it."

    endpoint, asked = serve(reply)
    found = VisionCritic(Questions(endpoint))(["a cat"], pictures(1))
    assert isinstance(found[0], Rejected)
    assert found[0].reason == 'unreadable: there is no JSON object with "complaints"'
    assert found[0].raw == "I like it."
    assert len(asked) == 3  # and not one more
    assert "could not be used" not in asked[0]
    assert all('no JSON object with "complaints"' in text for text in asked[1:])
    (again,) = VisionCritic(Questions(endpoint))(["a cat"], pictures(1))
    assert isinstance(again, Critique)
    assert len(asked) == 5


def test_only_the_unreadable_are_asked_again(serve: Callable[..., Any]) -> None:
    endpoint, asked = serve(lambda n, text: "?" if "[bad]" in text else GOOD)
    found = VisionCritic(Questions(endpoint))(["good", "bad", "good"], pictures(3))
    assert [isinstance(one, Critique) for one in found] == [True, False, True]
    assert len(asked) == 3 + 2


def test_a_reply_without_text_is_asked_again(serve: Callable[..., Any]) -> None:
    endpoint, asked = serve(lambda n, text: None if n == 0 else GOOD)
    (found,) = VisionCritic(Questions(endpoint))(["a cat"], pictures(1))
    assert isinstance(found, Critique)
    assert len(asked) == 2


def test_a_refused_question_is_rejected_and_a_broken_server_stops(
    serve: Callable[..., Any],
) -> None:
    def reply(n: int, text: str) -> Any:
        return (400, {"error": "too long"}) if "[long]" in text else GOOD

    endpoint, _ = serve(reply)
    critic = VisionCritic(Questions(endpoint))
    found = critic(["a", "long"], pictures(2))
    assert isinstance(found[0], Critique)
    assert isinstance(found[1], Rejected)
    assert "too long" in found[1].raw
    with pytest.raises(JudgeError, match="too long"):
        critic(["long", "long"], pictures(2))
    for status in (401, 404):
        endpoint, _ = serve(lambda n, text, status=status: (status, {"error": "no"}))
        with pytest.raises(JudgeError, match=f"status {status}"):
            VisionCritic(Questions(endpoint))(["a"], pictures(1))


def test_a_question_that_is_refused_when_asked_again_does_not_stop_the_run(
    serve: Callable[..., Any],
) -> None:
    """The second question is longer, and too long; the server is well, for it answered before."""

    def reply(n: int, text: str) -> Any:
        if "could not be used" in text:
            return 400, {"error": "too long"}
        return GOOD if "[well]" in text else "I see a hat"

    endpoint, asked = serve(reply)
    found = VisionCritic(Questions(endpoint))(["well", "odd"], pictures(2))
    assert isinstance(found[0], Critique)
    assert isinstance(found[1], Rejected)
    assert "too long" in found[1].raw
    assert len(asked) == 3


def test_a_slow_answer_is_asked_for_again_until_the_deadline(serve: Callable[..., Any]) -> None:
    def reply(n: int, text: str) -> str:
        time.sleep(0.6 if n == 0 else 0)
        return GOOD

    endpoint, asked = serve(reply)
    (found,) = VisionCritic(Questions(endpoint))(["a"], pictures(1))
    assert isinstance(found, Critique)
    assert len(asked) == 2
    endpoint, _ = serve(lambda n, text: time.sleep(20))
    start = time.monotonic()
    with pytest.raises(JudgeError, match=r"did not answer within 0\.5 s"):
        VisionCritic(Questions(replace(endpoint, seconds=0.5)))(["a"] * 3, pictures(3))
    assert time.monotonic() - start < 15


def test_the_writer_is_told_the_faults_and_how_many(serve: Callable[..., Any]) -> None:
    endpoint, asked = serve(lambda n, text: TOLD)
    writer = VisionInstructor(Questions(endpoint), most=2)
    assert isinstance(writer, Instructor)
    critiques = [read_critique(GOOD), Critique(())]
    found = writer(["a green hat", "a dog"], pictures(2), critiques)
    assert found == [read_instructions(TOLD, 2), Instructions(())]
    (text,) = asked  # nothing is asked where nothing is wrong
    assert "the hat is red" in text
    assert "at most 2" in text


def test_questions_are_files_that_can_be_edited(serve: Callable[..., Any], tmp_path: Path) -> None:
    endpoint, asked = serve(lambda n, text: GOOD)
    path = tmp_path / "mine.txt"
    path.write_text("Was {prompt} gut gemalt?", encoding="utf-8")
    mine = VisionCritic(Questions(endpoint), path)
    mine(["ein Hund"], pictures(1))
    assert asked == ["Was ein Hund gut gemalt?"]
    assert mine.name != VisionCritic(Questions(endpoint)).name
    path.write_text("Schön?", encoding="utf-8")
    with pytest.raises(ValueError, match=r"mine\.txt has no place \{prompt\} to fill in"):
        _ = VisionCritic(Questions(endpoint), path).text
    with pytest.raises(ValueError, match=r"absent\.txt cannot be read"):
        _ = VisionCritic(Questions(endpoint), tmp_path / "absent.txt").text


def asking(endpoint: Endpoint) -> Pipeline:
    questions = Questions(endpoint)
    critic, writer = VisionCritic(questions), VisionInstructor(questions)
    return replace(pipeline(count=6), critic=critic, instructor=writer)


def test_a_curation_goes_on_after_the_server_was_away(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    """Nothing is rejected because a server was down; what was done stays done."""
    down = [False]

    def reply(n: int, text: str) -> Any:
        if down[0]:
            return 500, {"error": "loading"}
        color = wanted(text.partition("for this prompt: [")[2])
        if "A critic found" in text:
            return json.dumps({"instructions": [f"make the square {color}"]})
        return GOOD

    endpoint, _ = serve(reply)
    endpoint = replace(endpoint, seconds=0.3)
    curation = Curation(partial(asking, endpoint), tmp_path, 100)
    steps = curation.steps()
    next(steps)
    done = next(steps)
    assert done.entries == 4
    down[0] = True
    with pytest.raises(JudgeError, match="did not answer"):
        next(steps)
    down[0] = False
    *_, last = Curation(partial(asking, endpoint), tmp_path, 100).steps()
    assert not any("critique" in reason for reason in last.reasons)
    assert last.kept > 3
