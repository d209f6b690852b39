"""What the package offers by name alone: rewards, and what a run has left behind."""

from pathlib import Path

from scoreward.commands.again import built, trained
from scoreward.models.base import Model
from scoreward.rewards.base import Reward
from scoreward.rewards.catalogue import find
from scoreward.training.folder import RunFolder
from scoreward.training.run import Run


def reward(name: str) -> Reward:
    """A reward by name, NAME=WEIGHTS or FILE.py:FUNCTION.  ValueError for one there is not.

    >>> import torch
    >>> import scoreward as sw
    >>> sw.reward("contrast")(torch.zeros(2, 3, 8, 8), ["", ""]).tolist()
    [0.0, 0.0]
    """
    return find(name)


def load(folder: str | Path, which: str = "ema") -> Model:
    """The model of a run folder with its newest weights: averaged ("ema"), live, or the first.

    Raises CheckpointError where there is none yet, RunFolderError for a run from Python whose
    settings no command line can say.

    >>> import scoreward as sw
    >>> budget = sw.Budget(rounds=1)
    >>> run = sw.recipe("vgrpo", on="toy").run(budget=budget)
    >>> rounds = list(run.start())
    >>> sw.load(run.folder).shape
    (2,)
    """
    return trained(Path(folder), which).model


def resumed(folder: str | Path) -> Run:
    """The run of a folder, to go on with by `.resume()`.  Raises as `load`.

    >>> import scoreward as sw
    >>> budget = sw.Budget(rounds=1)
    >>> run = sw.recipe("vgrpo", on="toy").run(budget=budget)
    >>> rounds = list(run.start())
    >>> sw.resumed(run.folder).budget.rounds
    1
    """
    from dataclasses import replace

    return replace(built(RunFolder(Path(folder)), "start it there"), folder=Path(folder))
