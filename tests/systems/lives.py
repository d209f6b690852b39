"""A recipe whose process ends itself in a chosen round, as a kill or a Ctrl-C would end it.

END_AT and END_BY (9 is SIGKILL, 2 is SIGINT) are read by this recipe only.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from scoreward.tasks.toy import closeness
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.sources.online import Online
from tests.support.recipes import toy_vgrpo


@dataclass
class Ending:
    """The toy's reward; the process that asks for the given round gets a signal instead."""

    first: int  # round of this life's first call
    asked: int = 0

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Tensor:
        self.asked += 1
        if os.environ.get("END_AT") == str(self.first + self.asked - 1):
            os.kill(os.getpid(), int(os.environ["END_BY"]))
        return closeness(media, prompts)


def run(rounds: int = 16, every: int = 5) -> Run:
    """Several updates a round, a decaying rate and an average: all of it must come back."""
    base = toy_vgrpo(geometry=Geometry(prompts=4, group=4, minibatches=3), every=4)
    assert isinstance(base.source, Online)
    assert base.evaluation is not None
    reward = Ending(int(os.environ.get("START_AT", "1")))
    return replace(
        base,
        source=replace(base.source, rewards={"mine": reward}),
        optimizer=Optimizer(lr=2e-2, weight_decay=0.01, warmup=5, decay="cosine"),
        budget=Budget(rounds=rounds),
        keeping=Keeping(every=every),
        evaluation=replace(base.evaluation, prompts=list(base.evaluation.prompts)[:8], every=4),
    )
