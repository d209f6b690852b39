"""Settings and signals: the update is right, but too large, too small, or made of noise."""

from statistics import fmean, median

from scoreward.records.run import ProbeStep
from scoreward.verdict.decisions import RISING, SATURATED, rise_of_loss
from scoreward.verdict.evidence import SURE, Cause, Evidence, trend
from scoreward.verdict.health import STOPPED, UNIFORM
from scoreward.verdict.outcome import hacked as told_hacked

FAR = 20.0  # factor between a learning rate and the reference's


def constant(e: Evidence) -> str | None:
    shares = e.values("groups/zero_variance")
    if not shares or median(shares) < UNIFORM:
        return None
    spread = fmean(e.values("reward/std") or [0.0])
    whole = "every sample has the same reward" if spread < 1e-6 else "groups hardly differ inside"
    whole += ", from the first round on" if shares[0] >= UNIFORM else ""
    alike = "of the samples are in groups whose rewards are all alike"
    return f"{median(shares):.0%} {alike}; {whole}."


def rate_up(e: Evidence) -> Cause | None:
    """Too high: a smaller one learns, and this one falls, breaks or gains much less."""
    here, better = _here(e), [s for s in e.probe.ladder if s.factor < 1 and s.learns]
    if here is None or not better or here.learns:
        return None
    best = max(better, key=lambda s: s.gain)
    what = "breaks off" if here.broken else f"changes the reward by {here.gain:.3g}"
    return Cause(
        "rate_too_high",
        "setting",
        f"A few rounds at this learning rate: it {what}; at {best.factor:g} times it the reward "
        f"gains {best.gain:.3g} ± {best.error:.2g}.",
        f"Lower the learning rate to about {best.factor:g} of what it is." + _usual(e),
    )


def rate_down(e: Evidence) -> Cause | None:
    """Too low: nothing happens here, a larger one learns."""
    here, better = _here(e), [s for s in e.probe.ladder if s.factor > 1 and s.learns]
    if here is None or not better or here.learns or here.broken:
        return None
    if here.gain < -SURE * here.error:
        return None
    best = min(better, key=lambda s: s.factor)
    return Cause(
        "rate_too_low",
        "setting",
        f"A few rounds at this learning rate change the reward by {here.gain:.3g} ± "
        f"{here.error:.2g}; at {best.factor:g} times it the reward gains {best.gain:.3g}.",
        f"Raise the learning rate, up to {best.factor:g} times." + _usual(e),
    )


def _here(e: Evidence) -> ProbeStep | None:
    """The probe's rounds at the run's own learning rate."""
    return next((s for s in e.probe.ladder if s.factor == 1.0), None)


def _usual(e: Evidence) -> str:
    rate = e.reference.lr
    return "" if not rate else f" The recipe's reference was trained with {rate:g}."


def rate(e: Evidence) -> Cause | None:
    """Without a probe: a learning rate far from the reference's, and no rise of the reward."""
    usual, used = e.reference.lr, max(e.values("learning_rate"), default=0.0)
    if e.probe.ladder or not usual or not used or 1 / FAR < used / usual < FAR:
        return None
    rise, error = trend(e.values("reward/mean"))
    if rise > SURE * error:
        return None
    high = used > usual
    return Cause(
        "rate_too_high" if high else "rate_too_low",
        "setting",
        f"The learning rate is {used:g}, {used / usual:.2g} times the reference's {usual:g}, and "
        f"the reward changed by {rise:.3g} ± {error:.2g}.",
        f"Try {usual:g}; `scoreward diagnose` without --no-probe tries smaller and larger ones.",
    )


def exploded(e: Evidence) -> str | None:
    stopped = "exploded" in e.reason or "became" in e.reason
    return f"The run was stopped: {e.reason}." if stopped else None


def clipped(e: Evidence) -> str | None:
    """Nearly all rows are stopped by the ratio clip."""
    sides = zip(e.values("clip/above"), e.values("clip/below"), strict=False)
    shares = [above + below for above, below in sides]
    if not shares or median(shares) < STOPPED:
        return None
    return f"{median(shares):.0%} of the samples are stopped by the ratio clip."


def falling(e: Evidence) -> Cause | None:
    """A fall that nothing above explains."""
    rise, error = trend(e.values("reward/mean"))
    if rise >= -SURE * error:
        return None
    advice = "Run `scoreward diagnose` with its probe, which tells a wrong sign from a large step."
    if e.probe.ladder:
        advice = "A wrong sign of the loss or too large a step; the probe could not tell which."
    seen = f"The reward falls by {-rise:.3g} ± {error:.2g} over the run."
    return Cause("falling", "setting", seen, advice)


def hacked(e: Evidence) -> str | None:
    hack = e.ends.hacked
    return None if hack is None else told_hacked(hack.reward, hack.judge)


def saturated(e: Evidence) -> str | None:
    """The loss on pairs is flat or straight before anything is learnt."""
    share = e.saturated
    if share is None or share < SATURATED[0]:
        return None
    return f"{share:.0%} of the pairs have |logit| > 5 before training."


def diverging(e: Evidence) -> str | None:
    rise = rise_of_loss(e.rounds)
    if rise is None or rise < RISING[0] or exploded(e):
        return None
    return f"The training loss has risen by {rise:.2g} times its first size above its lowest."


def noisy(e: Evidence) -> str | None:
    """The gradient is mostly noise, and the reward does not rise."""
    ratio, ratios = e.probe.signal_to_noise, e.values("gradient/signal_to_noise")
    if ratio is None and ratios:
        ratio = fmean(ratios)
    rise, error = trend(e.values("reward/mean"))
    if ratio is None or ratio > 0.1 or rise > SURE * error or e.probe.learns:
        return None
    return f"The gradient's signal is {max(0.0, ratio):.2f} of its noise in one round."


def behind(e: Evidence) -> str | None:
    """Slower than the reference curve of the same recipe."""
    wanted, gained = reference_gain(e), trend(e.values("reward/mean"))
    if wanted is None or gained[0] + 2 * gained[1] >= 0.5 * wanted:
        return None
    return (
        f"The reward gained {gained[0]:.3g} ± {gained[1]:.2g}; the reference of this recipe had "
        f"gained {wanted:.3g} after as many network evaluations."
    )


def reference_gain(e: Evidence) -> float | None:
    """What the recipe's reference curve gained by as many evaluations as the run had."""
    curve, spent = e.reference.reward, e.reference.evaluations
    if len(e.spent) < 4 or not curve:
        return None
    until = [r for r, s in zip(curve, spent, strict=True) if s <= e.spent[-1]]
    return trend(until)[0] if len(until) >= 4 else None
