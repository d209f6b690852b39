"""The picture of a strategy of trading stakes: stakes, cash, value, and why it switches.

Reads plain numbers, so it can be drawn from a JSON file as well as from a fresh solution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZE = (9.2, 6.2)  # inches; ours
SHADES = {"buy": "#2a7f3e", "sell": "#b2452f", "hold": "#777777"}
MANY = 12  # phases from which no switch gets a line of its own; ours


@dataclass(frozen=True)
class StakePicture:
    """What is drawn.  All sequences have one entry per time."""

    t: Sequence[float]
    stakes: Sequence[float]
    cash: Sequence[float]
    value: Sequence[float]
    kept: Sequence[float]  # what keeping one stake is worth
    price: Sequence[float]  # what it costs; both seen from time 0
    phases: Sequence[tuple[str, float]]  # (buy, sell or hold, from when on), in order
    title: str
    most: Sequence[float] = ()  # N, drawn only if the stakes come near

    def __post_init__(self) -> None:
        for name in ("stakes", "cash", "value", "kept", "price"):
            if len(getattr(self, name)) != len(self.t):
                raise ValueError(
                    f"a picture of {len(self.t)} times needs as many values of `{name}`, got "
                    f"{len(getattr(self, name))}"
                )
        unknown = [word for word, _ in self.phases if word not in SHADES]
        if unknown or not self.phases:
            raise ValueError(
                f"phases are {', '.join(SHADES)}, at least one; got {unknown or 'none'}"
            )


def stake_figure(picture: StakePicture) -> Any:
    """The matplotlib figure: four charts over time."""
    from matplotlib.figure import Figure  # half a second, so only when a chart is drawn

    figure = Figure(figsize=SIZE, layout="constrained")
    figure.suptitle(picture.title, fontsize=11)
    charts: Any = figure.subplots(2, 2, sharex=True)
    stakes, cash, value, marginal = charts.flatten()
    _curve(stakes, picture, picture.stakes, "stakes owned")
    if len(picture.most) and max(picture.stakes) > max(picture.most) / 2:
        stakes.plot(picture.t, picture.most, color="black", linestyle=":", label="all stakes, N")
        stakes.legend(frameon=False, fontsize=8)
    _curve(cash, picture, picture.cash, "cash account, money")
    cash.axhline(0, color="black", linewidth=0.5)
    _curve(value, picture, picture.value, "value still to come, money at time 0")
    _curve(marginal, picture, picture.kept, "one stake, money at time 0", "keeping it is worth")
    marginal.plot(picture.t, picture.price, color="#7a3fb5", linewidth=1, label="it trades at")
    marginal.legend(frameon=False, fontsize=8)
    for axes in (value, marginal):
        axes.set_xlabel("time")
    for word in dict.fromkeys(word for word, _ in picture.phases):
        stakes.fill_between([], [], [], color=SHADES[word], alpha=0.13, linewidth=0, label=word)
    stakes.legend(frameon=False, fontsize=8)
    return figure


def _curve(
    axes: Any, picture: StakePicture, y: Sequence[float], title: str, label: str | None = None
) -> None:
    """One curve over the shaded phases."""
    axes.plot(picture.t, y, color="#1f4e9c", linewidth=1.8, label=label)
    axes.set_title(title, fontsize=9, loc="left")
    axes.tick_params(labelsize=8)
    axes.set_xlim(picture.t[0], picture.t[-1])
    axes.spines[["top", "right"]].set_visible(False)
    ends = [start for _, start in picture.phases[1:]] + [picture.t[-1]]
    for (word, start), end in zip(picture.phases, ends):
        axes.axvspan(start, end, color=SHADES[word], alpha=0.13, linewidth=0)
        if start > picture.t[0] and len(picture.phases) <= MANY:
            axes.axvline(start, color=SHADES[word], linewidth=1)


def write_stake_figure(picture: StakePicture, path: Path) -> None:
    """As a picture file; its suffix names the format.  Raises ValueError for an unknown one."""
    figure = stake_figure(picture)
    known = figure.canvas.get_supported_filetypes() if figure.canvas else {}
    if path.suffix.removeprefix(".").lower() not in known:
        raise ValueError(f"a picture is written to a .png, .svg or .pdf file, got {str(path)!r}")
    figure.savefig(path, dpi=110)
