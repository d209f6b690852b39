"""What sorts records: splits by prompt, each pair once, pairs as wanted and unwanted halves."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from PIL.Image import Image

from scoreward.data.holding import Cut, cut, share_of
from scoreward.data.pictures import rgb
from scoreward.data.preferences.records import (
    Binary,
    ImageBinary,
    ImagePair,
    Pair,
    PreferenceError,
    Prompt,
    Record,
    TextBinary,
    TextPair,
    completions,
    pictures,
)


def key_of(prompt: Prompt) -> str:
    """A prompt as one text, so that chats can be counted, compared and split like texts."""
    if isinstance(prompt, str):
        return prompt
    return json.dumps([[m["role"], m["content"]] for m in prompt], ensure_ascii=False)


def split(records: Iterable[Record], held_out: float) -> tuple[list[int], list[int]]:
    """Indices of (kept, held out): prompts whose hash falls into the share; maybe none.

    A prompt is on one side only, in this file and in every other.
    """
    if not 0 < held_out < 1:
        raise PreferenceError(f"the share held out must be between 0 and 1, got {held_out}")
    both: tuple[list[int], list[int]] = ([], [])
    for i, record in enumerate(records):
        both[share_of(key_of(record.prompt)) < held_out].append(i)
    return both


@dataclass(frozen=True)
class Listing:
    """Of records their prompts as texts, marks of their pictures, and what they are worth."""

    keys: Sequence[str]
    marks: Sequence[Sequence[bytes]]
    values: Sequence[float | None]  # of a pair the gap of its scores, of one picture its label

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Listing":
        """In one pass, and no picture is held."""
        keys, marks, values = list[str](), list[list[bytes]](), list[float | None]()
        for one in records:
            keys.append(key_of(one.prompt))
            marks.append([mark_of(image) for image in pictures(one)])
            worth = float(one.desirable) if isinstance(one, Binary) else None
            if isinstance(one, Pair) and one.score_w is not None and one.score_l is not None:
                worth = one.score_w - one.score_l
            values.append(worth)
        return cls(keys, marks, values)


def divided(records: Iterable[Record] | Listing, held_out: float) -> Cut:
    """What a run trains on, and what it measures on: at least one prompt on either side.

    Raises PreferenceError where there is only one prompt, or where all share pictures.
    """
    made = parted(records, held_out)
    if not made.held:
        count = len(made.kept)
        raise PreferenceError(
            f"all {count} records are for one prompt, or for prompts that share pictures, so no "
            "prompt is left to measure on; add records of other prompts"
        )
    return made


def parted(records: Iterable[Record] | Listing, held_out: float, use: str = "") -> Cut:
    """About this share of the prompts, at least one if there are two, chosen by their text alone.

    `use` is the salt: what another use has left is cut anew. A prompt is on one side only, in
    whatever spaces and capitals, and so is a picture.
    """
    if not 0 < held_out < 1:
        raise PreferenceError(f"the share held out must be between 0 and 1, got {held_out}")
    listed = records if isinstance(records, Listing) else Listing.of(records)
    return cut(listed.keys, held_out, use, listed.marks)


def once(pairs: Iterable[Pair]) -> list[int]:
    """Indices of the pairs whose prompt, winner and loser were not there before."""
    seen: set[bytes] = set()
    kept: list[int] = []
    for i, pair in enumerate(pairs):
        mark = _digest(key_of(pair.prompt), *completions(pair), *pictures(pair))
        if mark not in seen:
            seen.add(mark)
            kept.append(i)
    return kept


def mark_of(picture: Image) -> bytes:
    """A mark of what a picture looks like."""
    return _digest(picture)


def _digest(*parts: str | Image) -> bytes:
    """A mark of texts and of pictures as they look, that no others have."""
    mark = hashlib.blake2b(digest_size=16)
    for part in parts:
        size, body = (), part.encode() if isinstance(part, str) else b""
        if isinstance(part, Image):
            size, body = part.size, rgb(part).tobytes()
        mark.update(repr((size, len(body))).encode())
        mark.update(body)
    return mark.digest()


def text_halves(pairs: Iterable[TextPair]) -> Iterator[TextBinary]:
    """Each pair as one wanted and one unwanted completion."""
    for pair in pairs:
        yield TextBinary(pair.prompt, pair.chosen, True, id=pair.id)
        yield TextBinary(pair.prompt, pair.rejected, False, id=pair.id)


def image_halves(pairs: Sequence[ImagePair]) -> Iterator[ImageBinary]:
    """Each picture of a prompt once, wanted if it won at least one of its pairs.

    [diffusion-kto] (labels) Pictures are told apart by their pixels. Reads the pairs twice and
    holds no picture.
    """
    counts: dict[bytes, list[int]] = {}
    for pair in pairs:
        for place, image in enumerate((pair.winner, pair.loser)):
            counts.setdefault(_digest(pair.prompt, image), [0, 0])[place] += 1
    for pair in pairs:
        for image in (pair.winner, pair.loser):
            known = counts.pop(_digest(pair.prompt, image), None)
            if known is not None:
                wins, losses = known
                yield ImageBinary(pair.prompt, image, wins > 0, wins, losses)
