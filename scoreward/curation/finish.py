"""The end of a curation: the pairs as one Parquet file, and a summary of how they came about."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from scoreward.curation.manifest import Manifest, write_aside
from scoreward.curation.pictures import PictureStore
from scoreward.curation.records import STAGES, PairEntry
from scoreward.curation.run import COSTS, MANIFEST, PICTURES, Curation, Progress
from scoreward.data.preferences.files import write
from scoreward.data.preferences.records import ImagePair
from scoreward.data.preferences.winrate import wilson

PAIRS, SUMMARY = "pairs.parquet", "summary.json"
TIE = 1e-6  # differences of scores up to this are none


def finish(curation: Curation, progress: Progress) -> dict[str, Any]:
    """Write pairs.parquet and summary.json; the summary.  Raises ValueError."""
    folder, pipeline = curation.folder, curation.pipeline
    entries = list(Manifest(folder / MANIFEST).entries.values())
    deciding = list(pipeline.deciding)
    chosen = selected(entries, deciding[0], curation.pairs, pipeline.rules.top)
    if chosen:
        write(folder / PAIRS, pairs(chosen, PictureStore(folder / PICTURES), deciding))
    else:
        (folder / PAIRS).unlink(missing_ok=True)
    summary = {
        "status": "finished" if len(chosen) >= curation.pairs else "no prompts left",
        "asked_for": curation.pairs,
        "pairs": len(chosen),
        "prompts": len({one.prompt for one in chosen}),
        "first_pictures": len(entries),
        "stages": funnel(entries),
        "labels": Counter(one.label for one in chosen),
        "judges": {name: judged(chosen, name) for name in pipeline.judging or {}},
        "audits": {name: judged(chosen, name) for name in pipeline.auditing or {}},
        "deciding": {name: judged(chosen, name) for name in deciding},
        "similarity": _mean([one.similarity or 0.0 for one in chosen]),
        "ids": [one.id for one in chosen],
        "cost": cost(entries, len(chosen), curation),
    }
    write_aside(folder / SUMMARY, json.dumps(summary, indent=1, ensure_ascii=False))
    return summary


def selected(entries: Sequence[PairEntry], by: str, count: int, top: float) -> list[PairEntry]:
    """The first pairs, and of them the share `top` with the largest gaps, in order."""
    kept = [one for one in entries if one.kept]
    if top < 1:
        kept = kept[: -int(-count // top)]
        most = sorted(kept, key=lambda one: -abs(one.margins[by]))[: round(top * len(kept))]
        chosen = {one.id for one in most}
        kept = [one for one in kept if one.id in chosen]
    return kept[:count]


def pairs(
    chosen: Sequence[PairEntry], store: PictureStore, deciding: Sequence[str]
) -> Iterator[ImagePair]:
    """The pairs as other commands read them; with scores where one reward decided."""
    for one in chosen:
        scores: tuple[float | None, float | None] = (None, None)
        if len(deciding) == 1:
            new, old = one.scores_edited[deciding[0]], one.scores_original[deciding[0]]
            scores = (new, old) if one.label == "edited" else (old, new)
        winner, loser = store.get(one.winner), store.get(one.loser)
        yield ImagePair(one.prompt, winner, loser, *scores, one.id, "curation")


def funnel(entries: Sequence[PairEntry]) -> list[dict[str, object]]:
    """How many passed each stage, and why those that stopped there went no further."""
    rows, left = [], len(entries)
    for i, stage in enumerate(STAGES):
        passed = sum(STAGES.index(one.stage) >= i for one in entries)
        stopped = Counter(one.reason for one in entries if i and STAGES.index(one.stage) == i - 1)
        share = passed / left if left else 0.0
        rows.append({"stage": stage, "passed": passed, "share": share, "stopped": stopped})
        left = passed
    return rows


@dataclass(frozen=True)
class Verdicts:
    """How often somebody finds the winner better, equal, worse than the loser."""

    better: int
    equal: int
    worse: int


def judged(chosen: Sequence[PairEntry], name: str) -> dict[str, object]:
    """A reward's opinion of the labels, with the 95 % interval of the share of better ones."""
    signs = [one.margins[name] * (1 if one.label == "edited" else -1) for one in chosen]
    better, worse = sum(s > TIE for s in signs), sum(s < -TIE for s in signs)
    counts = Verdicts(better, len(signs) - better - worse, worse)
    rate = wilson(counts.better, len(signs)) if signs else None
    low, high = (rate.low, rate.high) if rate else (0.0, 1.0)  # of no pairs nothing is known
    share = rate.value if rate else None
    return {**vars(counts), "share": share, "low": low, "high": high, "gain": _mean(signs)}


def cost(entries: Sequence[PairEntry], pairs: int, curation: Curation) -> dict[str, object]:
    """Seconds of every stage, over all processes, and network evaluations."""
    seconds: Counter[str] = Counter()
    path = curation.folder / COSTS
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            seconds.update(json.loads(line)["seconds"])
        except (ValueError, KeyError, TypeError):
            continue  # torn by a kill; only a time is lost
    generator, editor = curation.pipeline.generator, curation.pipeline.editor
    evaluations = {
        "generator": len(entries) * generator.evaluations,
        "editor": sum(len(one.candidates) for one in entries) * editor.evaluations,
    }
    return {
        "seconds": seconds,
        "evaluations": evaluations,
        "seconds_per_pair": seconds.total() / pairs if pairs else None,
        "evaluations_per_pair": sum(evaluations.values()) / pairs if pairs else None,
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
