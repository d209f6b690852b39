"""The section "Why": what a diagnosis says of a run, from its folder."""

import json
from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import Any

from scoreward.report.folder import SavedRun, total
from scoreward.verdict.causes import diagnose
from scoreward.verdict.evidence import Cause, Evidence

FILE = "diagnosis.json"


def causes(run: SavedRun) -> list[Cause]:
    """The causes, with what an earlier probe measured if there was one."""
    return diagnose(evidence_of(run)) if run.rounds or run.failures else []


def evidence_of(run: SavedRun) -> Evidence:
    """What a run wrote, and the reference curve of its recipe."""
    failed = run.failures[-1] if run.failures else {}
    return Evidence(
        rounds=run.rounds,
        evaluations=run.evaluations,
        failure=failed,
        reason=str(run.about.get("reason") or ""),
        reference=reference(str(run.about.get("recipe", ""))),
        probe=_probe(run),
        spent=[total(r) or 0.0 for r in run.rounds],
    )


def _probe(run: SavedRun) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads((run.folder / FILE).read_text(encoding="utf-8"))
        return found["probe"] if isinstance(found.get("probe"), dict) else {}
    return {}


@cache
def _references() -> dict[str, dict[str, Any]]:
    path = files("scoreward") / "assets" / "references.jsonl"
    if not path.is_file():
        return {}
    lines = [json.loads(x) for x in path.read_text(encoding="utf-8").splitlines()]
    return {line["recipe"]: line for line in lines}


def reference(recipe: str) -> dict[str, Any]:
    """The committed curve of a recipe with its own settings, {} if there is none."""
    return _references().get(recipe, {})
