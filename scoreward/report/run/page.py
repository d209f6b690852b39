"""Assemble the page and write it in one piece."""

import os
import tempfile
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from scoreward.report import words
from scoreward.report.folder import SAMPLERS, SavedRun, number, read_run, samplers, scorers, section
from scoreward.report.run import curves, gap, tables, texts, tiles
from scoreward.report.run.causes import causes

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
    other = None if beside is None else _other(run, Path(beside))
    page = render(run, other)
    target = run.folder / "report.html"
    _replace(target, page)
    return target


def _other(run: SavedRun, beside: Path) -> SavedRun:
    other = read_run(beside, "beside")
    if beside.resolve() == run.folder.resolve():
        raise ValueError(f"`beside` must be another run, but {beside} is the run itself")
    return other


def render(run: SavedRun, other: SavedRun | None = None) -> str:
    """The whole page as text."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(show=words.show, plural=words.plural)
    context = _context(run, other)
    context["css"] = Markup((Path(__file__).parents[1] / "report.css").read_text(encoding="utf-8"))
    context["sections"] = [(name, text) for name, text, needed in SECTIONS if context[needed]]
    return environment.get_template("report.html.j2").render(context)


def _context(run: SavedRun, other: SavedRun | None) -> dict[str, Any]:
    sampler = next(iter(samplers(run)), "ode")
    names = scorers(run, sampler)
    pair = words.ends(run, sampler)
    level, headline = words.headline(run, pair)
    return {
        "run": run,
        "title": run.title,
        "sampler": sampler,
        "sampled": sampler in SAMPLERS,
        "level": level,
        "headline": headline,
        "verdict": words.verdict(run, pair),
        "facts_line": words.facts_line(run),
        "changes": tables.changes(pair, [n for n in names if n not in tables.NEUTRAL]),
        "measures": words.MEASURES,
        **_evaluated(run, sampler, names),
        **_pictures(run),
        **_texts(run),
        **_made(run),
        **_beside(run, other, sampler, names),
    }


def _evaluated(run: SavedRun, sampler: str, names: list[str]) -> dict[str, Any]:
    head, rows = tables.history(run, sampler, names)
    return {
        "scores": curves.scores(run, sampler, names),
        "gap": curves.gap(run, names) + gap.charts(run, names),
        "seen_in_training": any("reward/mean" in r for r in run.rounds),
        "by_measure": tables.by_measure(run, names),
        "attributes": (attributes := tables.attributes(run, sampler)),
        "scale": tables.scale(attributes),
        "guards": curves.guards(run, sampler),
        "history_head": head,
        "history": rows,
    }


def _pictures(run: SavedRun) -> dict[str, Any]:
    sheets = tiles.read_sheets(run)
    cards = tiles.through_training(sheets)
    return {
        "cards": cards[:SHOWN],
        "more_cards": cards[SHOWN:],
        "sharp": sheets.sharp,
        "marked": any(sheets.right.values()),
        "failures": tiles.failures(sheets),
    }


def _texts(run: SavedRun) -> dict[str, Any]:
    written = texts.written(run)
    return {"written": written[:SHOWN], "more_written": written[SHOWN:]}


def _made(run: SavedRun) -> dict[str, Any]:
    """How the run was made and what it cost."""
    return {
        "checks": tables.checks(run),
        "causes": causes(run),
        "time": tables.parts(section(run.profile, "seconds"), words.duration),
        "in_network": number(run.profile.get("share_in_network")),
        "in_network_wanted": IN_NETWORK,
        "spent": tables.spent(run),
        "training": curves.training(run),
        "settings": list(tables.flat(section(run.about, "settings"))),
        "facts": tables.facts(run),
    }


def _beside(
    run: SavedRun, other: SavedRun | None, sampler: str, names: list[str]
) -> dict[str, Any]:
    if other is None:
        return {"other": None}
    shared = [
        n
        for n in [*names, "diversity"]
        if any(v is not None for v in words.series(other, sampler, n))
    ]
    return {
        "other": other,
        "lesson": words.lesson(run, other, sampler),
        "versus": curves.versus(run, other, sampler, shared),
        "differences": tables.differences(run, other),
        "beside_cards": tiles.beside(tiles.read_sheets(run), tiles.read_sheets(other))[:SHOWN],
    }


def _replace(target: Path, text: str) -> None:
    """Write beside the target and rename, so that a full disk leaves the old page whole."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".report-", suffix=".html")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
