"""How much reward a sampler's noise is worth, told apart from what its time grid is worth.

The reward gap of η is E[r] under noise η less E[r] under the ODE, with the same network, prompts
and starting noise. On a coarse grid most of that difference is the grid's and not the noise's, so
every sampler also runs on a grid so fine that it stands for continuous time. With G(η, n) the gap
on n steps and e(η, n) what the mean on n steps has in excess of the converged one,

    G(η, n) = G(η, ∞) + e(η, n) − e(0, n).  [reward-gap] (grid)
"""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

Cell = tuple[float, int]
"""(η, steps) of a sampler."""

Z = 1.96  # standard errors of a 95 % normal interval


@dataclass(frozen=True)
class Gap:
    """Which noises and grids to compare, on how many samples; without `etas` nothing is measured.

    A measurement costs prompts · noises · (1 + number of etas) · (all steps) network evaluations.
    """

    etas: tuple[float, ...] = ()  # noises to compare with the ODE; none: no gap is measured
    steps: tuple[int, ...] = (10, 50)  # of the grids as they are used
    converged: int = 200  # steps of the grid that stands for continuous time; 0: none
    prompts: int = 32  # of the held-out ones, from the first
    noises: int = 2  # starting noises for each prompt
    every: int = 0  # evaluations between measurements; 0: only before and after training

    def __post_init__(self) -> None:
        if wrong := [eta for eta in self.etas if not eta > 0]:
            raise ValueError(
                f"the etas of a gap must be positive, got {wrong[0]}; the ODE, eta 0, is always "
                "what the others are compared with"
            )
        if not self.steps or min(self.steps) < 1:
            raise ValueError(f"a gap needs grids of at least 1 step, got {self.steps}")
        if self.converged and self.converged <= max(self.steps):
            raise ValueError(
                f"the converged grid must have more steps than {max(self.steps)}, got "
                f"{self.converged}; raise `converged`, or give 0 to leave it out"
            )
        if self.prompts < 2 or self.noises < 1 or self.every < 0 or self.converged < 0:
            raise ValueError(
                "a gap needs at least 2 prompts, 1 noise, and no negative `every` or `converged`, "
                f"got {self.prompts}, {self.noises}, {self.every} and {self.converged}"
            )

    def cells(self) -> list[Cell]:
        """Every sampler, the ODE first and the converged grid last."""
        grids = [*sorted(set(self.steps)), *([self.converged] if self.converged else [])]
        return [(float(eta), n) for eta in (0.0, *sorted(set(self.etas))) for n in grids]

    def due(self, round: int, every: int, last: bool) -> bool:
        """Whether to measure after a round, where evaluations are `every` rounds apart."""
        if not self.etas:
            return False
        between = self.every > 0 and round % (every * self.every) == 0
        return round == 0 or last or between


def estimate(values: Float[Tensor, "noises prompts"]) -> dict[str, float]:
    """Mean, its standard error, and the ends of a normal 95 % interval.

    Prompts are what was drawn at random, so the noises of a prompt are averaged first and the error
    is that of the mean over prompts.
    """
    each = values.double().mean(0)
    mean, error = float(each.mean()), float(each.std() / len(each) ** 0.5)
    return {
        "value": mean,
        "standard_error": error,
        "low": mean - Z * error,
        "high": mean + Z * error,
    }


Scores = Mapping[str, Float[Tensor, "noises prompts"]]


def compared(scores: Mapping[Cell, Scores], converged: int) -> list[dict]:
    """One record per sampler: mean scores, the gap to the ODE, and what the grid adds.

    Differences are taken sample by sample, between samples of the same prompt and starting noise.
    """
    records = []
    for (eta, steps), mine in scores.items():
        record: dict = {"eta": eta, "steps": steps, "converged": steps == converged}
        record["noises"], record["prompts"] = next(iter(mine.values())).shape
        record["mean"] = {name: estimate(v) for name, v in mine.items()}
        if eta:
            ode = scores[0.0, steps]
            record["gap"] = {name: signed(v - ode[name]) for name, v in mine.items()}
        if converged and steps != converged:
            fine = scores[eta, converged]
            record["grid"] = {name: estimate(v - fine[name]) for name, v in mine.items()}
        records.append(record)
    return records


def signed(differences: Float[Tensor, "noises prompts"]) -> dict[str, float]:
    """SDE less ODE with its modulus: published work uses both.  [reward-gap] (definition)"""
    value = estimate(differences)
    return value | {"modulus": abs(value["value"])}
