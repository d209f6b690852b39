"""Prompts from files, and the short lists that need no file.

A file has one prompt a line, or one JSON object a line with `prompt` and, for models that edit
pictures, `image` (relative to the file). A share of the prompts, chosen by their text, is held out.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scoreward.data.holding import Cut, cut
from scoreward.data.holding import share_of as share_of

ANIMALS = (
    "ant bat bear bee beetle bird butterfly camel cat chicken cow deer dog dolphin duck fish fly "
    "fox frog goat goose gorilla hedgehog horse kangaroo lion lizard llama monkey mouse owl pig "
    "rabbit raccoon rat shark sheep snake spider squirrel tiger turkey turtle whale wolf zebra"
)
SIGNS = "OPEN SALE CAFE EXIT HELLO STOP PARIS TAXI HOTEL MUSIC BREAD PIZZA BOOKS WATER GARDEN NORTH"
SURFACES = ("a neon sign", "a chalkboard", "a wooden sign", "a birthday cake", "a coffee cup")
BUILT_IN = ("animals", "signs")
QUOTED = re.compile(r'"([^"]*)"|“([^”]*)”|(?<!\w)\'([^\']*)\'(?!\w)')


class PromptsError(ValueError):
    """A list of prompts that cannot be used."""


class Instruction(str):
    """A prompt for an editing model: a string that also knows which picture is to be changed."""

    __slots__ = ("image",)
    image: Path

    def __new__(cls, text: str, image: Path | str) -> "Instruction":
        instruction = super().__new__(cls, text)
        instruction.image = Path(image)
        return instruction

    def __reduce__(self) -> tuple[type, tuple[str, Path]]:
        return Instruction, (str(self), self.image)


@dataclass(frozen=True)
class PromptSplit:
    """What is trained on, and what is only measured on; one prompt alone leaves nothing for it."""

    train: list[str]
    held_out: list[str]
    cut: Cut

    @property
    def measured(self) -> list[str]:
        """What there is to measure on; training prompts if nothing is held out."""
        return self.held_out or self.train


def read(source: str, held_out: float = 0.1) -> PromptSplit:
    """A built-in list by name, or a file.  Raises PromptsError."""
    found = listed(source) if source in BUILT_IN else from_file(Path(source))
    if not 0 <= held_out < 1:
        raise PromptsError(
            f"{source} has no prompt left to train on with a share of {held_out:g} held out; give "
            "a share from 0 to below 1"
        )
    parts = cut(found, held_out)
    return PromptSplit([found[i] for i in parts.kept], [found[i] for i in parts.away], parts)


def listed(name: str) -> list[str]:
    """A list that needs no file."""
    if name == "animals":
        return [f"{'an' if a[0] in 'aeiou' else 'a'} {a}" for a in ANIMALS.split()]
    return [f'{place} that says "{word}"' for word in SIGNS.split() for place in SURFACES]


def from_file(path: Path) -> list[str]:
    """The prompts of a file, in order, each once."""
    if not path.is_file():
        raise PromptsError(
            f"there is no file {str(path)!r}; prompts are a file with one prompt or JSON object a "
            f"line, or one of {', '.join(BUILT_IN)}"
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [_prompt(path, n, line) for n, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise PromptsError(f"{path} is empty; it should have one prompt a line")
    return list({(p, getattr(p, "image", None)): p for p in found}.values())


def _prompt(path: Path, number: int, line: str) -> str:
    if path.suffix not in (".jsonl", ".json"):
        return line.strip()
    try:
        entry: Any = json.loads(line)
        text = entry["prompt"]
    except (ValueError, KeyError, TypeError):
        raise PromptsError(
            f'line {number} of {path} is not a JSON object with a "prompt": {line[:60]!r}'
        ) from None
    if "image" not in entry:
        return str(text)
    picture = path.parent / entry["image"]
    if not picture.is_file():
        raise PromptsError(f"line {number} of {path} names a picture that is not there: {picture}")
    return Instruction(str(text), picture)


def quoted(prompt: str) -> str | None:
    """The text a prompt asks for: the last in quotation marks, None for a prompt without any."""
    found = [part for groups in QUOTED.findall(prompt) for part in groups if part]
    return found[-1].strip() if found else None
