"""Layouts of public picture preferences: Pick-a-Pic, HPD v2 and ImageRewardDB.

Ranks are better when lower in all of them. A ranked group gives every ordered pair, or is read as
the group it is, scored by the negative of its ranks.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

from PIL.Image import Image

from scoreward.data.preferences.layouts import (
    TIE,
    Layout,
    Made,
    Make,
    cell,
    flag,
    maybe,
    number,
    opened,
    picture,
    text,
    word,
)
from scoreward.data.preferences.records import ImageBinary, ImageGroup, ImagePair, Unusable
from scoreward.data.preferences.tables import Row

PEOPLE = "people"
Ranked = tuple[str, list[Image], list[float], str]
"""A prompt, its pictures, their ranks, and an id."""


def _pick_a_pic(rows: Sequence[Row], folder: Path) -> Made:
    """label_0 is 1 if the first picture was preferred, 0 if the second was, 0.5 for a tie."""
    row = rows[0]
    label = number("label_0", cell(row, "label_0"))
    if label not in (0.0, 0.5, 1.0):
        raise Unusable(f"label_0 is {label:g}; expected 1, 0, or 0.5 for a tie")
    both = [picture(row, name, folder) for name in ("jpg_0", "jpg_1")]
    yield from _ordered(text(row, "caption"), both, [-label, label - 1], word(row, "ranking_id"))


def _hpd_choice(rows: Sequence[Row], folder: Path) -> Made:
    """The training part: two pictures, 1 for the one that was preferred."""
    row = rows[0]
    chosen = cell(row, "human_preference")
    if not isinstance(chosen, list) or any(c not in (0, 1) for c in chosen):
        raise Unusable(f"human_preference is {chosen!r}; expected one 0 or 1 for each picture")
    images = _images(row, "image_path" if "image_path" in row else "file_path", folder)
    yield from _ordered(text(row, "prompt"), images, [-float(c) for c in chosen])


def _reward_db_pair(rows: Sequence[Row], folder: Path) -> Made:
    """ImageRewardDB already cut into pairs."""
    row = rows[0]
    better, worse = (picture(row, name, folder) for name in ("img_better", "img_worse"))
    known = word(row, "prompt_id")
    yield ImagePair(text(row, "prompt"), better, worse, id=known, source=PEOPLE)


def _voted(rows: Sequence[Row], folder: Path, pictures: str, votes: str) -> Made:
    """Two pictures and how many were for each, both as columns that end in 1 and 2."""
    row = rows[0]
    both = [picture(row, pictures.format(n), folder) for n in (1, 2)]
    counts = [number(votes.format(n), cell(row, votes.format(n))) for n in (1, 2)]
    yield from _more(text(row, "prompt"), both, counts)


def _hpd_v3(rows: Sequence[Row], folder: Path) -> Made:
    """path1 was preferred; where the votes for both stand there, they decide."""
    row = rows[0]
    both = [picture(row, name, folder) for name in ("path1", "path2")]
    votes = row.get("choice_dist")
    if votes is None:
        yield ImagePair(text(row, "prompt"), both[0], both[1], source=PEOPLE)
        return
    if not isinstance(votes, list) or len(votes) != 2:
        raise Unusable(f"choice_dist is {votes!r}; expected the votes for path1 and for path2")
    yield from _more(text(row, "prompt"), both, [number("choice_dist", v) for v in votes])


def _more(prompt: str, both: list[Image], votes: list[float]) -> Made:
    """The picture with more votes won; as many are a tie."""
    if votes[0] == votes[1]:
        yield TIE
        return
    w, l = (0, 1) if votes[0] > votes[1] else (1, 0)  # noqa: E741
    yield ImagePair(prompt, both[w], both[l], votes[w], votes[l], source=PEOPLE)


def chosen_pictures(rows: Sequence[Row], folder: Path) -> Made:
    """Pictures in the columns of answers, as TRL has them; equal scores are a tie."""
    row = rows[0]
    won, lost = (picture(row, name, folder) for name in ("chosen", "rejected"))
    names = ("score_chosen", "score_rejected") if "score_chosen" in row else ("score_w", "score_l")
    better, worse = (maybe(row, name) for name in names)
    if better is not None and better == worse and "score_chosen" in row:
        yield TIE
        return
    known = word(row, "id"), word(row, "source")
    yield ImagePair(text(row, "prompt"), won, lost, better, worse, *known)


def labelled_picture(rows: Sequence[Row], folder: Path) -> Made:
    """A picture in the column of the completion, and its label."""
    row = rows[0]
    image = picture(row, "completion", folder)
    yield ImageBinary(text(row, "prompt"), image, flag(row, "label"), id=word(row, "id"))


def _gathered(rows: Sequence[Row], folder: Path) -> Ranked:
    """One picture a row; the rows of one prompt follow each other."""
    name = "image" if "image" in rows[0] else "image_path"
    images = [picture(row, name, folder) for row in rows]
    ranks = [number("rank", cell(row, "rank")) for row in rows]
    return text(rows[0], "prompt"), images, ranks, word(rows[0], "prompt_id")


def _images(row: Row, name: str, folder: Path) -> list[Image]:
    found = cell(row, name)
    if not isinstance(found, list):
        raise Unusable(f"{name} is {found!r}, not a list of pictures"[:200])
    return [opened(f"{name} {i}", one, folder) for i, one in enumerate(found)]


def _ranked(rows: Sequence[Row], folder: Path, pictures: str, ranks: str) -> Ranked:
    """One prompt a row, with all its pictures and the ranks people gave them."""
    row, values = rows[0], cell(rows[0], ranks)
    if not isinstance(values, list):
        raise Unusable(f"{ranks} is {values!r}, not a list of numbers"[:200])
    numbers = [number(ranks, v) for v in values]
    known = word(row, "prompt_id") or word(row, "id")
    return text(row, "prompt"), _images(row, pictures, folder), numbers, known


def _either(ranked: Callable[[Sequence[Row], Path], Ranked]) -> Mapping[type, Make]:
    """All pairs of a ranking, or the group it is."""

    def pairs(rows: Sequence[Row], folder: Path) -> Made:
        prompt, images, ranks, known = ranked(rows, folder)
        if min(ranks, default=0.0) < 0:
            raise Unusable(f"rank {min(ranks):g} is below 0; the best has the lowest rank")
        yield from _ordered(prompt, images, ranks, known)

    def group(rows: Sequence[Row], folder: Path) -> Made:
        prompt, images, ranks, known = ranked(rows, folder)
        yield ImageGroup(prompt, images, {PEOPLE: [-rank for rank in ranks]}, id=known)

    return {ImagePair: pairs, ImageGroup: group}


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


PUBLIC_IMAGES = (
    Layout("rapidata", frozenset({"prompt", "image1", "image2",
           "weighted_results_image1_preference", "weighted_results_image2_preference"}),
           {ImagePair: partial(_voted, pictures="image{}",
                               votes="weighted_results_image{}_preference")}),
    Layout("rapidata votes", frozenset({"prompt", "image1", "image2", "votes_image1",
           "votes_image2"}),
           {ImagePair: partial(_voted, pictures="image{}", votes="votes_image{}")}),
    Layout("hpd-v3", frozenset({"prompt", "path1", "path2"}), {ImagePair: _hpd_v3}),
    Layout("pick-a-pic", frozenset({"caption", "jpg_0", "jpg_1", "label_0"}),
           {ImagePair: _pick_a_pic}),
    Layout("hpd-v2 choices", frozenset({"prompt", "human_preference", "image_path"}),
           {ImagePair: _hpd_choice}),
    Layout("hpd-v2 choices by file_path", frozenset({"prompt", "human_preference", "file_path"}),
           {ImagePair: _hpd_choice}),
    Layout("image-reward-db pairs", frozenset({"prompt", "img_better", "img_worse"}),
           {ImagePair: _reward_db_pair}),
    Layout("image-reward-db", frozenset({"prompt", "prompt_id", "image", "rank"}),
           _either(_gathered), "prompt_id"),
    Layout("image-reward-db metadata", frozenset({"prompt", "prompt_id", "image_path", "rank"}),
           _either(_gathered), "prompt_id"),
    Layout("image-reward-db groups", frozenset({"prompt", "prompt_id", "images", "rank"}),
           _either(partial(_ranked, pictures="images", ranks="rank"))),
    Layout("image-reward test", frozenset({"prompt", "generations", "ranking"}),
           _either(partial(_ranked, pictures="generations", ranks="ranking"))),
    Layout("hpd-v2 ranks", frozenset({"prompt", "image_path", "rank"}),
           _either(partial(_ranked, pictures="image_path", ranks="rank"))),
)  # fmt: skip
