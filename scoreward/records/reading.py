"""Read a run folder as it is: unfinished, interrupted or from another version.

What cannot be read is left out and named in `notes`, so a report never stops at a half-written
line and never hides one. Only a folder without a readable `run.json` is refused.
"""

from collections.abc import Callable, Hashable, Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from scoreward.records.fields import Doubts, Fields, Json, read_lines, read_object
from scoreward.records.run import (
    LEVELS,
    Commit,
    EachRecord,
    EvaluationRecord,
    GapRecord,
    HealthRecord,
    HeldApart,
    KeptPictures,
    KeptTexts,
    Probed,
    ProbeStep,
    Profile,
    PromptEstimate,
    ReferenceCurve,
    RoundRecord,
    RunAbout,
    RunProgress,
    RunSummary,
    SavedRun,
    Scores,
    StoredUse,
)

PRICES = {"training_backward": 2}  # in forward evaluations
GAP_FILE = "gap.jsonl"  # what `scoreward gap` measured after the run; read instead of its records
DIAGNOSIS_FILE = "diagnosis.json"
NOT_METRICS = ("round", "seconds", "wall")
NOT_SAMPLERS = ("evaluations", "gap", "probes")

T = TypeVar("T")


def read_run(folder: Path, argument: str = "folder") -> SavedRun:
    """Everything that a run folder holds; a folder without run.json is refused."""
    doubts, notes = Doubts(), []
    metrics, later = folder / "metrics.jsonl", folder / GAP_FILE
    about = about_of(_own(folder, argument, doubts))
    lines = read_lines(metrics, doubts) if metrics.is_file() else []
    if not metrics.is_file():
        notes.append("There is no metrics.jsonl: the run ended before its first round.")
    profiles = [_profile(line) for line in lines if line.held.get("kind") == "profile"]
    gaps = read_lines(later, doubts) if later.is_file() else lines
    samples = folder / "samples"
    pictures = _pictures(read_object(samples / "index.json", doubts))
    summary = _summary(read_object(folder / "summary.json", doubts))
    texts = _texts(read_object(samples / "texts.json", doubts))
    diagnosis = read_object(folder / DIAGNOSIS_FILE, doubts)
    run = SavedRun(
        folder=folder,
        about=about,
        rounds=_of_kind("round", lines, _round, lambda r: (r.at.round, None)),
        evaluations=_of_kind("evaluation", lines, _evaluation, lambda e: (e.at.round, None)),
        health=_of_kind("health", lines, _health, lambda h: (h.round, h.check)),
        profile=profiles[-1] if profiles else Profile(),
        pictures=pictures,
        texts=texts,
        summary=summary,
        notes=notes,
        failures=_of_kind("failure", lines, _round, lambda r: (r.at.round, None)),
        gaps=_of_kind("gap", gaps, gap_record, lambda g: (g.round, (g.eta, g.steps))),
        each=_of_kind("each", lines, each_record, lambda e: (e.round, (e.sampler, e.unit))),
        probe=probed(diagnosis.inside("probe").held),
        reference=_references().get(about.recipe, ReferenceCurve()),
    )
    notes += doubts.sentences()
    return run


def _own(folder: Path, argument: str, doubts: Doubts) -> Fields:
    """run.json, without which nothing else means anything."""
    path = folder / "run.json"
    if not path.is_file():
        what = "has no run.json" if folder.is_dir() else "does not exist"
        raise ValueError(
            f"`{argument}` must be a run folder, but {folder} {what}; "
            f"give the folder that `scoreward train` wrote"
        )
    found = read_object(path, doubts)
    if doubts.sentences():
        raise ValueError(
            f"`{argument}` must be a run folder, but {path} is not a JSON object; "
            f"restore it or give another folder"
        )
    return found


def about_of(said: Fields) -> RunAbout:
    """run.json as its record."""
    git, data = said.inside("git"), said.inside("data")
    return RunAbout(
        recipe=said.text("recipe"),
        origin_recipe=said.text("origin_recipe"),
        command=said.text("command"),
        task=said.text("task"),
        method=said.text("method"),
        arguments=said.texts("arguments"),
        status=said.text("status"),
        reason=said.text("reason"),
        started=said.text("started"),
        seed=said.count("seed"),
        settings=said.inside("settings").held,
        versions={k: str(v) for k, v in said.inside("versions").held.items()},
        git=Commit(git.text("commit"), git.flag("dirty")) if git.held else None,
        held_out=[HeldApart(h.count("held") or 0, h.flag("few"), h.text("sentence"))
                  for h in said.each("held_out")],
        rewards=said.inside("rewards").numbers(),
        unread=said.texts("unread"),
        data=StoredUse(
            data.text("source"),
            *(data.count(k) for k in ("used", "ties", "skipped", "held_out")),
            reasons=data.inside("reasons").counts(),
        ) if data.held else None,
    )  # fmt: skip


def _of_kind(
    kind: str, lines: Iterable[Fields], read: Callable[[Fields], T | None],
    place: Callable[[T], tuple[float | None, Hashable]],
) -> list[T]:  # fmt: skip
    """Records of one kind in order; where a resumed run wrote a round twice, the later counts."""
    found = (read(line) for line in lines if line.held.get("kind") == kind)
    kept = {place(one): one for one in found if one is not None}
    return [kept[key] for key in sorted(kept, key=lambda key: key[0] or 0)]


