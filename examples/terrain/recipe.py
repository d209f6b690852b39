"""The recipe: DRaFT on the pretrained terrain model, so that a vehicle gets through.

    python -m scoreward train examples/terrain/recipe.py:terrain

Why DRaFT, and no path or denoising method, is said in examples/terrain/README.md.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from examples.terrain.model import one_step, terrain_model
from examples.terrain.rewards import (
    Crossing,
    Excess,
    Gentle,
    Passable,
    Relief,
    height_spread,
    mean_slope,
    roughness,
    shape_spread,
)
from scoreward.objectives.gradients.draft import DRaFT
from scoreward.rewards.base import Reward
from scoreward.training.evaluations.pictures import Evaluation
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.sources.online import Online

FLOORS = ((0.6, 0.229), (0.7, 0.262), (0.8, 0.296), (0.9, 0.364), (1.0, 0.457))
"""(difficulty, metres): median std of the heights of 32 fields of the untouched model."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of a field."""

    slope: Literal["excess", "gentle"] = "excess"  # how slopes are judged, see rewards.py
    angle: float = 15.0  # degrees that the vehicle climbs
    floor: float = 1.0  # weight of keeping the relief; 0 leaves the floor out

    def rewards(self) -> dict[str, Reward]:
        """The rewards by name; both are differentiable."""
        slopes = {"excess": Excess(self.angle), "gentle": Gentle(self.angle)}
        chosen: dict[str, Reward] = {self.slope: slopes[self.slope]}
        return chosen | {"relief": Relief(FLOORS)} if self.floor else chosen


def prompts(low: float, high: float, step: float) -> list[str]:
    """Prompts for difficulties from `low` to `high`."""
    count = round((high - low) / step) + 1
    return [f"terrain of difficulty {low + i * step:.3f}" for i in range(count)]


TRAINED = prompts(0.6, 1.0, 0.05)
HELD_OUT = prompts(0.625, 0.975, 0.05)
FAR = prompts(0.1, 0.5, 0.1)
"""Difficulties that were trained, that lie between those, and that are easier than all of them."""


def judges() -> dict[str, Reward]:
    """Everything that is measured; rewards first, then judges that train nothing."""
    return {
        "excess": Excess(),
        "gentle": Gentle(),
        "relief": Relief(FLOORS),
        "passable": Passable(),
        "crossing": Crossing(),
        "slope": mean_slope,
        "roughness": roughness,
        "spread": height_spread,
        "shape": shape_spread,
    }


def terrain(
    objective: DRaFT = DRaFT(),
    wanted: Wanted = Wanted(),
    geometry: Geometry = Geometry(prompts=8, group=2, micro_batch=4),
    optimizer: Optimizer = Optimizer(lr=4e-5, warmup=3, decay="linear", ema=0.0),
    budget: Budget = Budget(rounds=12),
    every: int = 12,
) -> Run:
    """DRaFT through the model's only step; about three minutes on one core."""
    return Run(
        name="terrain",
        model=terrain_model(),
        objective=objective,
        source=Online(
            TRAINED,
            wanted.rewards(),
            one_step(),
            geometry,
            weights={"relief": wanted.floor} if wanted.floor else {},
        ),
        optimizer=optimizer,
        budget=budget,
        folder=Path("runs/terrain"),
        evaluation=Evaluation(
            HELD_OUT * 4,
            {"ode": one_step()},
            judges(),
            spread_prompts=2,
            noises=4,
            every=every,
            batch=8,
        ),
        keeping=Keeping(every=every, last=1),
    )
