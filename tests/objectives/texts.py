"""A tiny Llama whose policy has left its reference, and a round of pairs for it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scoreward.data.preferences.records import TextBinary, TextPair
from scoreward.methods.texts import LOSSES, TextMethod, measured, trained
from scoreward.models.texts.language import LanguageModel, TextPolicy
from scoreward.models.texts.loading import LanguageLoading, TinyLlama
from scoreward.objectives.base import Objective
from scoreward.objectives.texts.kto import KTO
from scoreward.tasks.text_data import sorted_digits
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.references import ReferenceFile
from scoreward.training.sources.online import Source
from scoreward.training.sources.texts import LabelledSource, PairSource, PairTexts
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer

SIZES = TinyLlama(width=32, layers=2, heads=2, context=64)
TALES = ("a cat", "the dog ran", "rain", "no", "yes, of course", "it is late now")


def tales(count: int) -> list[TextPair]:
    """Pairs of completions of unlike lengths, with scores."""
    return [
        TextPair(
            f"say {i}: ",
            TALES[i % 6] * (1 + i % 3),
            TALES[(i + 1) % 6],
            score_w=0.9 + 0.1 * i,
            score_l=0.3,
        )
        for i in range(count)
    ]


def llama(loading: LanguageLoading = LanguageLoading(adapters=False)) -> LanguageModel:
    model = SIZES.build(loading)
    model.network.double()
    return model


@dataclass
class Bench:
    """A trainer, one collected and prepared round, and the loss on it."""

    trainer: Trainer
    rows: Any
    policy: Any

    def loss(self) -> tuple[Tensor, dict[str, Tensor]]:
        return self.trainer.objective.loss(self.rows, self.policy)


def named(name: str, **settings: Any) -> TextMethod:
    """A loss by the name of its method, with other settings than its own."""
    return replace(LOSSES[name], **settings)


def trainer_of(
    method: TextMethod,
    folder: Path,
    records: Sequence[TextPair],
    geometry: Geometry,
    model: LanguageModel | None = None,
    objective: Objective | None = None,
    lr: float = 1e-3,
) -> Trainer:
    """A trainer of one method; the reference's numbers are kept in `folder`."""
    model = model or llama()
    name = next(name for name, one in LOSSES.items() if type(one) is type(method))
    file = folder / f"{name}.safetensors"
    asked = ReferenceFile(True, measured(method).entropy, file)
    source: Source[TextPolicy, Any]
    if isinstance(method, KTO):
        both = [TextBinary(r.prompt, r.chosen if i % 2 else r.rejected, bool(i % 2))
                for i, r in enumerate(records)]  # fmt: skip
        source = LabelledSource(model, both, geometry, asked)
    else:
        source = PairSource(PairTexts(model, records, asked), geometry)
    return Trainer(model, objective or trained(method), source, Optimizer(lr=lr), Team())


def moved(trainer: Trainer, size: float = 0.2) -> None:
    """The policy leaves its reference."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in trainer.weights.parameters.values():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(size * parameter.std() * noise.to(parameter))
    trainer.weights.stepped()


def bench(method: TextMethod, folder: Path, pairs: int = 6, away: float = 0.6) -> Bench:
    """One round, ready for the loss."""
    trainer = trainer_of(method, folder, tales(pairs), Geometry(prompts=pairs, group=1))
    if away:
        moved(trainer, away)
    work, _ = trainer.work(0)
    with torch.no_grad():
        collected = trainer.source.collect(0, trainer.key, work)
        rows = trainer.objective.ready(collected.samples, work.policy, trainer.key)
    return Bench(trainer, rows, work.policy)


DIGITS = sorted_digits(24)
