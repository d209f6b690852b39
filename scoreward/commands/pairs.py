"""The command `pairs`: look at preference files, convert them, make pairs, and split them."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from PIL.Image import Image
from rich.console import Console

from scoreward.commands.pair_tokens import seen_by
from scoreward.data.holding import share_of
from scoreward.data.preferences.files import Reading, Records, kind_of, read, write
from scoreward.data.preferences.making import BestWorst, PairMaker, Rejection, RewardGap, Rule
from scoreward.data.preferences.records import (
    ImageBinary,
    ImageGroup,
    ImagePair,
    Record,
    TextBinary,
    TextGroup,
    TextPair,
    counted,
)
from scoreward.data.preferences.sorting import image_halves, key_of, once, parted, text_halves
from scoreward.data.preferences.summary import Summary, left_out
from scoreward.report.pairs import PairCard, Pane, write_pairs_page

console = Console(soft_wrap=True, markup=False)
SHARP = 64  # pixels up to which a picture is shown pixel by pixel; ours
WIDEST = 384  # pixels of a picture on the page; ours
USAGE = """usage: scoreward pairs ACTION [options]

  inspect FILE      one HTML page: pictures, texts, scores, counts, lengths
  convert FROM TO   any known layout to ours; also pairs to wanted and unwanted halves
  make FROM TO      pairs from groups of scored candidates
  split FROM        two files without a prompt in common

FILE and FROM are a Parquet, JSON or JSON-lines file, a folder of them, or a data set's name on a
hub.  scoreward pairs ACTION --help explains one."""


@dataclass(frozen=True)
class From:
    """What is read, and how."""

    source: Annotated[str, tyro.conf.Positional]  # a file, a folder, or a name on a hub
    skip_bad: bool = False  # leave out rows that cannot be used, and count them
    how: Annotated[Reading, tyro.conf.arg(prefix_name=False, name="")] = Reading()
    json: bool = False  # print a summary as JSON and nothing else

    def read(self, kind: type[Any] | None = None) -> Records[Any]:
        """The records; of the file's own kind if none is asked for."""
        return read(kind or kind_of(self.source, self.how), self.source, self.skip_bad, self.how)


@dataclass(frozen=True)
class Inspect(From):
    """Show a file of preferences as one HTML page."""

    shown: int = 24  # records on the page
    out: Path | None = None  # the page; default FILE.html in this folder
    model: str | None = None  # of texts: show the tokens that this language model is trained on


@dataclass(frozen=True)
class Convert(From):
    """Write a file of ours from any known layout."""

    to: Annotated[Path, tyro.conf.Positional] = Path("pairs.parquet")  # the Parquet file written
    halves: bool = False  # each pair as one wanted and one unwanted half
    once: bool = False  # leave out pairs that were there before


@dataclass(frozen=True)
class Make(From):
    """Make pairs from groups of candidates with rewards."""

    to: Annotated[Path, tyro.conf.Positional] = Path("pairs.parquet")  # the Parquet file written
    rule: Literal["best_worst", "gap", "rso"] = "best_worst"  # which candidates meet
    above: float = 0.0  # of the rule gap: rewards must be further apart than this
    temperature: float = 0.5  # of the rule rso, in units of the reward
    count: int = 8  # of the rule rso: candidates accepted at most
    best_worst: bool = False  # of the rule rso: best against worst of those accepted
    reward: str | None = None  # which score of pictures decides; the only one if None
    calibrated: bool = False  # compare win rates within the group, averaged over rewards
    most: int | None = None  # pairs of one prompt at most
    seed: int = 0  # of what is random

    def rule_(self) -> Rule:
        """The rule asked for."""
        rules: dict[str, Callable[[], Rule]] = {
            "best_worst": BestWorst,
            "gap": lambda: RewardGap(self.above),
            "rso": lambda: Rejection(self.temperature, self.count, self.best_worst),
        }
        return rules[self.rule]()


