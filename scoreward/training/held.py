"""What a run holds out, and what trains it: as its recipe says, or read off its parts."""

from collections.abc import Mapping
from contextlib import suppress
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


def trained_by(run: Any) -> dict[str, float]:
    """Each reward that trains, by name, and how much it counts; empty where none does."""
    rewards = getattr(run.source, "rewards", {})
    weights = getattr(run.source, "weights", {})
    return {n: float(weights.get(n, 1.0)) for n in rewards} if isinstance(rewards, Mapping) else {}


def said_of_rewards(run: Any) -> str:
    """What trains, with which weight, and what is only measured, in a line; "" if nothing does."""
    trains, scorers = trained_by(run), getattr(run.evaluation, "scorers", {})
    if not trains:
        return ""
    line = "trained by " + " + ".join(f"{weight:g} x {name}" for name, weight in trains.items())
    beside = [name for name in scorers if name != "reward" and name not in trains]
    return line + (f"; only measured: {', '.join(beside)}" if beside else "")


def unread_of(run: Any) -> list[str]:
    """What the model and the rewards do not see of the prompts, each in a sentence."""
    data = getattr(run.source, "data", None)
    trained = getattr(run.source, "prompts", None) or getattr(data, "prompts", None) or []
    prompts = [*trained, *(getattr(run.evaluation, "prompts", None) or [])]
    rewards = getattr(run.source, "rewards", {})
    readers = [getattr(run.model, "encode", None), *getattr(rewards, "values", list)()]
    readers += getattr(getattr(run.evaluation, "scorers", {}), "values", list)()
    said: list[str] = []
    for one in readers:
        if hasattr(one, "unread") and prompts:
            with suppress(ValueError, ImportError, OSError, RuntimeError):  # told when it is used
                said.append(one.unread(prompts))
    said.append(_cut_answers(run))
    return [sentence for sentence in dict.fromkeys(said) if sentence]


def _cut_answers(run: Any) -> str:
    """How many answers of texts are longer than the context, in a sentence; "" if none is."""
    references = getattr(getattr(run.source, "data", run.source), "references", None)
    texts = getattr(references, "texts", [])
    cut = sum(bool(getattr(text, "cut", False)) for text in texts)
    if not cut:
        return ""
    return (
        f"{cut} of {len(texts)} answers are longer than the context of "
        f"{run.model.text.context} tokens: they are cut there and trained without an end."
    )
