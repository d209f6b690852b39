"""Vision-language models as judges, asked over the chat protocol that OpenAI's server made common.

vLLM, SGLang, llama.cpp and many services speak it. A judge sees the picture as PNG and a question,
answers at temperature 0, and the number is read strictly: an answer without one is an error, never
a low score. Busy servers are asked again until a deadline.
"""

import base64
import http.client
import io
import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.rewards.pictures import checked, eight_bit

BUSY = (408, 409, 425, 429, 500, 502, 503, 504)  # worth asking again
LOOPBACK = ("127.0.0.1", "localhost", "::1")
QUESTION = """\
You see a caption and a picture that was generated for it. Judge the picture by two criteria.
1. Alignment: do the objects, their attributes and their relations agree with the caption?
2. Quality: is the picture clear and detailed, are its colours natural, is it pleasing to look at?
Give one score from 1 (worst) to 5 (best). End your answer with one line: Final Score: N
Caption: [{prompt}]"""
CHECKS = (
    "Does the picture show everything that this caption names? Caption: [{prompt}]",
    "Do colours, numbers and positions agree with this caption? Caption: [{prompt}]",
    "Is the picture free of broken or impossible shapes?",
    "Is the picture sharp and rich in detail?",
)
STRICTLY = " Answer with one word, yes or no."


class JudgeError(RuntimeError):
    """The judge could not be asked, or its answer has no verdict."""


@dataclass(frozen=True)
class Endpoint:
    """A server of the chat protocol, for example Endpoint("http://127.0.0.1:8000/v1").

    `key` names the environment variable with the secret, if the server wants one; the secret itself
    is read at each call and appears nowhere else.
    """

    url: str
    model: str = ""  # "" for the only one that the server has
    key: str = "SCOREWARD_JUDGE_KEY"
    at_once: int = 8  # questions in flight
    seconds: float = 300.0  # for a whole batch, retries included
    patience: float = 60.0  # for one answer
    first_wait: float = 0.5  # before asking again; doubles, up to 30 s
    tokens: int = field(default=1024, repr=False)  # of an answer, at most

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"{self.url!r} is no address of a judge; expected one such as "
                "http://127.0.0.1:8000/v1"
            )

    def answers(self, questions: Sequence[tuple[str, np.ndarray]]) -> list[str]:
        """What the model says to each question about its picture, in order."""
        end, failed = time.monotonic() + self.seconds, threading.Event()
        model = self.model or self._only_model

        def ask(question: tuple[str, np.ndarray]) -> str:
            try:
                return self._answer(_message(model, self.tokens, *question), end, failed)
            except BaseException:
                failed.set()  # the others need not go on
                raise

        with ThreadPoolExecutor(self.at_once) as pool:
            futures = [pool.submit(ask, question) for question in questions]
            errors = [e for e in (f.exception() for f in futures) if e is not None]
        if errors:  # the cause, rather than "gave up because another failed"
            raise next((e for e in errors if not isinstance(e, GaveUp)), errors[0])
        return [future.result() for future in futures]

    def _answer(self, body: dict[str, object], end: float, failed: threading.Event) -> str:
        reply = self._until(end, failed, "/chat/completions", body)
        try:
            text = reply["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            text = None
        if not isinstance(text, str):
            raise NoAnswer(f"the judge at {self.url} sent no answer: {_short(json.dumps(reply))}")
        return text

    def _until(
        self, end: float, failed: threading.Event, path: str, body: dict[str, object] | None
    ) -> Any:
        """Ask until there is a reply, an error that will stay, or the deadline."""
        wait = self.first_wait
        while True:
            left = end - time.monotonic()
            try:
                return self._once(path, body, min(self.patience, max(0.01, left)))
            except Busy as busy:
                pause = max(wait, busy.after)
                if time.monotonic() + pause >= end:
                    raise JudgeError(
                        f"the judge at {self.url} did not answer within {self.seconds:g} s: {busy}"
                    ) from busy
                if failed.wait(pause):
                    raise GaveUp("another question to the judge failed") from busy
                wait = min(30.0, wait * 2)

    def _once(self, path: str, body: dict[str, object] | None, seconds: float) -> Any:
        headers = {"Content-Type": "application/json"}
        secret = os.environ.get(self.key, "") if self.key else ""
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url.rstrip("/") + path, data, headers)
        try:
            with self._opener.open(request, timeout=seconds) as reply:
                return json.loads(reply.read())
        except urllib.error.HTTPError as error:
            text = f"status {error.code}, {_short(error.read().decode(errors='replace'))}"
            text = text.replace(secret, "***") if secret else text
            if error.code in BUSY:
                raise Busy(text, error.headers.get("Retry-After")) from None
            raise Refused(f"the judge at {self.url} refused: {text}", error.code) from None
        except (OSError, http.client.HTTPException) as error:
            raise Busy(f"{type(error).__name__}: {error}") from None
        except ValueError:
            raise JudgeError(f"the judge at {self.url} sent something other than JSON") from None

    @cached_property
    def _only_model(self) -> str:
        end = time.monotonic() + self.seconds
        reply = self._until(end, threading.Event(), "/models", None)
        names = [m["id"] for m in reply.get("data", [])] if isinstance(reply, dict) else []
        if len(names) != 1:
            raise JudgeError(
                f"the server at {self.url} has the models {', '.join(names) or '(none)'}; say "
                "which: Endpoint(url, model=...)"
            )
        return names[0]

    @cached_property
    def _opener(self) -> urllib.request.OpenerDirector:
        """Follows no redirection, which could carry the secret elsewhere."""
        handlers: list[urllib.request.BaseHandler] = [_Stay()]
        if urlsplit(self.url).hostname in LOOPBACK:
            handlers.append(urllib.request.ProxyHandler({}))
        return urllib.request.build_opener(*handlers)


