"""Instructions whose answers a program can check, and the program.

A prompt is a topic and one or two constraints ("Tell me about the sea. Use at most 10 words."), or
a small sum. Each constraint gives an answer a degree in [0, 1]; 1 is satisfied. Some want short
answers and some long ones, so that length alone does not decide. The split depends on the pair of
topic and constraints: a held-out prompt has a topic and constraints that training has seen, but
never together.

`score` is what preferences are made from. `strict` is the judge: every constraint satisfied, and
an answer that is sane (complete, mostly letters, on the topic, not one phrase over and over), so
that gaming a constraint shows.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from scoreward.data.packs import SPLITS

TOPICS = (  # parted by bars
    "the sea|a cat|bread|rain|the moon|a forest|coffee|a bicycle|winter|music|an old house|bees|"
    "a river|chocolate|a library|the sun|a horse|tea|a garden|snow|a train|football|a mountain|"
    "soup|a dog|the wind|a bridge|cheese|summer|a lighthouse|birds|a clock|apples|the desert|"
    "a piano|paper|a teacher|glass|a farm|spring|an island|honey|a castle|fire|a market|"
    "elephants|a doctor|milk|the city|a guitar|autumn|a boat|stars|a kitchen|a painter|salt|"
    "a school|the night|a robot|flowers|a museum|ice|a lake|sheep|a beach|wine|a tree|rice|"
    "a king|a storm|trains|gold|a village|fish"
)
BRIEF = ("Briefly describe {}.", "Tell me briefly about {}.", "Write a short line about {}.")
OPEN = ("Describe {}.", "Tell me about {}.", "Write about {}.")
SHORT_WORDS = 4.5  # mean letters of "short, simple words"; ours
LONGEST_WORD = 9  # letters; ours
REPEATS = 0.6  # share of distinct word pairs below which an answer repeats itself; ours
LETTERS = 0.7  # share of ASCII letters and spaces below which it is not text; ours
SHARES = (0.5, 0.6)  # below the first: train; below the second: validation; the rest: test

_WORD = re.compile(r"[A-Za-z0-9]+(?:['’-][A-Za-z0-9]+)*")
_SENTENCE = re.compile(r"[^.!?]*\w[^.!?]*(?:[.!?]+|$)")
_NUMBER = re.compile(r"-?\d+")

Check = Callable[[str], float]


@dataclass(frozen=True)
class Constraint:
    """A sentence that asks for something, and the degree to which an answer has it."""

    name: str
    asks: str
    degree: Check
    bare: bool = False  # an answer that needs neither the topic nor an end mark
    long: bool = False  # wants a long answer


@dataclass(frozen=True)
class Exercise:
    """A prompt with what its answer must satisfy."""

    prompt: str
    topic: str  # the word an answer has to mention; empty for sums
    constraints: Sequence[Constraint]

    @property
    def split(self) -> str:
        """train, validation or test, by the hash of the topic with the constraints."""
        address = "|".join([self.topic or self.prompt, *(c.name for c in self.constraints)])
        share = int.from_bytes(hashlib.sha256(address.encode()).digest()[:4], "big") / 2**32
        return "train" if share < SHARES[0] else "validation" if share < SHARES[1] else "test"

    def score(self, answer: str) -> float:
        """Mean degree of the constraints, 0 for an answer that is not sane."""
        degrees = [c.degree(answer) for c in self.constraints]
        return sum(degrees) / len(degrees) if self.sane(answer) else 0.0

    def strict(self, answer: str) -> bool:
        """Whether every constraint is satisfied by a sane answer."""
        return self.sane(answer) and all(c.degree(answer) >= 1 for c in self.constraints)

    def sane(self, answer: str) -> bool:
        """Complete, text, on the topic and not a repetition."""
        if any(c.bare for c in self.constraints):
            return bool(words(answer)) and not repeats(answer)
        return (
            len(words(answer)) >= 3
            and complete(answer)
            and lettered(answer) >= LETTERS
            and mentions(answer, self.topic)
            and not repeats(answer)
        )


def words(text: str) -> list[str]:
    """The words of a text; numbers count."""
    return _WORD.findall(text)


def sentences(text: str) -> list[str]:
    """Stretches up to an end mark that hold a word."""
    return _SENTENCE.findall(text)


def complete(text: str) -> bool:
    """Whether it ends with an end mark, perhaps inside quotes or brackets."""
    return re.search(r"[.!?][\"'”’)*]*$", text.strip()) is not None


def lettered(text: str) -> float:
    """Share of characters that are ASCII letters or spaces."""
    count = sum(c.isascii() and (c.isalpha() or c.isspace()) for c in text)
    return count / max(len(text), 1)


def mentions(text: str, topic: str) -> bool:
    """Whether some word begins like the topic, without its plural ending."""
    stem = topic.lower()
    stem = stem[:-1] if stem.endswith("s") else stem
    return any(word.lower().startswith(stem) for word in words(text))


def repeats(text: str) -> bool:
    """Whether too few of its pairs of neighbouring words are distinct."""
    found = [w.lower() for w in words(text)]
    pairs = list(pairwise(found))
    return len(pairs) >= 6 and len(set(pairs)) < REPEATS * len(pairs)


def near(value: float, low: float, high: float, slack: float) -> float:
    """1 within [low, high], falling to 0 at `slack` outside."""
    return max(0.0, 1.0 - max(low - value, value - high, 0.0) / slack)


def _count_sentences(count: int) -> Check:
    return lambda text: near(len(sentences(text)), count, count, 2)


def _uses(word: str) -> Check:
    return lambda text: float(word in [w.lower() for w in words(text)])


def _simple(text: str) -> float:
    lengths = [len(w) for w in words(text)] or [99]
    mean, longest = sum(lengths) / len(lengths), max(lengths)
    return 0.5 * near(mean, 0, SHORT_WORDS, 1.5) + 0.5 * near(longest, 0, LONGEST_WORD, 5)


def _numbered(text: str) -> float:
    starts = re.findall(r"^\s*(\d+)[.)]\s+\w", text, re.MULTILINE)
    right = sum(s == str(i) for i, s in enumerate(starts, 1))
    return max(0.0, min(right, 3) - max(len(starts) - 3, 0)) / 3


def _result(value: int) -> Check:
    def degree(text: str) -> float:
        found = _NUMBER.findall(text)
        return float(bool(found) and int(found[-1]) == value)

    return degree


CONSTRAINTS = (
    Constraint("one sentence", "Answer in exactly one sentence.", _count_sentences(1)),
    Constraint("two sentences", "Answer in exactly two sentences.", _count_sentences(2)),
    Constraint(
        "at most 12 words", "Use at most 12 words.", lambda text: near(len(words(text)), 1, 12, 12)
    ),
    Constraint(
        "at least 20 words",
        "Use at least 20 words.",
        lambda text: near(len(words(text)), 20, 10**6, 20),
        long=True,
    ),
    Constraint("no commas", "Do not use commas.", lambda text: near(text.count(","), 0, 0, 3)),
    Constraint(
        "exclaim", "Sound excited and use an exclamation mark!", lambda text: float("!" in text)
    ),
    Constraint(
        "digit",
        "Use a number written in digits.",
        lambda text: float(any(c.isdigit() for c in text)),
    ),
    Constraint("because", "Use the word 'because'.", _uses("because")),
    Constraint("beautiful", "Use the word 'beautiful'.", _uses("beautiful")),
    Constraint("like", "Use the word 'like'.", _uses("like")),
    Constraint(
        "the",
        "Start with the word 'The'.",
        lambda text: float([w.lower() for w in words(text)[:1]] == ["the"]),
    ),
    Constraint("simple", "Use only short, simple words.", _simple),
    Constraint("numbered", "Make a list of three items, numbered 1. 2. 3.", _numbered, bare=True),
)
TOGETHER = (
    ("one sentence", "no commas"),
    ("at most 12 words", "the"),
    ("one sentence", "beautiful"),
    ("at least 20 words", "no commas"),
)


def _sums() -> list[Exercise]:
    """Small sums and differences, and the same as a story."""
    found: list[tuple[str, int]] = []
    for a in range(2, 10):
        for b in range(2, 8):
            found.append((f"What is {a} + {b}? Give only the number.", a + b))
            found.append(
                (f"Ann has {a} pens and buys {b} more. Give only the number of pens.", a + b)
            )
            if a > b:
                found.append((f"What is {a} - {b}? Give only the number.", a - b))
    return [Exercise(p, "", (Constraint("sum", p, _result(v), bare=True),)) for p, v in found]


@lru_cache(maxsize=1)
def tasks() -> tuple[Exercise, ...]:
    """Every prompt there is, in a fixed order."""
    named = {c.name: c for c in CONSTRAINTS}
    sets = [(c,) for c in CONSTRAINTS] + [tuple(named[n] for n in pair) for pair in TOGETHER]
    found: list[Exercise] = []
    for i, topic in enumerate(TOPICS.split("|")):
        for j, constraints in enumerate(sets):
            openings = OPEN if any(c.long for c in constraints) else BRIEF
            opening = openings[(i + j) % len(openings)].format(topic)
            prompt = " ".join([opening, *(c.asks for c in constraints)])
            found.append(Exercise(prompt, topic.split()[-1], constraints))
    return (*found, *_sums())


def split(name: str) -> list[Exercise]:
    """The tasks of train, validation or test."""
    if name not in SPLITS:
        raise ValueError(f"expected the split train, validation or test, got {name!r}")
    return [t for t in tasks() if t.split == name]


def task_of(prompt: str) -> Exercise:
    """The task with this prompt."""
    found = _by_prompt().get(prompt)
    if found is None:
        raise ValueError(f"no task has the prompt {prompt!r}; take prompts from `tasks()`")
    return found


@lru_cache(maxsize=1)
def _by_prompt() -> dict[str, Exercise]:
    return {t.prompt: t for t in tasks()}


def task_within(text: str) -> Exercise:
    """The task whose prompt stands in a text, as in a rendered chat; the longest if several."""
    found = [prompt for prompt in _by_prompt() if prompt in text]
    if not found:
        raise ValueError(f"no task's prompt stands in {text[-80:]!r}; take prompts from `tasks()`")
    return _by_prompt()[max(found, key=len)]
