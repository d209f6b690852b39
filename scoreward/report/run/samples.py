"""What a run kept for the eye: the same prompts and seeds through the training.

Grids of pictures are cut into single ones; of a language model it is the texts.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from scoreward.records.fields import Series
from scoreward.records.run import SAMPLERS, SavedRun
from scoreward.verdict.words import label, show

SMALL = 64  # pictures up to this many pixels are shown as sharp squares; ours
LARGE = 256  # larger pictures are shrunk to this, to keep the page small; ours
WORST = 8  # failures shown of each kind; ours
LONGEST = 1200  # characters of a text; ours


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

    prompts: Sequence[str]
    pictures: Mapping[int, list[str]]
    right: Mapping[int, Sequence[bool | None]]
    scores: Mapping[int, Mapping[str, Series]]
    sharp: bool

    def tile(self, round_: int, index: int, label: str) -> Tile:
        return Tile(self.pictures[round_][index], label, self.mark(round_, index))

    def mark(self, round_: int, index: int) -> bool | None:
        marks = self.right.get(round_, ())
        return marks[index] if index < len(marks) else None

    def score(self, round_: int, name: str, index: int) -> float | None:
        values = self.scores.get(round_, {}).get(name, [])
        return values[index] if index < len(values) else None

    def row(self, rounds: Sequence[int], index: int) -> list[Tile]:
        """One prompt's pictures at some rounds."""
        return [
            self.tile(r, index, f"round {r}" if r else "before")
            for r in rounds
            if index < len(self.pictures[r])
        ]


def read_sheets(run: SavedRun) -> Sheets:
    """The run's pictures; a picture file that cannot be read is left out and noted."""
    kept, folder = run.pictures, run.folder / "samples"
    sampler = next((s for s in SAMPLERS if any(folder.glob(f"*_{s}.png"))), SAMPLERS[0])
    cuts = {
        r: cut(folder / f"{r:06d}_{sampler}.png", kept.size, kept.columns, run.notes)
        for r in kept.rounds
    }
    pictures = {r: p[: len(kept.prompts)] for r, p in cuts.items() if p and kept.prompts}
    right = {r: kept.right.get(r, {}).get(sampler, []) for r in pictures}
    scores = {r: kept.scores.get(r, {}).get(sampler, {}) for r in pictures}
    return Sheets(kept.prompts, pictures, right, scores, kept.size[0] <= SMALL)


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
    return [data_uri(sheet.crop((x, y, x + width, y + height))) for x, y in corners]


def data_uri(picture: Image.Image) -> str:
    """A picture as the page holds it: small ones as they are, large ones shrunk."""
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
    return [Card(p, sheets.row(rounds, i)) for i, p in enumerate(sheets.prompts) if rounds]


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
    shown = range(len(sheets.pictures[last]))
    wrong = [i for i in shown if sheets.mark(last, i) is False]
    lost = [i for i in wrong if first < last and sheets.mark(first, i) is True]
    # where the reward thinks better of a picture than the judge does, or there is no judge
    rewards, judges = ([sheets.score(last, n, i) for i in shown] for n in ("reward", "judge"))
    unshared = [
        i for i in wrong if (r := rewards[i]) is not None
        and ((j := judges[i]) is None or r > j)
    ]  # fmt: skip
    fooled = _highest(unshared, lambda i: rewards[i])[: (len(wrong) + 1) // 2]
    rest = _highest(wrong, lambda i: -(judges[i] or 0.0))
    groups = [
        ("The reward is more content than the judge", "Highest rewards among pictures that the "
         "judge finds wrong: the first place to look for reward hacking.", fooled),
        ("Lost in training", "Right before training, wrong after it.", lost),
        ("Still wrong", "The judge's lowest scores among the rest.", rest),
    ]  # fmt: skip
    names = [n for n in sheets.scores.get(last, {}) if n != "strict"]  # the mark says it
    seen: set[int] = set()
    result = []
    for title, meaning, found in groups:
        cards = []
        for i in [i for i in found if i not in seen][:WORST]:
            seen.add(i)
            said = [(n, sheets.score(last, n, i)) for n in names]
            note = ", ".join(f"{n} {show(value, 2)}" for n, value in said if value is not None)
            cards.append(Card(sheets.prompts[i], sheets.row(sorted({first, last}), i), note))
        if cards:
            result.append((title, meaning, cards))
    return result


def _highest(indices: list[int], score: Callable[[int], float | None]) -> list[int]:
    known = [(value, i) for i in indices if (value := score(i)) is not None]
    return [i for _, i in sorted(known, reverse=True)]


@dataclass(frozen=True)
class TextSample:
    """One text with its scores in words."""

    label: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class Written:
    """The first and the last text of one prompt; there may be only one."""

    prompt: str
    before: TextSample
    after: TextSample | None = None


def written(run: SavedRun) -> list[Written]:
    """A card a prompt, in the order of the evaluation."""
    rounds = sorted(run.texts.texts)
    ends = dict.fromkeys([*rounds[:1], *rounds[-1:]])
    return [
        Written(_cut(prompt), *(_writing(run, r, i) for r in ends))
        for i, prompt in enumerate(run.texts.prompts)
        if ends
    ]


def _writing(run: SavedRun, round_: int, index: int) -> TextSample:
    texts = run.texts.texts[round_]
    notes = [
        f"{label(name).lower()} {show(values[index])}"
        for name, values in run.texts.scores.get(round_, {}).items()
        if index < len(values)
    ]
    when = "Before training" if round_ == 0 else f"After round {round_}"
    text = texts[index] if index < len(texts) else ""
    return TextSample(when, _cut(text.strip()), ", ".join(notes))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"
