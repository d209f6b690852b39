"""A vision-language model on a server as critic and as writer of instructions.

The questions are text files that anybody can edit; {prompt}, {critique} and {most} are filled in.
Answers are JSON of a fixed form. One that cannot be read is asked for again, with what was wrong
with it; after that the entry is rejected with the reason. A server that does not answer at all
stops the run, which goes on later where it was.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL.Image import Image

from scoreward.curation.records import Complaint, Critique, Instructions, Rejected
from scoreward.data.pictures import rgb
from scoreward.data.texts import TextError, text_of
from scoreward.rewards.judge import Endpoint, NoAnswer, Refused

T = TypeVar("T")
FAULTS = ("wrong", "missing", "realism", "composition")
WORDS = 15  # of an instruction, at most; ours
NEGATION = re.compile(r"\b(no|not|never|without|avoid|don't|doesn't|isn't)\b", re.IGNORECASE)
THIS_ONE = (400, 413, 422)  # statuses that are about one question, not about the server
AGAIN = "\n\nYour last answer could not be used: {why}. Answer with the JSON asked for, only."


class Unreadable(ValueError):
    """An answer that is not in the form asked for."""


@dataclass(frozen=True)
class Questions:
    """Asks about pictures until every answer can be read, or `retries` more times."""

    endpoint: Endpoint
    retries: int = 2

    def readings(
        self, questions: Sequence[str], images: Sequence[Image], read: Callable[[str], T]
    ) -> list[T | Rejected]:
        """One reading, or the reason why there is none, per picture.  Raises JudgeError."""
        found: dict[int, T | Rejected] = {}
        text, heard = list(questions), False
        for left in range(self.retries, -1, -1):
            open_ = [i for i in range(len(text)) if i not in found]
            answers, refused = self._answers([text[i] for i in open_], [images[i] for i in open_])
            heard = heard or len(refused) < len(open_)
            if refused and not heard:
                raise refused[0]  # the server, rather than a question, has a fault
            for i, answer in zip(open_, answers):
                try:
                    found[i] = answer if isinstance(answer, Rejected) else read(answer)
                except Unreadable as why:
                    text[i] = questions[i] + AGAIN.replace("{why}", str(why))
                    if not left:
                        found[i] = Rejected(f"unreadable: {why}", str(answer))
        return [found[i] for i in range(len(text))]

    def _answers(
        self, questions: list[str], images: list[Image]
    ) -> tuple[list[str | Rejected], list[Refused]]:
        """What the server said, Rejected where it refused the question; and the refusals."""
        refusals: list[Refused] = []

        def ask(question: str, image: Image) -> str | Rejected:
            try:
                return self.endpoint.answers([(question, np.asarray(rgb(image)))])[0]
            except NoAnswer:
                return ""
            except Refused as refused:
                if refused.status not in THIS_ONE:
                    raise
                refusals.append(refused)
                return Rejected("refused by the server", str(refused))

        with ThreadPoolExecutor(self.endpoint.at_once) as pool:
            futures = [pool.submit(ask, *pair) for pair in zip(questions, images)]
            try:
                answers = [future.result() for future in futures]
            finally:
                pool.shutdown(cancel_futures=True)
        return answers, refusals


@dataclass(frozen=True)
class VisionCritic:
    """Faults of pictures as a vision-language model sees them.  [rpo] (critique)"""

    questions: Questions
    path: Path | None = None  # of the question; default: the one in the package

    @cached_property
    def text(self) -> str:
        return question(self.path, "critique.txt", ("{prompt}",))

    @property
    def name(self) -> str:
        return _named(self.questions, self.text)

    def __call__(
        self, prompts: Sequence[str], images: Sequence[Image]
    ) -> list[Critique | Rejected]:
        questions = [self.text.replace("{prompt}", prompt) for prompt in prompts]
        return self.questions.readings(questions, images, read_critique)


@dataclass(frozen=True)
class VisionInstructor:
    """Instructions as a vision-language model writes them.  [rpo] (instruct)

    `most` is how many are kept: 1 for editors of the InstructPix2Pix kind, up to 3 for strong ones.
    A critique without complaints is not asked about.
    """

    questions: Questions
    most: int = 1
    path: Path | None = None

    @cached_property
    def text(self) -> str:
        return question(self.path, "instruct.txt", ("{prompt}", "{critique}"))

    @property
    def name(self) -> str:
        return f"{_named(self.questions, self.text)}, at most {self.most}"

    def __call__(
        self, prompts: Sequence[str], images: Sequence[Image], critiques: Sequence[Critique]
    ) -> list[Instructions | Rejected]:
        rows = [i for i, one in enumerate(critiques) if one.complaints]
        text, questions = self.text.replace("{most}", str(self.most)), []
        for i in rows:
            complaints = [asdict(one) for one in critiques[i].complaints]
            critique = json.dumps(complaints, ensure_ascii=False)
            question = text.replace("{critique}", critique).replace("{prompt}", prompts[i])
            questions.append(question)
        answers = self.questions.readings(
            questions, [images[i] for i in rows], lambda text: read_instructions(text, self.most)
        )
        result: list[Instructions | Rejected] = [Instructions(()) for _ in critiques]
        for i, answer in zip(rows, answers):
            result[i] = answer
        return result


def question(path: Path | None, default: str, needed: Sequence[str]) -> str:
    """The text of a question.  Raises ValueError where a place to fill in is missing."""
    try:
        source = files("scoreward") / "assets" / "curation" / default
        text = source.read_text(encoding="utf-8") if path is None else text_of(path)
    except TextError as error:
        raise ValueError(f"the question {error}") from None
    if absent := [place for place in needed if place not in text]:
        raise ValueError(f"the question {path} has no place {absent[0]} to fill in")
    return text


def _named(questions: Questions, text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{questions.endpoint.model or 'the only model of a server'}, question {digest}"


def read_critique(answer: str) -> Critique:
    """The critique in an answer, whatever stands around it.  Raises Unreadable."""
    content = object_with(answer, "complaints")
    listed = content["complaints"]
    if not isinstance(listed, list):
        raise Unreadable('"complaints" is not a list')
    complaints = tuple(_complaint(one) for one in listed)
    score = content.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 1 <= score <= 10:
        raise Unreadable(f'"score" is {score!r}, expected a number from 1 to 10')
    return Critique(complaints, float(score), answer)


def _complaint(one: Any) -> Complaint:
    if not isinstance(one, Mapping):
        raise Unreadable('"complaints" holds something that is not an object')
    for name in ("about", "fault", "quote", "text"):
        if not isinstance(one.get(name), str) or not one[name].strip():
            raise Unreadable(f'a complaint has no "{name}" in words')
    if one["fault"] not in FAULTS:
        raise Unreadable(f'"fault" is {one["fault"]!r}, expected one of {", ".join(FAULTS)}')
    found = one.get("found", "")
    if not isinstance(found, str):
        raise Unreadable('"found" is not a text')
    return Complaint(one["about"], one["fault"], one["text"], found, one["quote"])


def read_instructions(answer: str, most: int) -> Instructions:
    """The first `most` instructions in an answer; none for NONE.  Raises Unreadable."""
    if re.fullmatch(r"\W*none\W*", answer, re.IGNORECASE):
        return Instructions((), answer)
    listed = object_with(answer, "instructions")["instructions"]
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise Unreadable('"instructions" is not a list of texts')
    lines = [" ".join(one.split()) for one in listed]
    if lines == ["NONE"]:
        return Instructions((), answer)
    for line in lines[:most]:
        if not 1 <= len(line.split()) <= WORDS:
            raise Unreadable(f"an instruction has {len(line.split())} words, expected 1 to {WORDS}")
        if NEGATION.search(line):
            raise Unreadable(f"the instruction {line!r} has a negation; say what to put instead")
    return Instructions(tuple(lines[:most]), answer)


def object_with(answer: str, name: str) -> Mapping[str, Any]:
    """The last JSON object in a text that has a member of this name.  Raises Unreadable."""
    decoder, found, end = json.JSONDecoder(), None, 0
    for start in (match.start() for match in re.finditer(r"\{", answer)):
        if start < end:
            continue  # inside of the one before
        try:
            value, end = decoder.raw_decode(answer, start)
        except ValueError:
            continue
        found = value if name in value else found
    if found is None:
        raise Unreadable(f'there is no JSON object with "{name}"')
    return found
