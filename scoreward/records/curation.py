"""The records of a curation's folder, as its page reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scoreward.records.fields import Doubts, Fields, Json, Numbers, parsed, read_lines


@dataclass(frozen=True)
class Opinions:
    """How often a reward finds the winner better, equal or worse, with the interval of better."""

    better: int
    equal: int
    worse: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class FunnelStage:
    """How many passed a stage, as a share of those before, and why the others went no further."""

    stage: str
    passed: int
    share: float
    stopped: Mapping[str, int]


@dataclass(frozen=True)
class CurationCost:
    """What the pairs cost; the last two are None without a pair."""

    seconds: Numbers
    evaluations: Mapping[str, int]
    seconds_per_pair: float | None
    evaluations_per_pair: float | None


@dataclass(frozen=True)
class CurationSummary:
    """summary.json of a finished curation; judges decide nothing, audits may veto."""

    asked_for: int
    pairs: int
    prompts: int
    first_pictures: int
    stages: Sequence[FunnelStage]
    labels: Mapping[str, int]
    judges: Mapping[str, Opinions]
    audits: Mapping[str, Opinions]
    deciding: Mapping[str, Opinions]
    similarity: float | None
    ids: Sequence[str]
    cost: CurationCost


@dataclass(frozen=True)
class CuratedEntry:
    """One first picture and what became of it; `margins` are edited less original."""

    prompt: str
    image: str
    edited: str  # "" if no edit was chosen
    candidates: Sequence[str]  # pictures of the edits
    label: str  # "edited", "original" or ""
    reason: str  # "" if kept
    complaints: Sequence[str]
    instructions: Sequence[str]
    margins: Numbers


@dataclass(frozen=True)
class SavedCuration:
    """What a curation left in its folder."""

    path: Path
    name: str
    seed: int
    held_out_prompts: int
    settings: dict[str, Json]  # all of curation.json
    summary: CurationSummary
    entries: Mapping[str, CuratedEntry]

    def picture(self, name: str) -> Path:
        return self.path / "pictures" / name[:2] / f"{name}.png"


def read_curation(folder: Path) -> SavedCuration:
    """The files of a finished curation.  Raises ValueError."""
    doubts = Doubts()
    about, summary = (_file(folder, name, doubts) for name in ("curation.json", "summary.json"))
    manifest = folder / "manifest.jsonl"
    if not manifest.is_file():
        raise ValueError(f"{folder} holds no finished curation: there is no {manifest.name}")
    return SavedCuration(
        folder,
        about.text("name"),
        about.count("seed") or 0,
        about.count("held_out_prompts") or 0,
        about.held,
        _summary(summary),
        {line.text("id"): _entry(line) for line in read_lines(manifest, doubts)},
    )


def _file(folder: Path, name: str, doubts: Doubts) -> Fields:
    path = folder / name
    held = parsed(path.read_text(encoding="utf-8")) if path.is_file() else None
    if held is None:
        what = f"{name} is not a JSON object" if path.is_file() else f"there is no {name}"
        raise ValueError(f"{folder} holds no finished curation: {what}")
    return Fields(held, name, doubts)


def _summary(said: Fields) -> CurationSummary:
    cost = said.inside("cost")
    asked, pairs, prompts, first = (
        said.count(k) or 0 for k in ("asked_for", "pairs", "prompts", "first_pictures")
    )
    judges, audits, deciding = (
        {name: _opinions(one) for name, one in said.inside(role).objects()}
        for role in ("judges", "audits", "deciding")
    )
    stages = [
        FunnelStage(
            row.text("stage"),
            row.count("passed") or 0,
            row.number("share") or 0.0,
            row.inside("stopped").counts(),
        )
        for row in said.each("stages")
    ]
    costs = CurationCost(
        cost.inside("seconds").numbers(),
        cost.inside("evaluations").counts(),
        cost.number("seconds_per_pair"),
        cost.number("evaluations_per_pair"),
    )
    return CurationSummary(
        *(asked, pairs, prompts, first, stages),
        *(said.inside("labels").counts(), judges, audits, deciding),
        *(said.number("similarity"), said.texts("ids"), costs),
    )


def _opinions(said: Fields) -> Opinions:
    better, equal, worse = (said.count(k) or 0 for k in ("better", "equal", "worse"))
    share, low, high = (said.number(k) or 0.0 for k in ("share", "low", "high"))
    return Opinions(better, equal, worse, share, low, high)


def _entry(line: Fields) -> CuratedEntry:
    texts = ("prompt", "image", "edited", "label", "reason")
    prompt, image, edited, label, reason = map(line.text, texts)
    return CuratedEntry(
        *(prompt, image, edited, [one.text("image") for one in line.each("candidates")]),
        *(label, reason),
        *([one.text("text") for one in line.inside("critique").each("complaints")],),
        *(line.texts("instructions"), line.inside("margins").numbers()),
    )
