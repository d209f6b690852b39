"""Sample grids cut into single pictures: the same prompts and seeds through the training."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from scoreward.report.folder import SAMPLERS, SavedRun, items, number, section
from scoreward.report.words import show

SMALL = 64  # pictures up to this many pixels are shown as sharp squares; ours
LARGE = 256  # larger pictures are shrunk to this, to keep the page small; ours
WORST = 8  # failures shown of each kind; ours


@dataclass(frozen=True)
class Tile:
    """One picture, ready for the page; `right` is the judge's word, if there is one."""

    uri: str
    label: str
    right: bool | None = None


@dataclass(frozen=True)
class Card:
    """Pictures of one prompt."""

    prompt: str
    tiles: list[Tile]
    note: str = ""


@dataclass(frozen=True)
class Sheets:
    """All pictures of a run under one sampler, by round."""

    prompts: list[str]
    pictures: dict[int, list[str]]
    right: dict[int, list[Any]]
    scores: dict[int, dict[str, list[Any]]]
    sharp: bool

    def tile(self, round_: int, index: int, label: str) -> Tile:
        marks = self.right.get(round_, [])
        right = marks[index] if index < len(marks) and isinstance(marks[index], bool) else None
        return Tile(self.pictures[round_][index], label, right)

    def score(self, round_: int, name: str, index: int) -> float | None:
        values = self.scores.get(round_, {}).get(name, [])
        return number(values[index]) if index < len(values) else None


def read_sheets(run: SavedRun) -> Sheets:
    """The run's pictures; a picture file that cannot be read is left out and noted."""
    index, folder = run.samples, run.folder / "samples"
    tile = int(number(index.get("tile")) or 16)
    height = int(number(index.get("height")) or tile)
    columns = int(number(index.get("columns")) or 8)
    sampler = next((s for s in SAMPLERS if any(folder.glob(f"*_{s}.png"))), SAMPLERS[0])
    rounds = [int(r) for r in map(number, items(index, "rounds")) if r is not None]
    prompts = [str(p) for p in items(index, "prompts")]
    pictures = {
        r: cut(folder / f"{r:06d}_{sampler}.png", (tile, height), columns, run.notes)[
            : len(prompts)
        ]
        for r in sorted(rounds)
    }
    pictures = {r: p for r, p in pictures.items() if p}
    right = {r: items(section(index, "right", str(r)), sampler) for r in pictures}
    scores = {r: section(index, "scores", str(r), sampler) for r in pictures}
    return Sheets(prompts, pictures, right, scores, tile <= SMALL)


def cut(path: Path, tile: tuple[int, int], columns: int, notes: list[str]) -> list[str]:
    """The tiles, (width, height) each, of one grid, row by row, as data URIs."""
    if not path.is_file():
        return []
    try:
        sheet = Image.open(path).convert("RGB")
    except (UnidentifiedImageError, OSError):
        notes.append(f"samples/{path.name} could not be read and was left out.")
        return []
    width, height = tile
    corners = [
        (width * x, height * y)
        for y in range(sheet.height // height)
        for x in range(min(columns, sheet.width // width))
    ]
    return [_uri(sheet.crop((x, y, x + width, y + height))) for x, y in corners]


def _uri(picture: Image.Image) -> str:
    file, kind = BytesIO(), "png"
    if picture.width > SMALL:
        kind = "webp"
        picture.thumbnail((LARGE, LARGE))
    picture.save(file, format=kind, quality=88)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def through_training(sheets: Sheets) -> list[Card]:
    """Every prompt before, half way and after."""
    rounds = sorted(sheets.pictures)
    if len(rounds) > 3:
        middle = min(rounds[1:-1], key=lambda r: abs(r - rounds[-1] / 2))
        rounds = [rounds[0], middle, rounds[-1]]
    return [Card(p, _row(sheets, rounds, i)) for i, p in enumerate(sheets.prompts) if rounds]


def _row(sheets: Sheets, rounds: list[int], index: int) -> list[Tile]:
    """One prompt's pictures at some rounds."""
    return [
        sheets.tile(r, index, f"round {r}" if r else "before")
        for r in rounds
        if index < len(sheets.pictures[r])
    ]


def beside(mine: Sheets, other: Sheets) -> list[Card]:
    """The last pictures of two runs for the prompts that both have."""
    if not other.pictures:
        return []
    last = max(other.pictures)
    here = max(mine.pictures, default=0)
    cards = []
    for i, prompt in enumerate(other.prompts[: len(other.pictures[last])]):
        tiles = [other.tile(last, i, "beside")]
        match = mine.prompts.index(prompt) if prompt in mine.prompts else None
        if match is not None and match < len(mine.pictures.get(here, [])):
            tiles.insert(0, mine.tile(here, match, "this run"))
        cards.append(Card(prompt, tiles))
    return cards


def failures(sheets: Sheets) -> list[tuple[str, str, list[Card]]]:
    """(title, meaning, cards) of what went wrong in the last round, each picture once."""
    if not sheets.pictures:
        return []
    first, last = min(sheets.pictures), max(sheets.pictures)
    wrong = [i for i, right in enumerate(sheets.right.get(last, [])) if right is False]
    wrong = [i for i in wrong if i < len(sheets.pictures[last])]
    before = sheets.right.get(first, [])
    lost = [i for i in wrong if first < last and i < len(before) and before[i] is True]
    unshared = [i for i in wrong if _unshared(sheets, last, i)]
    fooled = _highest(unshared, lambda i: sheets.score(last, "reward", i))[: (len(wrong) + 1) // 2]
    rest = _highest(wrong, lambda i: -(sheets.score(last, "judge", i) or 0.0))
    groups = [
        ("The reward is more content than the judge", "Highest rewards among pictures that the "
         "judge finds wrong: the first place to look for reward hacking.", fooled),
        ("Lost in training", "Right before training, wrong after it.", lost),
        ("Still wrong", "The judge's lowest scores among the rest.", rest),
    ]  # fmt: skip
    seen: set[int] = set()
    result = []
    for title, meaning, found in groups:
        new = [i for i in found if i not in seen][:WORST]
        seen.update(new)
        if new:
            result.append((title, meaning, [_failure(sheets, first, last, i) for i in new]))
    return result


def _unshared(sheets: Sheets, round_: int, index: int) -> bool:
    """Whether the reward thinks better of a picture than the judge does, or there is no judge."""
    reward, judge = (sheets.score(round_, name, index) for name in ("reward", "judge"))
    return reward is not None and (judge is None or reward > judge)


def _highest(indices: list[int], score: Callable[[int], float | None]) -> list[int]:
    known = [(value, i) for i in indices if (value := score(i)) is not None]
    return [i for _, i in sorted(known, reverse=True)]


def _failure(sheets: Sheets, first: int, last: int, index: int) -> Card:
    tiles = _row(sheets, sorted({first, last}), index)
    names = [n for n in sheets.scores.get(last, {}) if n != "strict"]  # the mark says it
    scores = [(n, sheets.score(last, n, index)) for n in names]
    note = ", ".join(f"{n} {show(value, 2)}" for n, value in scores if value is not None)
    return Card(sheets.prompts[index], tiles, note)
