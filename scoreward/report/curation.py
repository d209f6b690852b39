"""A curation's folder as one HTML page: the funnel, the judges, pairs and what was said of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from scoreward.report import words
from scoreward.report.run import page, tables, tiles

HERE = Path(__file__).parent
SHOWN = 24  # pairs on the page; ours
OF_EACH = 4  # rejected ones shown of each reason; ours
ENOUGH, HALF = 0.8, 0.5  # share of pairs that an independent judge should agree with; ours
SAID = {
    "generated": "first pictures drawn",
    "critiqued": "criticised",
    "instructed": "with an instruction",
    "edited": "edited",
    "judged": "edits that are edits",
    "kept": "kept as pairs",
}
ROLES = ("judges", "audits", "deciding")
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """One entry on the page."""

    prompt: str
    before: tiles.Tile
    after: tiles.Tile | None
    complaints: list[str]
    instructions: list[str]
    note: str


@dataclass(frozen=True)
class Folder:
    """What a curation left in its folder."""

    path: Path
    about: Record
    summary: Record
    entries: dict[str, Record]

    def shown(self, one: Record) -> Shown:
        """An entry with its two pictures; the best edit, or the first that was tried."""
        tried = [c["image"] for c in one["candidates"]]
        after = one["edited"] or (tried[0] if tried else "")
        wins = {"edited": True, "original": False}.get(one["label"])
        original = None if wins is None else not wins
        critique = one["critique"] or {"complaints": []}
        return Shown(
            one["prompt"],
            self._tile(one["image"], "drawn", original),
            self._tile(after, "edited", wins) if after else None,
            [c["text"] for c in critique["complaints"]],
            list(one["instructions"]),
            one["reason"] or _margins(one),
        )

    def _tile(self, name: str, label: str, wins: bool | None) -> tiles.Tile:
        try:
            picture = Image.open(self.path / "pictures" / name[:2] / f"{name}.png").convert("RGB")
        except OSError:
            return tiles.Tile("data:,", f"{label}, file is gone", wins)
        return tiles.Tile(tiles._uri(picture), label, wins)


@dataclass(frozen=True)
class Opinion:
    """How often a reward finds the winner better, equal or worse."""

    name: str
    role: str
    counts: list[tuple[str, int, float]]  # word, number, percent
    text: str


def write_curation(folder: Path) -> Path:
    """Write `curate.html` into a curation's folder and return its path.  Raises ValueError."""
    target = folder / "curate.html"
    page._replace(target, render(read(folder)))
    return target


def read(folder: Path) -> Folder:
    """The files of a finished curation.  Raises ValueError."""
    try:
        about, summary = (
            json.loads((folder / name).read_text(encoding="utf-8"))
            for name in ("curation.json", "summary.json")
        )
        lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        entries = {one["id"]: one for one in map(json.loads, lines)}
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} holds no finished curation: {error}") from None
    return Folder(folder, about, summary, entries)


