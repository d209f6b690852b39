"""Bugs: the update is not the one that was meant.  Limits are ours."""

from statistics import fmean

from scoreward.verdict.evidence import SURE, UNIFORM, Cause, Evidence, Numbers

OFF = 1e-4  # |ratio − 1| before the first update
ALIKE = 0.5  # least correlation of advantages with the rewards they are made of
APART = 1e-6  # relative difference of the weights of two processes
UNLIKE = 1e-3  # relative difference of samples drawn twice, or of a reward given twice


def frozen(e: Evidence) -> Cause | None:
    norms, moves = e.values("gradient/norm"), e.values("update/relative")
    still = bool(norms) and max(norms) == 0 and _has_signal(e)
    fixed = bool(moves) and max(moves) == 0 and bool(norms) and max(norms) > 0
    if not still and not fixed:
        return None
    seen = (
        "The gradient is exactly zero though rewards differ: what is trained does not reach the "
        "output."
        if still
        else "The gradient is not zero but no weight moves: the optimiser holds other parameters, "
        "or a learning rate of 0."
    )
    return Cause(
        "frozen",
        "bug",
        seen,
        "Check that adapters are active and are what the optimiser was given.",
    )


def _has_signal(e: Evidence) -> bool:
    return fmean(e.values("reward/std_in_group") or [0.0]) > 0


def unsynced(e: Evidence) -> Cause | None:
    apart = e.values("weights/disagreement")
    if not apart or max(apart) <= APART:
        return None
    return Cause(
        "unsynced",
        "bug",
        f"The processes hold different weights, by {max(apart):.1e} of their size: each follows "
        "its own gradient.",
        "Sum the gradients over the processes before the optimiser's step.",
    )


def passes(e: Evidence) -> Cause | None:
    """Whether old and new passes saw the same network, in the first round and later."""
    refused = [e.failure] if e.failure else []
    numbered = [*enumerate(e.rounds), *((len(e.rounds), f) for f in refused)]
    off = [(i, _distance(m)) for i, m in numbered if _distance(m) > OFF]
    redrawn = e.probe.get("redrawn", 0.0)
    if redrawn > UNLIKE or (off and off[0][0] == 0):
        seen = (
            f"Drawn again by the network that is trained, the samples of a rollout differ by "
            f"{redrawn:.0%} of their size."
            if redrawn > UNLIKE
            else f"In the first round, before any update, the ratio is off 1 by {off[0][1]:.2g}."
        )
        return Cause(
            "mismatch",
            "bug",
            seen,
            "Rollout and training see different networks: another guidance, dropout, precision, "
            "or adapters that are on in one of them only.",
        )
    if not off:
        return None
    return Cause(
        "stale_old",
        "bug",
        f"The ratio before the first update is 1 in the first round and off 1 by {off[0][1]:.2g} "
        f"in round {off[0][0] + 1}.",
        "The old policy is not brought up to date at the start of a round.",
    )


def _distance(metrics: Numbers) -> float:
    """|ρ − 1| before the first update; a network that rounds coarsely is allowed more."""
    values = [metrics.get(f"{p}ratio/{w}") for w in ("min", "max") for p in ("first/", "")]
    low, _, high, _ = values
    pair = (low, high) if low is not None else (values[1], values[3]) if _refused(metrics) else ()
    worst = max((abs(v - 1) for v in pair if v is not None), default=0.0)
    return worst * OFF / (metrics.get("first/ratio/tolerance") or OFF)


def _refused(metrics: Numbers) -> bool:
    return bool(metrics.get("before_update"))


def misaligned(e: Evidence) -> Cause | None:
    agreement = e.values("advantage/agreement")
    useful = [a for a, z in zip(agreement, e.values("groups/zero_variance")) if z < UNIFORM]
    rescored = e.probe.get("rescored", 0.0)
    mean = fmean(useful) if useful else 1.0
    if rescored <= UNLIKE and not -ALIKE < mean < ALIKE:
        return None
    seen = (
        f"Scored one by one, samples earn other rewards than in the round: {rescored:.0%} of them."
        if rescored > UNLIKE
        else f"Advantages and the rewards they are made of correlate by {mean:.2f} only."
    )
    return Cause(
        "misaligned",
        "bug",
        seen,
        "Rewards reach the wrong samples: check the order in which the reward returns them, and "
        "that it does not depend on what else is in the batch.",
    )


def sign(e: Evidence) -> Cause | None:
    agreement = e.values("advantage/agreement")
    if agreement and fmean(agreement) <= -ALIKE:
        seen = f"Advantages correlate by {fmean(agreement):.2f} with the rewards they are made of."
    elif (gentle := _gentle(e)) is not None and gentle[0] < -SURE * gentle[1]:
        rate = "the learning rate" if gentle[2] == 1 else f"{gentle[2]:g} times the learning rate"
        seen = (
            f"At {rate}, the smallest at which anything happens, the reward falls by "
            f"{-gentle[0]:.3g} ± {gentle[1]:.2g} in a few rounds."
        )
    else:
        return None
    return Cause(
        "sign",
        "bug",
        seen,
        "The update goes the wrong way: check the sign of the advantage and of the loss.",
    )


def _gentle(e: Evidence) -> tuple[float, float, float] | None:
    """(gain, error, factor) of the probe's smallest learning rate that changes the reward."""
    ladder = sorted(e.probe.get("ladder", ()), key=lambda step: step["factor"])
    moved = [s for s in ladder if abs(s["gain"]) > SURE * s["error"] and not s["broken"]]
    if not moved:
        return None
    return moved[0]["gain"], moved[0]["error"], moved[0]["factor"]
