"""Numbers and names as a person would say them."""

import math

# name: (what a reader calls it, what it measures)
MEASURES = {
    "reward": ("Reward", "what training maximises"),
    "judge": ("Judge", "a second scorer that never enters training"),
    "strict": (
        "Judge strict",
        "share of pictures in which the judge finds everything right",
    ),
    "diversity": ("Diversity", "pixel standard deviation over several noises of one prompt"),
    "nearest": ("Nearest picture", "mean distance to the nearest training picture"),
    "palette": ("Palette", "colours of the right region, checked without any network"),
    "accuracy": ("Accuracy", "share of held-out pairs in which the method puts the winner ahead"),
    "implicit_accuracy": (
        "Implicit accuracy",
        "the same by the change of log-probability since the start",
    ),
    "plain_accuracy": ("Plain accuracy", "the same by log-probability alone"),
    "margin": ("Margin", "β times how much more the winner's log-probability rose, in nats"),
    "loss": ("Loss", "mean over held-out pairs"),
    "saturated": ("Saturated", "share of held-out pairs with |logit| > 5"),
    "log_prob_winner": (
        "Log-probability of winner",
        "nats; a fall is usual, a collapse is a failure",
    ),
    "success": ("Success", "share of answers that meet every constraint and are sane"),
    "score": ("Score", "mean degree to which the constraints are met, 0 if not sane"),
    "written_length": ("Words written", "mean per text"),
}


def label(name: str) -> str:
    """The name a reader sees."""
    plain = name.replace("_", " ")
    return MEASURES[name][0] if name in MEASURES else plain[:1].upper() + plain[1:]


def show(value: float | None, digits: int = 3) -> str:
    """A number for a table: 0.903, 12.4, 6,400; a dash if absent."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    size = abs(value)
    if value == int(value) and (size >= 100 or isinstance(value, int)):
        return f"{int(value):,}".replace("-", "−")
    if size >= 1e6 or 0 < size < 10**-digits:
        return f"{value:.1e}".replace("-", "−")
    places = digits if size < 10 else 2 if size < 100 else 0
    return f"{value:,.{places}f}".replace("-", "−")


def change(before: float | None, after: float | None) -> str:
    """A signed difference, or nothing."""
    if before is None or after is None:
        return ""
    rise = after - before
    text = f"{rise:+.1e}" if 0 < abs(rise) < 5e-4 else f"{rise:+.3f}"
    text = text if abs(rise) < 10 else f"{rise:+,.0f}"
    return text.replace("-", "−")


def plural(count: int, noun: str) -> str:
    """1 round, 2 rounds."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float | None) -> str:
    """42 s, 3 min 5 s, 2 h 10 min."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
