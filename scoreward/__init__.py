"""Post-training of diffusion and flow-matching models: rewards, preferences, continuous time.

import scoreward as sw

run = sw.recipe("vgrpo", on="portraits").run(folder="runs/mine")
for moment in run.start():
    print(moment.round, moment.metrics["reward/mean"])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

PUBLIC = {
    # the nouns
    "Process": "core.process",
    "RectifiedFlow": "core.process",
    "time_grid": "core.process",
    "Prediction": "core.prediction",
    "Gaussian": "core.gaussian",
    "Key": "core.keys",
    "Denoiser": "core.denoiser",
    "Kernel": "core.kernel",
    "Sampler": "core.chain",
    "draw": "core.chain",
    "Transitions": "core.chain",
    "Reward": "rewards.base",
    "Objective": "objectives.base",
    "Policy": "core.policy",
    "DiffusionPolicy": "core.policy",
    "Samples": "objectives.base",
    "Needs": "objectives.base",
    "Model": "models.base",
    "Source": "training.sources.online",
    "Online": "training.sources.online",
    "Offline": "training.sources.stored",
    "Trainer": "training.trainer",
    # a method on a task
    "Method": "methods.base",
    "Drawn": "methods.drawn",
    "Task": "tasks.base",
    "Goal": "tasks.base",
    "HeldOut": "tasks.builtin",
    "Recipe": "recipes",
    "recipe": "recipes",
    "reward": "public",
    # a run and its settings
    "Run": "training.run",
    "Moment": "training.run",
    "Budget": "training.run",
    "Keeping": "training.run",
    "Guards": "training.guards",
    "Geometry": "training.geometry",
    "Advantages": "core.advantage",
    "Optimizer": "training.optimizer",
    "Evaluation": "training.evaluations.pictures",
    "Sampling": "methods.sampling",
    "Noisy": "methods.sampling",
    "load": "public",
    "resumed": "public",
    # what can go wrong
    "Diverged": "training.guards",
    "RewardError": "rewards.base",
    "RunFolderError": "training.folder",
    "CheckpointError": "training.checkpoint",
}
"""Every public name and the module that it is imported from when it is first asked for."""
LISTS = ("methods", "tasks")
"""Packages that are also what they list: `sw.methods["vgrpo"]`, `list(sw.tasks)`."""

if TYPE_CHECKING:
    from scoreward.core.advantage import Advantages as Advantages
    from scoreward.core.chain import Sampler as Sampler
    from scoreward.core.chain import Transitions as Transitions
    from scoreward.core.chain import draw as draw
    from scoreward.core.denoiser import Denoiser as Denoiser
    from scoreward.core.gaussian import Gaussian as Gaussian
    from scoreward.core.kernel import Kernel as Kernel
    from scoreward.core.keys import Key as Key
    from scoreward.core.policy import DiffusionPolicy as DiffusionPolicy
    from scoreward.core.policy import Policy as Policy
    from scoreward.core.prediction import Prediction as Prediction
    from scoreward.core.process import Process as Process
    from scoreward.core.process import RectifiedFlow as RectifiedFlow
    from scoreward.core.process import time_grid as time_grid
    from scoreward.methods.base import Method as Method
    from scoreward.methods.drawn import Drawn as Drawn
    from scoreward.methods.sampling import Noisy as Noisy
    from scoreward.methods.sampling import Sampling as Sampling
    from scoreward.models.base import Model as Model
    from scoreward.objectives.base import Needs as Needs
    from scoreward.objectives.base import Objective as Objective
    from scoreward.objectives.base import Samples as Samples
    from scoreward.public import load as load
    from scoreward.public import resumed as resumed
    from scoreward.public import reward as reward
    from scoreward.recipes import Recipe as Recipe
    from scoreward.recipes import recipe as recipe
    from scoreward.rewards.base import Reward as Reward
    from scoreward.rewards.base import RewardError as RewardError
    from scoreward.tasks.base import Goal as Goal
    from scoreward.tasks.base import Task as Task
    from scoreward.tasks.builtin import HeldOut as HeldOut
    from scoreward.training.checkpoint import CheckpointError as CheckpointError
    from scoreward.training.evaluations.pictures import Evaluation as Evaluation
    from scoreward.training.folder import RunFolderError as RunFolderError
    from scoreward.training.geometry import Geometry as Geometry
    from scoreward.training.guards import Diverged as Diverged
    from scoreward.training.guards import Guards as Guards
    from scoreward.training.optimizer import Optimizer as Optimizer
    from scoreward.training.run import Budget as Budget
    from scoreward.training.run import Keeping as Keeping
    from scoreward.training.run import Moment as Moment
    from scoreward.training.run import Run as Run
    from scoreward.training.sources.online import Online as Online
    from scoreward.training.sources.online import Source as Source
    from scoreward.training.sources.stored import Offline as Offline
    from scoreward.training.trainer import Trainer as Trainer


def __getattr__(name: str) -> Any:
    if name in LISTS:
        return import_module(f"scoreward.{name}")
    if name not in PUBLIC:
        raise AttributeError(f"module 'scoreward' has no attribute {name!r}")
    return getattr(import_module(f"scoreward.{PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC, *LISTS})