@dataclass(frozen=True)
class Split(From):
    """Split a file so that no prompt is on both sides."""

    held_out: float = 0.1  # share of the prompts
    train: Path = Path("train.parquet")  # the larger part
    test: Path = Path("test.parquet")  # what is held out


def pairs(words: list[str]) -> int:
    """scoreward pairs ACTION [options]"""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if words else 2
    if words[0] not in ACTIONS:
        raise ValueError(
            f"`scoreward pairs` has no {words[0]!r}; it can {', '.join(ACTIONS)}: for example "
            f"scoreward pairs inspect pairs.parquet"
        )
    settings, act = ACTIONS[words[0]]
    options = tyro.cli(settings, args=words[1:], prog=f"scoreward pairs {words[0]}")
    facts = act(options)
    if options.json:
        print(json.dumps(facts))
    return 0


def inspect(options: Inspect) -> dict[str, object]:
    """Write the page; returns its numbers."""
    if options.shown < 1:
        raise ValueError(f"--shown must be at least 1, got {options.shown}")
    records = options.read()
    summary = Summary()
    for record in records:
        summary.add(record)
    kind = type(records[0])
    numbers = summary.numbers(kind, records.dropped)
    cards = [CARDS[kind](record) for record in records[: options.shown]]
    if options.model is not None:
        numbers["tokens"] = seen_by(options.model, kind, cards).numbers(records)
    out = options.out or Path(f"{Path(options.source).name}.html")
    write_pairs_page(out, options.source, numbers, summary.gaps, cards)
    _tell(options, f"{numbers['records']} records, {counted(records.dropped)}", f"page: {out}")
    return {**numbers, "page": str(out)}


def convert(options: Convert) -> dict[str, object]:
    """Write the file; returns what was written and left out."""
    records = options.read()
    if (options.once or options.halves) and not isinstance(records[0], ImagePair | TextPair):
        option, kind = "--once" if options.once else "--halves", type(records[0]).__name__
        raise ValueError(f"{option} is for pairs, and this file holds {kind}")
    if options.once:
        before = len(records)
        records = records.select(once(records))
        _tell(options, f"pairs that were there before: {before - len(records)}")
    found: Iterable[Any] = records
    if options.halves:
        pictures = isinstance(records[0], ImagePair)
        found = image_halves(records) if pictures else text_halves(records)
    return _written(options, options.to, found, records)


def make(options: Make) -> dict[str, object]:
    """Write the pairs; returns their summary and the tally of groups."""
    kind = kind_of(options.source, options.how, (ImageGroup, TextGroup))
    if kind not in (ImageGroup, TextGroup):
        raise ValueError(
            f"{options.source} holds {kind.__name__} records; pairs are made from groups: prompt, "
            f"completions and rewards, or prompt, images and scores"
        )
    groups = options.read(kind)
    maker = PairMaker(
        groups, options.rule_(), options.reward, options.calibrated, options.most, options.seed
    )
    facts = _written(options, options.to, maker, groups)
    tally = maker.tally
    _tell(
        options,
        f"{tally.groups} groups gave {tally.pairs} pairs; {tally.barren} gave none, and "
        f"{tally.over} pairs are over --most",
    )
    return facts | {"tally": vars(tally)}


def cut(options: Split) -> dict[str, object]:
    """Write both sides; returns the summary of each."""
    records = options.read()
    parts = parted(records, options.held_out, "pairs split")
    if not parts.held:
        out = len(records) if share_of(key_of(records[0].prompt)) < options.held_out else 0
        raise ValueError(
            f"a share of {options.held_out:g} leaves {len(records) - out} records to train on and "
            f"{out} held out, for all are of one prompt or of prompts that share pictures; give a "
            "file with more prompts"
        )
    if options.train.resolve() == options.test.resolve():
        raise ValueError(f"--train and --test are the same file, {options.train}")
    held = parts.count("prompts")
    _tell(options, held.sentence)
    return {
        "train": _written(options, options.train, records.select(parts.kept), records),
        "test": _written(options, options.test, records.select(parts.away), records),
        "held_out": held.told,
    }