def _progress(line: Fields) -> RunProgress:
    spent = {k: v * PRICES.get(k, 1) for k, v in line.inside("evaluations").numbers().items()}
    return RunProgress(line.count("round"), line.number("seconds"), spent)


def _round(line: Fields) -> RoundRecord:
    metrics = {k: v for k, v in line.numbers().items() if k not in NOT_METRICS}
    return RoundRecord(_progress(line), metrics)


def _evaluation(line: Fields) -> EvaluationRecord:
    return EvaluationRecord(_progress(line), _samplers(line), line.inside("gap").numbers())


def _samplers(said: Fields) -> dict[str, Scores]:
    return {
        name: Scores(one.numbers(), one.inside("attributes").numbers())
        for name, one in said.objects()
        if name not in NOT_SAMPLERS
    }


def _health(line: Fields) -> HealthRecord:
    level = line.text("level")
    return HealthRecord(
        line.count("round"),
        line.text("check") or "check",
        LEVELS[LEVELS.index(level)] if level in LEVELS else "warn",
        line.number("value"),
        line.text("message"),
    )


def gap_record(line: Fields) -> GapRecord | None:
    """None for one that does not say of which sampler it is."""
    where = [line.number(key) for key in ("round", "eta", "steps")]
    known = [value for value in where if value is not None]
    if len(known) < len(where):
        line.doubts.add(line.place.capitalize(), "should say `round`, `eta` and `steps`")
        return None
    round, eta, steps = known
    parts = (_estimates(line.inside(part)) for part in ("mean", "gap", "grid"))
    return GapRecord(int(round), eta, int(steps), line.flag("converged"), *parts)


def each_record(line: Fields) -> EachRecord | None:
    """None for one whose columns are not all as long as the groups."""
    groups = [int(g) for g in line.series("groups") if g is not None]
    values = line.inside("values").columns()
    if line.count("round") is None or any(len(v) != len(groups) for v in values.values()):
        line.doubts.add(line.place.capitalize(), "should have one value per row")
        return None
    unit = line.text("unit") or "rows"
    return EachRecord(line.count("round") or 0, line.text("sampler"), unit, groups, values)


def _estimates(part: Fields) -> dict[str, PromptEstimate]:
    found = {}
    for name, one in part.objects():
        values = [one.number(k) for k in ("value", "standard_error", "low", "high")]
        known = [v for v in values if v is not None]
        if len(known) == len(values):
            found[name] = PromptEstimate(*known)
    return found


def _profile(line: Fields) -> Profile:
    return Profile(line.inside("seconds").numbers(), line.number("share_in_network"))


def _summary(said: Fields) -> RunSummary:
    seconds = said.inside("seconds")
    return RunSummary(
        _samplers(said.inside("before")),
        _samplers(said.inside("after")),
        seconds.number("total"),
        seconds.number("rl"),
        said.inside("evaluations").numbers(),
    )


def _pictures(index: Fields) -> KeptPictures:
    tile = index.count("tile") or 16
    return KeptPictures(
        prompts=index.texts("prompts"),
        rounds=sorted(int(r) for r in index.series("rounds") if r is not None),
        columns=index.count("columns") or 8,
        size=(tile, index.count("height") or tile),
        right={
            r: {s: [x if isinstance(x, bool) else None for x in said.items(s)] for s in said.held}
            for r, said in _by_round(index.inside("right"))
        },
        scores={
            r: {sampler: one.columns() for sampler, one in said.objects()}
            for r, said in _by_round(index.inside("scores"))
        },
    )


def _texts(index: Fields) -> KeptTexts:
    written = index.inside("texts")
    return KeptTexts(
        prompts=index.texts("prompts"),
        texts={int(k): written.texts(k) for k in written.held if k.isdigit()},
        scores={
            r: one.inside("held_out").columns() for r, one in _by_round(index.inside("scores"))
        },
    )


def _by_round(said: Fields) -> Iterable[tuple[int, Fields]]:
    return ((int(name), one) for name, one in said.objects() if name.isdigit())


def probed(measured: dict[str, Json]) -> Probed:
    """What training/probe.py returned, or an earlier diagnosis kept of it."""
    said = Fields(measured, "the probe")
    ladder = [
        ProbeStep(
            *(step.number(key) or 0.0 for key in ("factor", "gain", "error")),
            broken=step.flag("broken"),
            learns=step.flag("learns"),
        )
        for step in said.each("ladder")
    ]
    drawn, scored = (said.number(key) or 0.0 for key in ("redrawn", "rescored"))
    return Probed(ladder, drawn, scored, said.number("signal_to_noise"))


@cache
def _references() -> dict[str, ReferenceCurve]:
    """The committed curves by recipe."""
    path = Path(str(files("scoreward") / "assets" / "references.jsonl"))
    lines = read_lines(path, Doubts()) if path.is_file() else []
    return {
        line.text("recipe"): ReferenceCurve(
            line.number("lr"),
            *([v for v in line.series(k) if v is not None] for k in ("reward", "evaluations")),
        )
        for line in lines
    }
