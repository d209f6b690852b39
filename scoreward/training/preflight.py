"""What a run needs is tried once, small, before it starts: wrong settings fail within seconds.

Two pictures are drawn in two steps and shown to everything that measures; then a round of as few
prompts as fill a micro-batch is drawn, scored and prepared, and one micro-batch goes forward and
back. No weight, random number or count of the run is moved by it. It costs a group and a few
samples more, a per cent or two of a round of usual size, and is not repeated on resuming.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch

from scoreward.core.chain import Sampler, draw
from scoreward.core.kernel import DDIM, generalised
from scoreward.core.keys import Key, normal_each
from scoreward.models.base import Model
from scoreward.rewards.base import answers
from scoreward.training.evaluations.pictures import Evaluation
from scoreward.training.sources.online import Source, to_device
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer

STEPS = 2  # of the pictures that are shown to what measures; ours


def preflight(evaluation: object, trainer: Trainer) -> None:
    """Raises whatever the run would have raised in its first evaluation or round."""
    team = trainer.team
    with undrawn(team.device):
        if isinstance(evaluation, Evaluation) and isinstance(trainer.model, Model):
            _measured(evaluation, trainer.model, trainer)
        small = smallest(trainer.source, team)
        if small is not None:
            trainer.rehearse(small)


def smallest(source: Source, team: Team) -> Source | None:
    """The source with rounds that just fill a micro-batch; None for one that cannot be shrunk."""
    if not is_dataclass(source) or "geometry" not in {field.name for field in fields(source)}:
        return None
    sizes = source.geometry
    filled = -(-max(2, min(sizes.micro_batch, sizes.samples)) // sizes.group)
    prompts = min(sizes.prompts, max(filled, team.size))
    small: Any = replace(sizes, prompts=prompts, minibatches=1, epochs=1)
    return replace(source, geometry=small)  # pyright: ignore[reportCallIssue]


@torch.no_grad()
def _measured(evaluation: Evaluation, model: Model, trainer: Trainer) -> None:
    """Two pictures of the first and the last prompt, drawn in two steps, for every scorer."""
    prompts, times = [evaluation.prompts[0], evaluation.prompts[-1]], model.grid(STEPS)
    sampler = Sampler(times, (DDIM(generalised(0.0)),) * (len(times) - 1))
    keys = [Key(("preflight", i)) for i in range(len(prompts))]
    noise = normal_each((key / "start" for key in keys), model.shape).to(trainer.team.device)
    cond = to_device(model.encode(prompts), trainer.team)
    x = sampler.start(model.process) * noise
    media = model.decode(draw(sampler, trainer.reading("ema"), x, keys, cond))
    trainer.team.all_or_none(lambda: answers(evaluation.scorers, media, prompts))


@contextmanager
def undrawn(device: torch.device) -> Iterator[None]:
    """Puts back where every generator of random numbers was."""
    python, numbers = random.getstate(), np.random.get_state()
    cards = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(cards):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)
