"""Why does the reward not rise?  Causes, most telling first, each with the numbers behind it.

A diagnosis reads what a run wrote (its settings, rounds, evaluations, the metrics of a failed
round), the reference curve of its recipe, and the probe if there was one. `scoreward diagnose` and
the report both ask it; docs/diagnose.md says on which planted faults it was tried.
"""

from collections.abc import Callable, Iterable
from math import inf

from scoreward.verdict import bugs, settings
from scoreward.verdict.evidence import SURE, Cause, Evidence, trend

RULES: Iterable[Callable[[Evidence], Cause | None]] = (
    settings.constant,
    bugs.frozen,
    bugs.unsynced,
    bugs.passes,
    bugs.misaligned,
    bugs.sign,
    settings.rate_up,
    settings.rate_down,
    settings.rate,
    settings.exploded,
    settings.clipped,
    settings.falling,
    settings.hacked,
    settings.noisy,
    settings.behind,
)


def diagnose(evidence: Evidence) -> list[Cause]:
    """What explains the run, most telling first; the last resort is that nothing was found."""
    if not evidence.rounds and not evidence.failure and not evidence.probe:
        return [Cause("no_rounds", "no signal", "No round was finished.", "Train for a while.")]
    found = [cause for rule in RULES if (cause := rule(evidence)) is not None]
    bugs = [c for c in found if c.kind == "bug"]
    return [*bugs, *(c for c in found if c.kind != "bug")] or [_fine(evidence)]


def _fine(e: Evidence) -> Cause:
    rise, error = trend(e.values("reward/mean"))
    if error == inf:
        seen = "There are too few rounds to see a trend, and no check complains."
        return Cause("none", "fine", seen, "Train longer, or run the probe if it was left out.")
    if rise > SURE * error:
        seen = f"The reward rises by {rise:.3g} ± {error:.2g} and no check complains."
        return Cause("none", "fine", seen, "Nothing to do.")
    seen = f"The reward changed by {rise:.3g} ± {error:.2g} and no check complains."
    return Cause("none", "fine", seen, "Train longer, or run the probe if it was left out.")