def render(found: Folder) -> str:
    """The whole page as text."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(show=words.show, plural=words.plural)
    css = "".join((HERE / f).read_text(encoding="utf-8") for f in ("report.css", "curation.css"))
    opinions = [opinion(name, role, said) for name, role, said in _said(found.summary)]
    level, headline = verdict(found.summary)
    chosen = [found.entries[i] for i in found.summary["ids"]]
    return environment.get_template("curate.html.j2").render(
        css=Markup(css),
        about=found.about,
        summary=found.summary,
        facts=facts(found),
        level=level,
        headline=headline,
        funnel=funnel(found.summary),
        opinions=opinions,
        pairs=[found.shown(one) for one in _spread(chosen, SHOWN)],
        against=[found.shown(one) for one in _against(found, chosen)[:SHOWN]],
        rejected=list(rejected(found)),
        costs=tables.parts(found.summary["cost"]["seconds"], words.duration),
        settings=list(tables.flat(found.about)),
        sharp=all(w <= tiles.SMALL for w in _widths(found, chosen[:1])),
    )


def facts(found: Folder) -> list[str]:
    """One line under the title."""
    summary, about = found.summary, found.about
    aside = about["held_out_prompts"]
    return [
        f"{summary['pairs']:,} pairs of {summary['prompts']:,} prompts",
        f"{summary['first_pictures']:,} first pictures",
        f"{aside:,} prompts held out before drawing" if aside else "no prompt held out",
        f"seed {about['seed']}",
    ]


def verdict(summary: Record) -> tuple[str, str]:
    """(level, headline), by the first judge that decided nothing."""
    if not summary["pairs"]:
        return "alarm", "No pair was kept"
    said = next(iter(summary["judges"].items()), None)
    if said is None:
        return "warn", "Nobody independent has judged these pairs"
    name, counts = said
    level = "ok" if counts["low"] >= ENOUGH else "warn" if counts["share"] >= HALF else "alarm"
    found = f"finds {counts['share']:.1%} of the winners better"
    return level, f"{words.label(name)}, which decided nothing, {found}"


def opinion(name: str, role: str, said: Record) -> Opinion:
    """A row of the table of judges."""
    total = max(said["better"] + said["equal"] + said["worse"], 1)
    counts = [(word, said[word], 100 * said[word] / total) for word in ("better", "equal", "worse")]
    text = f"{said['low']:.1%} to {said['high']:.1%}"
    return Opinion(words.label(name), role, counts, text)


def _said(summary: Record) -> Iterable[tuple[str, str, Record]]:
    roles = {"judges": "judges, decides nothing", "audits": "may veto", "deciding": "decides"}
    for role in ROLES:
        for name, said in summary[role].items():
            yield name, roles[role], said


def funnel(summary: Record) -> list[dict[str, Any]]:
    """Stages with their share of the first pictures, and what was left behind before each."""
    first = max(summary["first_pictures"], 1)
    return [
        {
            "name": SAID[row["stage"]],
            "passed": row["passed"],
            "percent": 100 * row["passed"] / first,
            "share": row["share"],
            "stopped": sorted(row["stopped"].items(), key=lambda pair: -pair[1]),
        }
        for row in summary["stages"]
    ]


def rejected(found: Folder) -> Iterable[tuple[str, int, list[Shown]]]:
    """Some of the entries that were not kept, by reason."""
    by_reason: dict[str, list[Record]] = {}
    for one in found.entries.values():
        if one["reason"]:
            by_reason.setdefault(one["reason"], []).append(one)
    for reason, entries in sorted(by_reason.items(), key=lambda pair: -len(pair[1])):
        yield reason, len(entries), [found.shown(one) for one in entries[:OF_EACH]]


def _against(found: Folder, chosen: Sequence[Record]) -> list[Record]:
    """Pairs whose winner the first judge finds worse, then those it finds equal."""
    name = next(iter(found.summary["judges"]), None)
    if name is None:
        return []
    gains = [
        (one["margins"][name] * (1 if one["label"] == "edited" else -1), one) for one in chosen
    ]
    return [one for gain, one in sorted(gains, key=lambda pair: pair[0]) if gain <= 1e-6]


def _margins(one: Record) -> str:
    """By how much the edited picture is ahead, for every reward."""
    said = (f"{words.label(n)} {m:+.2f}".replace("-", "−") for n, m in one["margins"].items())
    return ", ".join(said)


def _spread(entries: Sequence[Record], count: int) -> list[Record]:
    """Some from beginning to end."""
    step = max(len(entries) // count, 1)
    return list(entries[::step][:count])


def _widths(found: Folder, entries: Sequence[Record]) -> list[int]:
    paths = (found.path / "pictures" / e["image"][:2] / f"{e['image']}.png" for e in entries)
    return [Image.open(path).width for path in paths if path.exists()]
