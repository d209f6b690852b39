"""Assemble the page of one run."""

from pathlib import Path

from scoreward.records.reading import read_run
from scoreward.records.run import SAMPLERS, SavedRun
from scoreward.report import html
from scoreward.report.run import curves, gap, samples, tables
from scoreward.verdict import outcome
from scoreward.verdict.causes import diagnose
from scoreward.verdict.decisions import NEUTRAL, ends
from scoreward.verdict.evidence import evidence_of
from scoreward.verdict.words import MEASURES, duration

SHOWN = 12  # prompts shown without unfolding; ours
IN_NETWORK = 0.90  # share of the training time that the network should take; ours
SECTIONS = (  # (anchor, what the contents say, the entry without which it is left out)
    ("curves", "Scores", "scores"),
    ("samplers", "SDE against ODE", "gap"),
    ("pictures", "Pictures", "cards"),
    ("texts", "Texts", "written"),
    ("attributes", "Attributes", "attributes"),
    ("guards", "Diversity and palette", "guards"),
    ("why", "Does it learn?", "causes"),
    ("health", "Health", "checks"),
    ("cost", "Cost", "spent"),
    ("failures", "Failures", "failures"),
    ("beside", "The lesson beside", "other"),
    ("training", "Round by round", "training"),
    ("made", "Settings", "facts"),
)


def write_report(folder: Path, beside: Path | None = None) -> Path:
    """Write `report.html` into a run folder and return its path.

    `beside` is another run folder, shown as the lesson in reward hacking.
    """
    run = read_run(Path(folder))
    other = None if beside is None else read_run(Path(beside), "beside")
    if other is not None and other.folder.resolve() == run.folder.resolve():
        raise ValueError(f"`beside` must be another run, but {other.folder} is the run itself")
    return html.write(run.folder / "report.html", render(run, other))


def render(run: SavedRun, other: SavedRun | None = None) -> str:
    """The whole page as text."""
    sampler = next(iter(run.samplers), "ode")
    names = run.scorers(sampler)
    content = {
        **_told(run, sampler, names),
        **_evaluated(run, sampler, names),
        **_kept(run),
        **_made(run),
        **_beside(run, other, sampler, names),
    }
    sections = [(name, text) for name, text, needed in SECTIONS if content[needed]]
    return html.page("report", content | {"sections": sections})


def _told(run: SavedRun, sampler: str, names: list[str]) -> dict[str, object]:
    """What stands above the contents."""
    pair = ends(run, sampler)
    level, headline = outcome.headline(run, pair)
    return {
        "run": run,
        "title": run.title,
        "sampler": sampler,
        "sampled": sampler in SAMPLERS,
        "level": level,
        "headline": headline,
        "verdict": outcome.verdict(run, pair),
        "facts_line": tables.facts_line(run),
        "changes": tables.changes(pair, [n for n in names if n not in NEUTRAL]),
        "measures": MEASURES,
    }


def _evaluated(run: SavedRun, sampler: str, names: list[str]) -> dict[str, object]:
    head, rows = tables.history(run, sampler, names)
    attributes = tables.attributes(run, sampler)
    return {
        "scores": curves.scores(run, sampler, names),
        "gap": curves.gap(run, names) + gap.charts(run, names),
        "seen_in_training": any("reward/mean" in r.metrics for r in run.rounds),
        "by_measure": tables.by_measure(run, names),
        "attributes": attributes,
        "scale": tables.scale(attributes),
        "guards": curves.guards(run, sampler),
        "history_head": head,
        "history": rows,
    }


def _kept(run: SavedRun) -> dict[str, object]:
    """Pictures and texts."""
    sheets, written = samples.read_sheets(run), samples.written(run)
    cards = samples.through_training(sheets)
    return {
        "cards": cards[:SHOWN],
        "more_cards": cards[SHOWN:],
        "sharp": sheets.sharp,
        "marked": any(sheets.right.values()),
        "failures": samples.failures(sheets),
        "written": written[:SHOWN],
        "more_written": written[SHOWN:],
    }


def _made(run: SavedRun) -> dict[str, object]:
    """How the run was made and what it cost."""
    return {
        "checks": tables.checks(run),
        "causes": diagnose(evidence_of(run)) if run.rounds or run.failures else [],
        "time": tables.parts(run.profile.seconds, duration),
        "in_network": run.profile.share_in_network,
        "in_network_wanted": IN_NETWORK,
        "spent": tables.spent(run),
        "training": curves.training(run),
        "settings": list(tables.flat(run.about.settings)),
        "facts": tables.facts(run),
    }


def _beside(
    run: SavedRun, other: SavedRun | None, sampler: str, names: list[str]
) -> dict[str, object]:
    if other is None:
        return {"other": None}
    shared = [
        n for n in [*names, "diversity"] if any(v is not None for v in other.series(sampler, n))
    ]
    pictures = samples.beside(*map(samples.read_sheets, (run, other)))
    return {
        "other": other,
        "lesson": outcome.lesson(run, other, sampler),
        "versus": curves.versus(run, other, sampler, shared),
        "differences": tables.differences(run, other),
        "beside_cards": pictures[:SHOWN],
    }
