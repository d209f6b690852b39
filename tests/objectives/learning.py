"""The toy on which every online method must learn, run through the real trainer.

Four prompts, one corner each; the reward is minus the squared distance to it, so the optimum of the
policy's mean is the corner. `learned` says how far the means are from their corners afterwards.
"""

from dataclasses import replace

import torch
from torch import Tensor

from scoreward.core.advantage import Advantages
from scoreward.core.chain import Sampler, Tree, uniform
from scoreward.core.kernel import EulerMaruyama, ddim, flow_sde
from scoreward.core.process import time_grid
from scoreward.models.base import Model
from scoreward.objectives.base import Objective
from scoreward.tasks.toy import CORNERS, closeness, toy_model
from scoreward.training.geometry import Geometry
from scoreward.training.guards import Guards
from scoreward.training.optimizer import Optimizer
from scoreward.training.sources.online import Online
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer

ODE = uniform(ddim(), 8)
GRID = time_grid(8)
SDE = uniform(EulerMaruyama(flow_sde(0.7, at_one=GRID[1])), 8)
START = 2**0.5  # distance of every mean to its corner before training


def trainer(
    objective: Objective,
    rollout: Sampler,
    geometry: Geometry = Geometry(prompts=4, group=16),
    lr: float = 0.05,
    seed: int = 0,
    **source: object,
) -> tuple[Trainer, Model]:
    """A trainer on the toy; `source` are further settings of Online."""
    torch.set_num_threads(1)
    model = toy_model()
    settings = {"advantages": Advantages()} | source
    online = replace(
        Online(list(CORNERS), {"closeness": closeness}, rollout, geometry),
        **settings,  # pyright: ignore[reportArgumentType]
    )
    run = Trainer(
        model, objective, online, Optimizer(lr=lr), Team(), seed=seed, guards=Guards(verify_every=5)
    )
    return run, model


def distances(model: Model) -> Tensor:
    """Distance of each prompt's mean to its corner."""
    (mean,) = model.network.parameters()
    return (mean.detach() - torch.tensor(list(CORNERS.values()))).norm(dim=1)


def learned(
    objective: Objective,
    rollout: Sampler = ODE,
    rounds: int = 30,
    geometry: Geometry = Geometry(prompts=4, group=16),
    lr: float = 0.05,
    tree: Tree | None = None,
) -> Tensor:
    """Distances after training; `START` before."""
    run, model = trainer(objective, rollout, geometry, lr, tree=tree)
    for _ in range(rounds):
        run.step()
    return distances(model)
