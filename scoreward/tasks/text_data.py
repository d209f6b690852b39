"""What a language run is trained and measured on: a preference file, or the built-in checks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.data import instructions
from scoreward.data.holding import Held
from scoreward.data.preferences import builtin
from scoreward.data.preferences.checks import check_lengths
from scoreward.data.preferences.columns import Reading
from scoreward.data.preferences.files import (
    Records,
    kind_of,
    read_text_binary,
    read_text_pairs,
)
from scoreward.data.preferences.records import Dropped, TextBinary, TextPair
from scoreward.data.preferences.sorting import divided, key_of
from scoreward.data.preferences.summary import facts
from scoreward.methods.texts import HeldOutTexts, TextData
from scoreward.models.texts.language import LanguageModel


@dataclass(frozen=True)
class TextFile:
    """Which file, and what happens at rows that cannot be used."""

    pairs: Path | None = None  # pairs, or labelled completions for KTO; None: what is built in
    skip_bad: bool = False  # go on without rows that cannot be used, and count them
    columns: tuple[str, ...] = ()  # of the file, where they are called otherwise: prompt=question
    split: str = "train"  # of a folder or a data set that has several
    layout: str = "auto"  # of the file, by its columns, or by name

    @property
    def reading(self) -> Reading:
        """How the file is read."""
        return Reading(self.layout, self.columns, split=self.split)


def told(
    source: str, train: int, held_out: int, dropped: Dropped, held: Held | None = None
) -> dict[str, Any]:
    """For `Run.origin`: what the run was trained and measured on, and what was left out."""
    found = held or Held("records", held_out, train + held_out, held_out)
    about = facts(source, train + held_out, dropped) | {"held_out": held_out}
    return {"data": about, "held_out": [found.told]}


def from_file(file: TextFile, model: LanguageModel, held_out: HeldOutTexts) -> TextData:
    """Pairs or labelled completions of a file; a share of its prompts is held out.

    Raises ValueError with file and row at what cannot be used, unless that is skipped.
    """
    path, skip, how = file.pairs or Path(), file.skip_bad, file.reading
    binary = kind_of(path, how, (TextPair, TextBinary)) is TextBinary
    found: Any = (read_text_binary if binary else read_text_pairs)(path, skip, how)
    records: Records[Any] = check_lengths(
        found, lambda prompt: len(model.text.prompt_tokens(prompt)), model.text.context, skip
    )
    made = divided(records, held_out.share)
    train = [records[i] for i in made.kept]
    other = [records[i] for i in made.away[: held_out.pairs]]
    prompts = list({key_of(r.prompt): r.prompt for r in other}.values())
    counted = made.count("prompts", len(prompts))
    about = told(str(path), len(train), len(other), records.dropped, counted)
    about["data"] |= records.read_of(path, how)
    return TextData(train, other, held_out.writing(model, prompts, {}), about)


def built_in(model: LanguageModel, held_out: HeldOutTexts) -> TextData:
    """Answers that a program judged; it also judges what is written for held-out prompts."""
    train, other = (builtin.instruction_pairs(split) for split in ("train", "validation"))
    groups = sum(len(builtin.instruction_groups(split)) for split in ("train", "validation"))
    other = other[: held_out.pairs]
    tasks = instructions.split(held_out.split)
    order = Key(("written prompts",)).permutation(len(tasks)).tolist()
    prompts = [builtin.asked(tasks[i].prompt) for i in order]
    ties = Dropped(ties=groups - len(train) - len(builtin.instruction_pairs("validation")))
    return TextData(
        train,
        other,
        held_out.writing(model, prompts, {"success": success, "score": score}),
        told("built-in checkable instructions", len(train), len(other), ties),
    )


def success(texts: Sequence[str], prompts: Sequence[str]) -> Float[Tensor, " texts"]:
    """1 where a sane answer meets every constraint of its instruction."""
    pairs = zip(texts, prompts, strict=True)
    return torch.tensor([float(instructions.task_within(p).strict(t)) for t, p in pairs])


def score(texts: Sequence[str], prompts: Sequence[str]) -> Float[Tensor, " texts"]:
    """The mean degree to which the constraints are met; what the pairs were made from."""
    pairs = zip(texts, prompts, strict=True)
    return torch.tensor([instructions.task_within(p).score(t) for t, p in pairs])


def digits(count: int, held_out: HeldOutTexts) -> TextData:
    """Sorting digits: pairs made by rule; those after the first `count` with other prompts are
    held out.  ValueError if there are not so many.
    """
    records = sorted_digits(count + 4 * held_out.pairs + 64)
    train, known = records[:count], {r.prompt for r in records[:count]}
    other = [r for r in records[count:] if r.prompt not in known][: held_out.pairs]
    if len(other) < held_out.pairs:
        raise ValueError(
            f"{count} pairs of digits to train on leave fewer than {held_out.pairs} with other "
            "prompts to hold out; lower `count` or `held_out.pairs`"
        )
    return TextData(train, other, facts=told("sorted digits", count, len(other), Dropped()))


def sorted_digits(count: int, seed: int = 0) -> list[TextPair]:
    """Prompts of four different digits; the winner has them in order, the loser has not."""
    records = []
    for i in range(count):
        key = Key(("sorted digits", seed, i))
        digits = [int(d) for d in key.permutation(10)[:4]]
        other = [digits[int(j)] for j in (key / "other").permutation(4)]
        if other == sorted(other):
            other = other[::-1]
        chosen, rejected = (" ".join(map(str, d)) for d in (sorted(digits), other))
        records.append(
            TextPair(f"sort {' '.join(map(str, digits))}: ", chosen, rejected, id=str(i))
        )
    return records
