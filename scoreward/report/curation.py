"""A curation's folder as one HTML page: the funnel, the judges, pairs and what was said of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from scoreward.records.curation import (
    CuratedEntry,
    CurationSummary,
    Opinions,
    SavedCuration,
    read_curation,
)
from scoreward.report import html
from scoreward.report.run import samples, tables
from scoreward.verdict import words

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


@dataclass(frozen=True)
class Shown:
    """One entry on the page."""

    prompt: str
    before: samples.Tile
    after: samples.Tile | None
    complaints: Sequence[str]
    instructions: Sequence[str]
    note: str


@dataclass(frozen=True)
class Opinion:
    """How often a reward finds the winner better, equal or worse."""

    name: str
    role: str
    counts: list[tuple[str, int, float]]  # word, number, percent
    text: str


def write_curation(folder: Path) -> Path:
    """Write `curate.html` into a curation's folder and return its path.  Raises ValueError."""
    return html.write(folder / "curate.html", render(read_curation(folder)))


def render(found: SavedCuration) -> str:
    """The whole page as text."""
    summary, aside = found.summary, found.held_out_prompts
    level, headline = verdict(summary)
    chosen = [found.entries[i] for i in summary.ids]
    roles = {
        "judges, decides nothing": summary.judges,
        "may veto": summary.audits,
        "decides": summary.deciding,
    }
    first = [found.picture(e.image) for e in chosen[:1]]
    content = {
        "about": found,
        "summary": summary,
        "facts": [
            f"{summary.pairs:,} pairs of {summary.prompts:,} prompts",
            f"{summary.first_pictures:,} first pictures",
            f"{aside:,} prompts held out before drawing" if aside else "no prompt held out",
            f"seed {found.seed}",
        ],
        "level": level,
        "headline": headline,
        "funnel": funnel(summary),
        "opinions": [
            opinion(name, role, said) for role, by in roles.items() for name, said in by.items()
        ],
        "pairs": [shown(found, e) for e in chosen[:: max(len(chosen) // SHOWN, 1)][:SHOWN]],
        "against": [shown(found, e) for e in _against(found, chosen)[:SHOWN]],
        "rejected": list(rejected(found)),
        "costs": tables.parts(summary.cost.seconds, words.duration),
        "settings": list(tables.flat(found.settings)),
        "sharp": all(Image.open(p).width <= samples.SMALL for p in first if p.exists()),
    }
    return html.page("curate", content)


def shown(found: SavedCuration, one: CuratedEntry) -> Shown:
    """An entry with its two pictures; the best edit, or the first that was tried."""
    after = one.edited or next(iter(one.candidates), "")
    wins = {"edited": True, "original": False}.get(one.label)
    ahead = (f"{words.label(n)} {m:+.2f}".replace("-", "−") for n, m in one.margins.items())
    return Shown(
        one.prompt,
        _tile(found, one.image, "drawn", None if wins is None else not wins),
        _tile(found, after, "edited", wins) if after else None,
        one.complaints,
        one.instructions,
        one.reason or ", ".join(ahead),
    )


def _tile(found: SavedCuration, name: str, label: str, wins: bool | None) -> samples.Tile:
    try:
        picture = Image.open(found.picture(name)).convert("RGB")
    except OSError:
        return samples.Tile("data:,", f"{label}, file is gone", wins)
    return samples.Tile(samples.data_uri(picture), label, wins)


def verdict(summary: CurationSummary) -> tuple[str, str]:
    """(level, headline), by the first judge that decided nothing."""
    if not summary.pairs:
        return "alarm", "No pair was kept"
    if not summary.judges:
        return "warn", "Nobody independent has judged these pairs"
    name, said = next(iter(summary.judges.items()))
    level = "ok" if said.low >= ENOUGH else "warn" if said.share >= HALF else "alarm"
    found = f"finds {said.share:.1%} of the winners better"
    return level, f"{words.label(name)}, which decided nothing, {found}"


def opinion(name: str, role: str, said: Opinions) -> Opinion:
    """A row of the table of judges."""
    each = {"better": said.better, "equal": said.equal, "worse": said.worse}
    total = max(sum(each.values()), 1)
    counts = [(word, count, 100 * count / total) for word, count in each.items()]
    return Opinion(words.label(name), role, counts, f"{said.low:.1%} to {said.high:.1%}")


def funnel(summary: CurationSummary) -> list[dict[str, object]]:
    """Stages with their share of the first pictures, and what was left behind before each."""
    first = max(summary.first_pictures, 1)
    return [
        {
            "name": SAID[row.stage],
            "passed": row.passed,
            "percent": 100 * row.passed / first,
            "share": row.share,
            "stopped": sorted(row.stopped.items(), key=lambda pair: -pair[1]),
        }
        for row in summary.stages
    ]


def rejected(found: SavedCuration) -> Iterable[tuple[str, int, list[Shown]]]:
    """Some of the entries that were not kept, by reason."""
    by_reason: dict[str, list[CuratedEntry]] = {}
    for one in found.entries.values():
        if one.reason:
            by_reason.setdefault(one.reason, []).append(one)
    for reason, entries in sorted(by_reason.items(), key=lambda pair: -len(pair[1])):
        yield reason, len(entries), [shown(found, one) for one in entries[:OF_EACH]]


def _against(found: SavedCuration, chosen: Sequence[CuratedEntry]) -> list[CuratedEntry]:
    """Pairs whose winner the first judge finds worse, then those it finds equal."""
    name = next(iter(found.summary.judges), None)
    if name is None:
        return []
    gains = [(e.margins[name] * (1 if e.label == "edited" else -1), e) for e in chosen]
    return [one for gain, one in sorted(gains, key=lambda pair: pair[0]) if gain <= 1e-6]