class Busy(JudgeError):
    """Not now; `after` is the server's wish in seconds."""

    def __init__(self, sentence: str, after: str | None = None) -> None:
        super().__init__(sentence)
        self.after = float(after) if after and re.fullmatch(r"\d+(\.\d+)?", after) else 0.0


class Refused(JudgeError):
    """The server will not answer this, with its status."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class NoAnswer(JudgeError):
    """A reply without text."""


class GaveUp(JudgeError):
    """A question that was dropped because another one failed."""


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def _message(model: str, tokens: int, question: str, picture: np.ndarray) -> dict[str, object]:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    address = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    content = [
        {"type": "image_url", "image_url": {"url": address}},
        {"type": "text", "text": question},
    ]
    messages = [{"role": "user", "content": content}]
    return {"model": model, "temperature": 0, "max_tokens": tokens, "messages": messages}


def _short(text: str, length: int = 200) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[:length] + "…"


def final_score(answer: str) -> float:
    """The number from 1 to 5 after the last "Final Score:"."""
    found = re.findall(
        r"final score\W{0,4}?\s*[:=]\W*?(-?\d+(?:\.\d+)?)(?:\s*/\s*(\d+))?", answer, re.IGNORECASE
    )
    if not found:
        raise JudgeError(f"the judge's answer has no 'Final Score: N': {_short(answer)!r}")
    number, out_of = found[-1]
    if not 1 <= float(number) <= 5 or out_of not in ("", "5"):
        raise JudgeError(f"the judge's final score is not one from 1 to 5: {_short(answer)!r}")
    return float(number)


def yes(answer: str) -> bool:
    """Whether the answer begins with yes; one that begins with neither is an error."""
    found = re.match(r"\W*(yes|no)\b", answer, re.IGNORECASE)
    if found is None:
        raise JudgeError(f"the judge's answer is neither yes nor no: {_short(answer)!r}")
    return found[1].lower() == "yes"


@dataclass(frozen=True)
class FinalScore:
    """UnifiedReward's form: the judge ends with "Final Score: 1 to 5"; here / 5, so 0.2 to 1.

    The wording of `question` is ours; for a model that was trained on another, pass that one, with
    {prompt} where the prompt goes.
    """

    endpoint: Endpoint
    question: str = QUESTION

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        pictures = eight_bit(checked(media, prompts))
        questions = [self.question.replace("{prompt}", prompt) for prompt in prompts]
        answers = self.endpoint.answers(list(zip(questions, pictures)))
        return torch.tensor([final_score(text) / 5 for text in answers], device=media.device)


@dataclass(frozen=True)
class Checklist:
    """VisionReward's form: yes-or-no questions, and a weighted share of yes, in [0, 1].

    Questions and weights are ours to choose and yours to change; VisionReward fits its weights to
    people's choices. One call of the judge per picture and question.
    """

    endpoint: Endpoint
    questions: tuple[str, ...] = CHECKS
    weights: tuple[float, ...] = ()  # () for equal ones

    def __post_init__(self) -> None:
        if self.weights and len(self.weights) != len(self.questions):
            raise ValueError(f"{len(self.questions)} questions and {len(self.weights)} weights")
        if self.weights and (min(self.weights) < 0 or sum(self.weights) <= 0):
            raise ValueError(f"weights are {self.weights}; expected none below 0, and some above")

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        weights = torch.tensor(self.weights or [1.0] * len(self.questions))
        return self.parts(media, prompts) @ (weights / weights.sum()).to(media.device)

    def parts(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, "batch questions"]:
        """1 for yes, 0 for no, one column per question."""
        pictures = eight_bit(checked(media, prompts))
        questions = [
            (question.replace("{prompt}", prompt) + STRICTLY, picture)
            for prompt, picture in zip(prompts, pictures)
            for question in self.questions
        ]
        ones = [float(yes(answer)) for answer in self.endpoint.answers(questions)]
        return torch.tensor(ones, device=media.device).reshape(len(prompts), len(self.questions))


def unified_reward(url: str = "") -> FinalScore:
    return FinalScore(_endpoint("unified_reward", url))


def checklist(url: str = "") -> Checklist:
    return Checklist(_endpoint("checklist", url))


def _endpoint(name: str, url: str) -> Endpoint:
    if not url:
        raise ValueError(
            f"reward {name!r} is a judge on a server; say where: {name}=http://127.0.0.1:8000/v1"
        )
    return Endpoint(url)
