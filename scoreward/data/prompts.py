"""Prompts from files, and the short lists that need no file.

A file has one prompt a line, or a table with a column `prompt` and, for models that edit pictures,
`image` (relative to the file); other columns are given to rewards that ask for them. A share of the
prompts, chosen by their text, is held out.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from scoreward.data.holding import Cut, cut
from scoreward.data.holding import share_of as share_of
from scoreward.data.quotes import quoted as quoted
from scoreward.data.texts import TABLES, FileRow, TextError, checked, table
from scoreward.made_of import note

ANIMALS = (
    "ant bat bear bee beetle bird butterfly camel cat chicken cow deer dog dolphin duck fish fly "
    "fox frog goat goose gorilla hedgehog horse kangaroo lion lizard llama monkey mouse owl pig "
    "rabbit raccoon rat shark sheep snake spider squirrel tiger turkey turtle whale wolf zebra"
)
SIGNS = "OPEN SALE CAFE EXIT HELLO STOP PARIS TAXI HOTEL MUSIC BREAD PIZZA BOOKS WATER GARDEN NORTH"
SURFACES = ("a neon sign", "a chalkboard", "a wooden sign", "a birthday cake", "a coffee cup")
BUILT_IN = ("animals", "signs")


class PromptsError(ValueError):
    """A list of prompts that cannot be used."""


class Prompt(str):
    """A prompt that also knows what else its row of a file holds."""

    __slots__ = ("fields",)
    fields: Mapping[str, Any]

    def __new__(cls, text: str, fields: Mapping[str, Any] = {}) -> Self:
        prompt = super().__new__(cls, text)
        prompt.fields = dict(fields)
        return prompt

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.fields)


class Instruction(Prompt):
    """A prompt for an editing model: it also knows which picture is to be changed."""

    __slots__ = ("image",)
    image: Path

    def __new__(cls, text: str, image: Path | str, fields: Mapping[str, Any] = {}) -> "Instruction":
        instruction = super().__new__(cls, text, fields)
        instruction.image = Path(image)
        return instruction

    def __reduce__(self) -> tuple[Any, ...]:
        return Instruction, (str(self), self.image, self.fields)


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
    """The prompts of a file, in order, each once.  Raises PromptsError."""
    if not path.is_file():
        raise PromptsError(
            f"there is no file {str(path)!r}; prompts are a file ({', '.join(TABLES)}), or one of "
            f"{', '.join(BUILT_IN)}"
        )
    try:
        found = [_prompt(path, row) for row in table(path, "prompt")]
    except TextError as error:
        raise PromptsError(str(error)) from None
    if not found:
        raise PromptsError(f"{path} is empty; it should have one prompt a line")
    known = dict[str, str]()  # rows that say the same in everything are one
    for prompt in found:
        known.setdefault(f"{prompt}\n{json.dumps(vars_of(prompt), default=str)}", prompt)
    return list(known.values())


def vars_of(prompt: str) -> list[Any]:
    """What a prompt knows besides its text."""
    return [getattr(prompt, name, None) for name in ("image", "fields")]


def _prompt(path: Path, row: FileRow) -> str:
    text = row.text("prompt")
    more = {name: value for name, value in row.values.items() if name not in ("prompt", "image")}
    if row.values.get("image") is None:
        return Prompt(text, more)
    picture = path.resolve().parent / checked(row.values["image"], f'"image" in {row.place}')
    if not picture.is_file():
        raise PromptsError(f"{row.place} names a picture that is not there: {picture}")
    note(picture)
    return Instruction(text, picture, more)
