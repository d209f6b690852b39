"""A file of preferences as one HTML page: what it holds in numbers, and its first records.

Everything here is plain data: pictures come as data URIs, numbers as JSON.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path

from scoreward.records.fields import Fields, Json, Numbers
from scoreward.report import html
from scoreward.verdict import words

BINS = 24  # of the histogram; ours
LONGER = 0.65  # share of longer winners that is worth a warning; ours
COMPARED = 4_000_000  # words times words beyond which differences are not searched; ours
KINDS = {
    "ImagePair": "pair", "TextPair": "pair", "ImageBinary": "picture", "TextBinary": "completion",
    "ImageGroup": "group", "TextGroup": "group",
}  # fmt: skip


@dataclass(frozen=True)
class Pane:
    """One candidate: a picture or a text."""

    label: str
    tone: str = ""  # "right" for the winner, "wrong" for the loser
    score: float | None = None
    picture: str | None = None  # a data URI
    text: str | None = None
    tokens: Sequence["Token"] = ()
    seen: str = ""  # the tokens in a sentence


@dataclass(frozen=True)
class Token:
    """One token as text; `kind` is "given" (the prompt, others' turns) or "trained"."""

    text: str
    kind: str


@dataclass(frozen=True)
class PairCard:
    """One record. A prompt is (role, text) of each message; a plain one has no role."""

    prompt: Sequence[tuple[str, str]]
    panes: Sequence[Pane]
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """One bin of the histogram; height in percent of the highest."""

    low: float
    high: float
    count: int
    height: float


@dataclass(frozen=True)
class PairNumbers:
    """The numbers of `scoreward pairs inspect --json`; None where a kind of file has none."""

    kind: str
    records: int
    prompts: int
    most_of_one_prompt: int
    ties: int
    skipped: int
    reasons: Mapping[str, int]
    first: Sequence[str]
    sources: Mapping[str, int]
    sizes: Mapping[str, int]
    gap: Numbers
    words: Sequence[Numbers]
    members: Numbers
    longer_won: float | None
    equally_long: float | None
    wanted: int | None
    tokens: Sequence[Numbers]  # of a prompt, and of an answer those that are trained
    cut: int
    refused: Sequence[str]

    @property
    def noun(self) -> str:
        return KINDS[self.kind]


def told(numbers: dict[str, Json]) -> PairNumbers:
    """The same as a record."""
    said = Fields(numbers, "the numbers of the file")
    seen = said.inside("tokens")
    return PairNumbers(
        kind=said.text("kind"),
        records=said.count("records") or 0,
        prompts=said.count("prompts") or 0,
        most_of_one_prompt=said.count("most_of_one_prompt") or 0,
        ties=said.count("ties") or 0,
        skipped=said.count("skipped") or 0,
        reasons=said.inside("reasons").counts(),
        first=said.texts("first"),
        sources=said.inside("sources").counts(),
        sizes=said.inside("sizes").counts(),
        gap=said.inside("gap").numbers(),
        words=[one.numbers() for one in said.each("words")],
        members=said.inside("members").numbers(),
        longer_won=said.number("longer_won"),
        equally_long=said.number("equally_long"),
        wanted=said.count("wanted"),
        tokens=[seen.inside(name).numbers() for name in ("prompt", "trained")],
        cut=seen.count("cut") or 0,
        refused=seen.texts("refused"),
    )


def write_pairs_page(
    out: Path,
    name: str,
    numbers: dict[str, Json],
    gaps: Sequence[float],
    cards: Sequence[PairCard],
) -> Path:
    """Write the page of a file called `name` and return its path; the old page stays if it fails.

    `numbers` are those of `scoreward pairs inspect --json`; `gaps` are score differences.
    """
    found = told(numbers)
    content = {
        "title": name,
        "headline": headline(found),
        "cautions": cautions(found),
        "facts": rows(found),
        "bars": histogram(gaps),
        "reasons": found.reasons,
        "first": found.first,
        "skipped": found.skipped,
        "cards": [(card, marked(card.panes)) for card in cards],
        "shown": len(cards),
        "records": found.records,
        "noun": found.noun,
        "side_by_side": found.kind in ("ImagePair", "ImageBinary"),
    }
    return html.write(out, html.page("pairs", content))


def headline(found: PairNumbers) -> str:
    """How many records of how many prompts."""
    records = f"{words.show(found.records)} {found.noun}{'s' * (found.records != 1)}"
    return f"{records} for {words.plural(found.prompts, 'prompt')}"


def cautions(found: PairNumbers) -> list[str]:
    """What to know before training on this."""
    said = []
    if found.skipped:
        rows = words.plural(found.skipped, "row")
        said.append(f"{rows} cannot be used and {'is' if rows == '1 row' else 'are'} left out.")
    if found.longer_won is not None and found.longer_won > LONGER:
        said.append(
            f"The longer completion won {100 * found.longer_won:.0f} % of the pairs, so length "
            "alone predicts much of the preference; normalise by length, or compare with length "
            "controlled."
        )
    if found.cut:
        said.append(
            f"{words.plural(found.cut, 'answer')} {'is' if found.cut == 1 else 'are'} longer than "
            "the model's context and will be cut, without an end."
        )
    said += [f"Training will refuse this file: {found.refused[0]}"] if found.refused else []
    below = int(found.gap.get("below_zero", 0))
    if below:
        said.append(
            f"In {words.plural(below, 'pair')} the winner has the lower score: whoever preferred "
            "did not go by this score."
        )
    return said


def rows(found: PairNumbers) -> list[tuple[str, str]]:
    """The numbers as lines of a table, of those that there are."""
    names = {"TextPair": ("Winner's words", "Loser's words"),
             "TextBinary": ("Words, wanted", "Words, unwanted")}  # fmt: skip
    longer, equal, wanted = found.longer_won, found.equally_long or 0.0, found.wanted
    lines = [
        ("Most of one prompt", words.show(found.most_of_one_prompt)),
        ("Ties left out", words.show(found.ties)),
        ("Faulty rows left out", words.show(found.skipped)),
        ("Preferred by", _counts(found.sources)),
        ("Score gap", _spread(found.gap)),
        *zip(names.get(found.kind, ("Words",)), map(_spread, found.words)),
        *zip(("Tokens of a prompt", "Tokens trained of an answer"), map(_spread, found.tokens)),
        ("The longer one won", "" if longer is None
         else f"{100 * longer:.0f} %, and {100 * equal:.0f} % are equally long"),
        ("Wanted", "" if wanted is None
         else f"{words.show(wanted)} ({100 * wanted / max(1, found.records):.0f} %)"),
        ("Members of a group", _spread(found.members)),
        ("Sizes of pictures", _counts(found.sizes)),
    ]  # fmt: skip
    return [line for line in lines if line[1]]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({words.show(count)})" for name, count in counts.items())


def _spread(values: Numbers) -> str:
    shown = {name: words.show(int(v) if v == int(v) else v) for name, v in values.items()}
    few = "mean {mean}, median {median}, {low} to {high}"
    return few.format(**shown) if shown else ""


def histogram(values: Sequence[float]) -> list[Bar]:
    """Equal bins from the lowest to the highest; one of them begins at 0 if both signs occur."""
    if not values:
        return []
    low, high = min(values), max(values)
    if low == high:
        return [Bar(low, high, len(values), 100.0)]
    width = high / BINS - low / BINS
    if low < 0 < high:
        low = -width * -(low // width)
    edges = [low + i * width for i in range(BINS + 1)]
    if edges[-1] < high:
        edges.append(edges[-1] + width)
    counts = [0] * (len(edges) - 1)
    for value in values:
        counts[min(int(value / width - low / width), len(counts) - 1)] += 1
    most = max(counts)
    return [Bar(a, b, count, 100 * count / most) for (a, b), count in zip(pairwise(edges), counts)]


def marked(panes: Sequence[Pane]) -> list[list[tuple[str, bool]]]:
    """The text of each pane in pieces; True where two texts differ."""
    texts = [pane.text for pane in panes if pane.text is not None]
    if len(texts) != 2 or len(panes) != 2:
        return [[(pane.text or "", False)] for pane in panes]
    first, second = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in texts)
    if len(first) * len(second) > COMPARED:
        return [[(text, False)] for text in texts]
    steps = SequenceMatcher(None, first, second, autojunk=False).get_opcodes()
    return [
        [("".join(first[a:b]), tag != "equal") for tag, a, b, _, _ in steps if a < b],
        [("".join(second[a:b]), tag != "equal") for tag, _, _, a, b in steps if a < b],
    ]
