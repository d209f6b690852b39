"""Bugs: the update is not the one that was meant.  Each says what was seen; limits are ours."""

from statistics import fmean

from scoreward.records.fields import Numbers
from scoreward.verdict.evidence import SURE, Evidence
from scoreward.verdict.health import FLOAT32, UNIFORM

ALIKE = 0.5  # least correlation of advantages with the rewards they are made of
APART = 1e-6  # relative difference of the weights of two processes
UNLIKE = 1e-3  # relative difference of samples drawn twice, or of a reward given twice


def frozen(e: Evidence) -> str | None:
    norms, moves = e.values("gradient/norm"), e.values("update/relative")
    signal = fmean(e.values("reward/std_in_group") or [0.0]) > 0
    if norms and max(norms) == 0 and signal:
        return (
            "The gradient is exactly zero though rewards differ: what is trained does not reach "
            "the output."
        )
    if moves and max(moves) == 0 and norms and max(norms) > 0:
        return (
            "The gradient is not zero but no weight moves: the optimiser holds other parameters, "
            "or a learning rate of 0."
        )
    return None


def unsynced(e: Evidence) -> str | None:
    apart = e.values("weights/disagreement")
    if not apart or max(apart) <= APART:
        return None
    return (
        f"The processes hold different weights, by {max(apart):.1e} of their size: each follows "
        "its own gradient."
    )


def mismatch(e: Evidence) -> str | None:
    """Old and new passes saw different networks from the first round on."""
    off, redrawn = _off(e), e.probe.redrawn
    if redrawn > UNLIKE or (off and off[0][0] == 0):
        return (
            f"Drawn again by the network that is trained, the samples of a rollout differ by "
            f"{redrawn:.0%} of their size."
            if redrawn > UNLIKE
            else f"In the first round, before any update, the ratio is off 1 by {off[0][1]:.2g}."
        )
    return None


def stale_old(e: Evidence) -> str | None:
    """They saw the same network at first, and others later."""
    off = _off(e)
    if not off or mismatch(e) is not None:
        return None
    return (
        f"The ratio before the first update is 1 in the first round and off 1 by {off[0][1]:.2g} "
        f"in round {off[0][0] + 1}."
    )


def _off(e: Evidence) -> list[tuple[int, float]]:
    """(round, distance) where the ratio was off 1 before the first update by more than rounding."""
    every = [*e.rounds, *([e.failure] if e.failure else [])]
    found = [(i, distance(metrics)) for i, metrics in enumerate(every)]
    return [(i, off) for i, off in found if off > FLOAT32]


def distance(metrics: Numbers) -> float:
    """|ρ − 1| before the first update; a network that rounds coarsely is allowed more."""
    kind = "first/ratio"
    if "first/ratio/min" not in metrics:  # a refused round has its own ratio, if it came so far
        kind = "ratio" if metrics.get("before_update") else "none"
    values = [metrics.get(f"{kind}/{end}") for end in ("min", "max")]
    worst = max((abs(v - 1) for v in values if v is not None), default=0.0)
    return worst * FLOAT32 / (metrics.get("first/ratio/tolerance") or FLOAT32)


def misaligned(e: Evidence) -> str | None:
    agreement = e.values("advantage/agreement")
    useful = [a for a, z in zip(agreement, e.values("groups/zero_variance")) if z < UNIFORM]
    if e.probe.rescored > UNLIKE:
        differ = f"{e.probe.rescored:.0%} of them"
        return f"Scored one by one, samples earn other rewards than in the round: {differ}."
    mean = fmean(useful) if useful else 1.0
    if not -ALIKE < mean < ALIKE:
        return None
    return f"Advantages and the rewards they are made of correlate by {mean:.2f} only."


def sign(e: Evidence) -> str | None:
    agreement = e.values("advantage/agreement")
    if agreement and fmean(agreement) <= -ALIKE:
        mean = fmean(agreement)
        return f"Advantages correlate by {mean:.2f} with the rewards they are made of."
    # the smallest learning rate that changes the reward tells: a larger one may only break it
    ladder = sorted(e.probe.ladder, key=lambda step: step.factor)
    moved = [s for s in ladder if abs(s.gain) > SURE * s.error and not s.broken]
    if not moved or moved[0].gain >= -SURE * moved[0].error:
        return None
    first = moved[0]
    rate = "the learning rate" if first.factor == 1 else f"{first.factor:g} times the learning rate"
    return (
        f"At {rate}, the smallest at which anything happens, the reward falls by "
        f"{-first.gain:.3g} ± {first.error:.2g} in a few rounds."
    )
