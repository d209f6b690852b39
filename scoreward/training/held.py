"""What a run holds out: as its recipe says, or read off its prompts, so that no word is a lie."""

from typing import Any

from scoreward.data.holding import Held, plain, unseen


def held_out(run: Any) -> list[dict[str, Any]]:
    """For run.json, the live view and the plan; empty where nothing is measured on prompts."""
    if "held_out" in run.origin:
        return list(run.origin["held_out"])
    trained = getattr(run.source, "prompts", None)
    measured = getattr(run.evaluation, "prompts", None)
    if not trained or not measured:
        return []
    seen = {plain(p) for p in trained}
    asked = list({plain(p): p for p in measured}.values())
    count = len(unseen(asked, trained))
    return [Held("prompts", count, len(seen) + count, count, len(asked) - count).told]