def _written(
    options: From, path: Path, found: Iterable[Record], read_from: Records[Any]
) -> dict[str, object]:
    if path.suffix != ".parquet":
        raise ValueError(f"files of ours are Parquet; call it {path.with_suffix('.parquet')}")
    count = write(path, found)
    _tell(options, f"{path}: {count} records, {counted(read_from.dropped)}")
    return {"file": str(path), "records": count, **left_out(read_from.dropped)}


def _tell(options: From, *lines: str) -> None:
    if not options.json:
        for line in lines:
            console.print(line, markup=False, highlight=False)


# Cards of the page


def _prompt(prompt: Any) -> list[tuple[str, str]]:
    return (
        [("", prompt)] if isinstance(prompt, str) else [(m["role"], m["content"]) for m in prompt]
    )


def _uri(image: Image) -> str:
    """A small picture as it is, a large one made smaller."""
    buffer, small = BytesIO(), max(image.size) <= SHARP
    shown = image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")
    if small:
        shown.save(buffer, format="PNG")
    else:
        shown = shown.convert("RGB")
        shown.thumbnail((WIDEST, WIDEST))
        shown.save(buffer, format="JPEG", quality=85)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{b64encode(buffer.getvalue()).decode()}"


def _note(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _image_pair(pair: ImagePair) -> PairCard:
    panes = (
        Pane("winner", "right", pair.score_w, _uri(pair.winner)),
        Pane("loser", "wrong", pair.score_l, _uri(pair.loser)),
    )
    return PairCard(_prompt(pair.prompt), panes, _note(pair.id, pair.source))


def _text_pair(pair: TextPair) -> PairCard:
    panes = (
        Pane("chosen", "right", pair.score_w, text=pair.chosen),
        Pane("rejected", "wrong", pair.score_l, text=pair.rejected),
    )
    return PairCard(_prompt(pair.prompt), panes, _note(pair.id, pair.source))


def _wanted(desirable: bool) -> tuple[str, str]:
    return ("wanted", "right") if desirable else ("unwanted", "wrong")


def _image_binary(one: ImageBinary) -> PairCard:
    pane = Pane(*_wanted(one.desirable), picture=_uri(one.image))
    counts = "" if one.wins is None else f"won {one.wins}, lost {one.losses}"
    return PairCard(_prompt(one.prompt), [pane], _note(one.id, counts))


def _text_binary(one: TextBinary) -> PairCard:
    return PairCard(
        _prompt(one.prompt), [Pane(*_wanted(one.desirable), text=one.completion)], one.id
    )


def _image_group(group: ImageGroup) -> PairCard:
    rows = group.scores.items()
    panes = [
        Pane(", ".join(f"{name} {values[i]:.3g}" for name, values in rows), picture=_uri(image))
        for i, image in enumerate(group.images)
    ]
    return PairCard(_prompt(group.prompt), panes, group.id)


def _text_group(group: TextGroup) -> PairCard:
    both = sorted(zip(group.rewards, group.completions), key=lambda one: -one[0])
    panes = [Pane(f"{i + 1}", "", reward, text=text) for i, (reward, text) in enumerate(both)]
    return PairCard(_prompt(group.prompt), panes, group.id)


CARDS: dict[type, Callable[[Any], PairCard]] = {
    ImagePair: _image_pair,
    TextPair: _text_pair,
    ImageBinary: _image_binary,
    TextBinary: _text_binary,
    ImageGroup: _image_group,
    TextGroup: _text_group,
}
ACTIONS: dict[str, tuple[type[Any], Callable[[Any], dict[str, object]]]] = {
    "inspect": (Inspect, inspect),
    "convert": (Convert, convert),
    "make": (Make, make),
    "split": (Split, cut),
}
