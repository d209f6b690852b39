"""A file of preferences as one HTML page: what it holds in numbers, and its first records.

Everything here is plain data: pictures come as data URIs, numbers as JSON.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from scoreward.report import words
from scoreward.report.run import page

HERE = Path(__file__).parent
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


def write_pairs_page(
    out: Path,
    name: str,
    numbers: Mapping[str, Any],
    gaps: Sequence[float],
    cards: Sequence[PairCard],
) -> Path:
    """Write the page of a file called `name` and return its path; the old page stays if it fails.

    `numbers` are those of `scoreward pairs inspect --json`; `gaps` are score differences.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise ValueError(f"`out` must be a file in a folder that exists, got {out}")
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(show=words.show, plural=words.plural)
    css = "".join((HERE / f).read_text(encoding="utf-8") for f in ("report.css", "pairs.css"))
    text = environment.get_template("pairs.html.j2").render(
        css=Markup(css),
        title=name,
        headline=headline(numbers),
        cautions=cautions(numbers),
        facts=rows(numbers),
        bars=histogram(gaps),
        reasons=numbers["reasons"],
        first=numbers["first"],
        skipped=numbers["skipped"],
        cards=[(card, marked(card.panes)) for card in cards],
        shown=len(cards),
        records=numbers["records"],
        noun=KINDS[numbers["kind"]],
        side_by_side=numbers["kind"] in ("ImagePair", "ImageBinary"),
    )
    page._replace(out, text)
    return out


def headline(numbers: Mapping[str, Any]) -> str:
    """How many records of how many prompts."""
    noun = KINDS[numbers["kind"]]
    count, prompts = numbers["records"], numbers["prompts"]
    return f"{words.show(count)} {noun}{'s' * (count != 1)} for {words.plural(prompts, 'prompt')}"


def cautions(numbers: Mapping[str, Any]) -> list[str]:
    """What to know before training on this."""
    found = []
    if numbers["skipped"]:
        rows = words.plural(numbers["skipped"], "row")
        found.append(f"{rows} cannot be used and {'is' if rows == '1 row' else 'are'} left out.")
    share = numbers.get("longer_won", 0.0)
    if share > LONGER:
        found.append(
            f"The longer completion won {100 * share:.0f} % of the pairs, so length alone predicts "
            "much of the preference; normalise by length, or compare with length controlled."
        )
    below = numbers.get("gap", {}).get("below_zero", 0)
    if below:
        found.append(
            f"In {words.plural(below, 'pair')} the winner has the lower score: whoever preferred "
            "did not go by this score."
        )
    return found


def rows(numbers: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The numbers as lines of a table."""
    found = [
        ("Most of one prompt", words.show(numbers["most_of_one_prompt"])),
        ("Ties left out", words.show(numbers["ties"])),
        ("Faulty rows left out", words.show(numbers["skipped"])),
    ]
    if "sources" in numbers:
        found.append(("Preferred by", _counts(numbers["sources"])))
    if "gap" in numbers:
        found.append(("Score gap", _spread(numbers["gap"])))
    names = {"TextPair": ("Winner's words", "Loser's words"),
             "TextBinary": ("Words, wanted", "Words, unwanted")}  # fmt: skip
    for name, spread in zip(names.get(numbers["kind"], ("Words",)), numbers.get("words", ())):
        found.append((name, _spread(spread)))
    if "longer_won" in numbers:
        equal = numbers["equally_long"]
        said = f"{100 * numbers['longer_won']:.0f} %, and {100 * equal:.0f} % are equally long"
        found.append(("The longer one won", said))
    if "wanted" in numbers:
        share = 100 * numbers["wanted"] / max(1, numbers["records"])
        found.append(("Wanted", f"{words.show(numbers['wanted'])} ({share:.0f} %)"))
    if "members" in numbers:
        found.append(("Members of a group", _spread(numbers["members"])))
    if "sizes" in numbers:
        found.append(("Sizes of pictures", _counts(numbers["sizes"])))
    return found


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({words.show(count)})" for name, count in counts.items())


def _spread(values: Mapping[str, float]) -> str:
    whole = {name: int(v) if v == int(v) else v for name, v in values.items()}
    shown = {name: words.show(value) for name, value in whole.items()}
    return f"mean {shown['mean']}, median {shown['median']}, {shown['low']} to {shown['high']}"


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
