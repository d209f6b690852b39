"""Layouts of public picture preferences: Pick-a-Pic, HPD v2 and ImageRewardDB.

Ranks are better when lower in all of them. A ranked group gives every ordered pair, or is read as
the group it is, scored by the negative of its ranks.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from PIL.Image import Image

from scoreward.data.preferences.faults import Unusable
from scoreward.data.preferences.layouts import TIE, Layout, Made, cell, number, text
from scoreward.data.preferences.pictures import opened
from scoreward.data.preferences.records import ImageGroup, ImagePair
from scoreward.data.preferences.tables import Row

PEOPLE = "people"


def _pick_a_pic(rows: Sequence[Row], folder: Path) -> Made:
    """label_0 is 1 if the first picture was preferred, 0 if the second was, 0.5 for a tie."""
    row = rows[0]
    label = number("label_0", cell(row, "label_0"))
    if label not in (0.0, 0.5, 1.0):
        raise Unusable(f"label_0 is {label:g}; expected 1, 0, or 0.5 for a tie")
    both = [opened(name, cell(row, name), folder) for name in ("jpg_0", "jpg_1")]
    known = str(row.get("ranking_id") or "")
    yield from _ordered(text(row, "caption"), both, [-label, label - 1], known)


def _hpd_choice(rows: Sequence[Row], folder: Path) -> Made:
    """The training part: two pictures, 1 for the one that was preferred."""
    row = rows[0]
    chosen = cell(row, "human_preference")
    if not isinstance(chosen, list) or any(c not in (0, 1) for c in chosen):
        raise Unusable(f"human_preference is {chosen!r}; expected one 0 or 1 for each picture")
    images = _images(row, "image_path" if "image_path" in row else "file_path", folder)
    yield from _ordered(text(row, "prompt"), images, [-float(c) for c in chosen])


def _hpd_pairs(rows: Sequence[Row], folder: Path) -> Made:
    """The test part: several pictures with the ranks people gave them."""
    yield from _pairs(*_ranked(rows[0], "image_path", "rank", folder))


def _hpd_group(rows: Sequence[Row], folder: Path) -> Made:
    yield _group(*_ranked(rows[0], "image_path", "rank", folder))


def _reward_db_pair(rows: Sequence[Row], folder: Path) -> Made:
    """ImageRewardDB already cut into pairs."""
    row = rows[0]
    better, worse = (opened(n, cell(row, n), folder) for n in ("img_better", "img_worse"))
    known = str(row.get("prompt_id") or "")
    yield ImagePair(text(row, "prompt"), better, worse, id=known, source=PEOPLE)


def _gathered(rows: Sequence[Row], folder: Path) -> tuple[str, list[Image], list[float], str]:
    """One picture a row; the rows of one prompt follow each other."""
    name = "image" if "image" in rows[0] else "image_path"
    images = [opened(name, cell(row, name), folder) for row in rows]
    ranks = [number("rank", cell(row, "rank")) for row in rows]
    return text(rows[0], "prompt"), images, ranks, str(rows[0]["prompt_id"] or "")


def _reward_db_pairs(rows: Sequence[Row], folder: Path) -> Made:
    yield from _pairs(*_gathered(rows, folder))


def _reward_db_group(rows: Sequence[Row], folder: Path) -> Made:
    yield _group(*_gathered(rows, folder))


def _reward_list_pairs(rows: Sequence[Row], folder: Path) -> Made:
    """One prompt a row, with all its pictures."""
    yield from _pairs(*_ranked(rows[0], *_names(rows[0]), folder))


def _reward_list_group(rows: Sequence[Row], folder: Path) -> Made:
    yield _group(*_ranked(rows[0], *_names(rows[0]), folder))


def _names(row: Row) -> tuple[str, str]:
    return ("generations", "ranking") if "generations" in row else ("images", "rank")


def _images(row: Row, name: str, folder: Path) -> list[Image]:
    found: Any = cell(row, name)
    if not isinstance(found, list):
        raise Unusable(f"{name} is {found!r}, not a list of pictures"[:200])
    return [opened(f"{name} {i}", one, folder) for i, one in enumerate(found)]


def _ranked(
    row: Row, pictures: str, ranks: str, folder: Path
) -> tuple[str, list[Image], list[float], str]:
    values = cell(row, ranks)
    if not isinstance(values, list):
        raise Unusable(f"{ranks} is {values!r}, not a list of numbers"[:200])
    known = str(row.get("prompt_id") or row.get("id") or "")
    numbers = [number(ranks, v) for v in values]
    return text(row, "prompt"), _images(row, pictures, folder), numbers, known


def _pairs(prompt: str, images: list[Image], ranks: list[float], known: str) -> Made:
    if min(ranks, default=0.0) < 0:
        raise Unusable(f"rank {min(ranks):g} is below 0; the best has the lowest rank")
    yield from _ordered(prompt, images, ranks, known)


def _ordered(prompt: str, images: list[Image], ranks: list[float], known: str = "") -> Made:
    """Every pair of pictures, the one of lower rank first; equal ranks are ties."""
    if len(images) < 2 or len(images) != len(ranks):
        raise Unusable(f"there are {len(images)} pictures and {len(ranks)} judgements of them")
    for i, j in combinations(range(len(images)), 2):
        if ranks[i] == ranks[j]:
            yield TIE
            continue
        w, l = (i, j) if ranks[i] < ranks[j] else (j, i)  # noqa: E741
        yield ImagePair(prompt, images[w], images[l], id=known, source=PEOPLE)


def _group(prompt: str, images: list[Image], ranks: list[float], known: str) -> ImageGroup:
    return ImageGroup(prompt, images, {PEOPLE: [-rank for rank in ranks]}, id=known)


PUBLIC_IMAGES = (
    Layout("pick-a-pic", frozenset({"caption", "jpg_0", "jpg_1", "label_0"}),
           {ImagePair: _pick_a_pic}),
    Layout("hpd-v2 choices", frozenset({"prompt", "human_preference", "image_path"}),
           {ImagePair: _hpd_choice}),
    Layout("hpd-v2 choices by file_path", frozenset({"prompt", "human_preference", "file_path"}),
           {ImagePair: _hpd_choice}),
    Layout("image-reward-db pairs", frozenset({"prompt", "img_better", "img_worse"}),
           {ImagePair: _reward_db_pair}),
    Layout("image-reward-db", frozenset({"prompt", "prompt_id", "image", "rank"}),
           {ImagePair: _reward_db_pairs, ImageGroup: _reward_db_group}, "prompt_id"),
    Layout("image-reward-db metadata", frozenset({"prompt", "prompt_id", "image_path", "rank"}),
           {ImagePair: _reward_db_pairs, ImageGroup: _reward_db_group}, "prompt_id"),
    Layout("image-reward-db groups", frozenset({"prompt", "prompt_id", "images", "rank"}),
           {ImagePair: _reward_list_pairs, ImageGroup: _reward_list_group}),
    Layout("image-reward test", frozenset({"prompt", "generations", "ranking"}),
           {ImagePair: _reward_list_pairs, ImageGroup: _reward_list_group}),
    Layout("hpd-v2 ranks", frozenset({"prompt", "image_path", "rank"}),
           {ImagePair: _hpd_pairs, ImageGroup: _hpd_group}),
)  # fmt: skip
