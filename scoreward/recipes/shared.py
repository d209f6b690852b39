"""The settings that the recipes of all methods share."""

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from scoreward.advantage import Advantages
from scoreward.data.holding import Held
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget


@dataclass(frozen=True)
class Shared:
    """Sizes of a round, advantages, optimiser and budget."""

    geometry: Geometry = Geometry(prompts=8, group=8, remember=1024)
    advantages: Advantages = Advantages(scale="batch", floor=0.05)
    optimizer: Optimizer = Optimizer(lr=2e-4, decay="linear")
    budget: Budget = Budget(rounds=60)


def told(*held: Held | None) -> dict[str, Any]:
    """For `Run.origin`: what is held out, of each kind."""
    return {"held_out": [h.told for h in held if h is not None]}


Flat = Annotated[Shared, tyro.conf.arg(prefix_name=False, name="")]
"""Shared settings as options without a prefix: --geometry.group, --optimizer.lr."""
