"""Why does the reward not rise?  Causes, most telling first, each with the numbers behind it.

A diagnosis reads what a run wrote (its settings, rounds, evaluations, the metrics of a failed
round), the reference curve of its recipe, and the probe if there was one. `scoreward diagnose` and
the report both ask it; docs/diagnose.md says on which planted faults it was tried.
"""

from collections.abc import Callable, Iterable
from math import inf

from scoreward.verdict import bugs, settings
from scoreward.verdict.evidence import SURE, Cause, CauseRule, Evidence, trend

ADVICE = {  # what to do about each cause, whatever was seen of it
    "constant_reward": (
        "Look at what the reward returns for good and bad pictures; use harder prompts, larger "
        "groups or a reward with finer steps."
    ),
    "frozen": "Check that adapters are active and are what the optimiser was given.",
    "unsynced": "Sum the gradients over the processes before the optimiser's step.",
    "mismatch": (
        "Rollout and training see different networks: another guidance, dropout, precision, or "
        "adapters that are on in one of them only."
    ),
    "stale_old": "The old policy is not brought up to date at the start of a round.",
    "misaligned": (
        "Rewards reach the wrong samples: check the order in which the reward returns them, and "
        "that it does not depend on what else is in the batch."
    ),
    "sign": "The update goes the wrong way: check the sign of the advantage and of the loss.",
    "diverged": "Lower the learning rate or make fewer updates per round.",
    "saturated": (
        "Lower β, take a length-normalised loss, or a reference: such pairs have next to no "
        "gradient, or one that does not depend on the model."
    ),
    "diverging": "Lower the learning rate, or stop before the lowest loss is behind you.",
    "clipped": "Widen the clip, lower the learning rate or make fewer updates per round.",
    "hacking": "Use an earlier checkpoint, a stronger anchor or a second reward.",
    "noise": "Larger rounds, larger groups, or prompts on which samples differ more.",
    "behind_reference": (
        "Compare your settings with the reference's in the report; then look at the causes above."
    ),
}
RULES: Iterable[Callable[[Evidence], Cause | None]] = (
    CauseRule("constant_reward", "no signal", settings.constant, ADVICE["constant_reward"]),
    CauseRule("frozen", "bug", bugs.frozen, ADVICE["frozen"]),
    CauseRule("unsynced", "bug", bugs.unsynced, ADVICE["unsynced"]),
    CauseRule("mismatch", "bug", bugs.mismatch, ADVICE["mismatch"]),
    CauseRule("stale_old", "bug", bugs.stale_old, ADVICE["stale_old"]),
    CauseRule("misaligned", "bug", bugs.misaligned, ADVICE["misaligned"]),
    CauseRule("sign", "bug", bugs.sign, ADVICE["sign"]),
    settings.rate_up,
    settings.rate_down,
    settings.rate,
    CauseRule("diverged", "setting", settings.exploded, ADVICE["diverged"]),
    CauseRule("diverging", "setting", settings.diverging, ADVICE["diverging"]),
    CauseRule("saturated", "setting", settings.saturated, ADVICE["saturated"]),
    CauseRule("clipped", "setting", settings.clipped, ADVICE["clipped"]),
    settings.falling,
    CauseRule("hacking", "setting", settings.hacked, ADVICE["hacking"]),
    CauseRule("noise", "no signal", settings.noisy, ADVICE["noise"]),
    CauseRule("behind_reference", "slow", settings.behind, ADVICE["behind_reference"]),
)


def diagnose(evidence: Evidence) -> list[Cause]:
    """What explains the run, most telling first; the last resort is that nothing was found."""
    if not evidence.rounds and not evidence.failure and not evidence.probe.ladder:
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
