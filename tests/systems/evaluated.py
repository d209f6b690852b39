"""Every kind of evaluation, where a process may hold a part of it or nothing at all.

python -m tests.systems.evaluated FOLDER is one process of a team.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scoreward.data.preferences.records import TextBinary
from scoreward.methods.sampling import Sampling
from scoreward.methods.texts import measured
from scoreward.models.texts.generation import TextSampling as Drawing
from scoreward.models.texts.generation import Writer
from scoreward.tasks.toy import CORNERS, closeness
from scoreward.training.evaluations.gap import Gap
from scoreward.training.evaluations.pictures import Evaluation, Evaluator, Measurement, Subject
from scoreward.training.evaluations.texts import LabelledEvaluation, TextEvaluation, Writing
from scoreward.training.geometry import Geometry
from scoreward.training.references import ReferenceFile
from scoreward.training.sources.pairs import HeldOutPairs
from scoreward.training.sources.texts import LabelledSource, PairTexts
from scoreward.training.trainer import Trainer
from tests.objectives.texts import moved, named, tales, trainer_of
from tests.systems.cases import corners
from tests.systems.flat import picky
from tests.training.preferring import pair_data
from tests.training.toys import make_trainer, worded

WORDS = list(CORNERS) * 3
SAMPLERS = {
    "ode": Sampling(steps=4).sampler(),
    "sde": Sampling(steps=4, eta=1.0).sampler(),
}
TEXTS = ("dpo", "rainbow_po", "aot")
LENGTHS = (1, 7)


def subject(trainer: Trainer, model: Any) -> Subject:
    now, first = (trainer.reading(name) for name in ("ema", "reference"))
    return Subject(model, now, first, trainer.weights, trainer.team, trainer.memory, 0, last=True)


def pictures(prompts: int, spread: int, noises: int) -> dict[str, Any]:
    """All that an evaluation of pictures measures, of a model that has moved."""
    model = picky()
    trainer = make_trainer(model=model)
    with torch.no_grad():
        for parameter in trainer.weights.parameters.values():
            parameter += torch.tensor([[0.3, 0.1], [-0.2, 0.4], [0.0, 0.5], [0.6, -0.1]])
    trainer.weights.stepped()
    trainer.weights.commit("ema")
    evaluation = Evaluation(
        prompts=WORDS[:prompts],
        samplers=SAMPLERS,
        scorers={"reward": closeness, "judge": lambda media, prompts: media[:, 0]},
        tables={"corners": corners},
        spread_prompts=spread,
        noises=noises,
        batch=3,
        shown=2,
        gap=Gap(etas=(0.5, 1.0), steps=(2,), converged=4, prompts=min(prompts, 5), noises=3)
        if prompts > 1
        else Gap(),
        probes={"pairs": HeldOutPairs(pair_data(prompts, "held out"), draws=3, batch=2)},
    )
    return told(evaluation, subject(trainer, model))


def told(evaluation: Evaluator, of: Subject) -> dict[str, Any]:
    measured: Measurement = evaluation.measure(of)
    return {
        "numbers": measured.numbers,
        "scores": measured.scores,
        "gaps": list(measured.gaps),
        "prompts": list(measured.prompts),
        "texts": list(measured.texts),
        "pictures": measured.pictures,
    }


def word_length(texts: Sequence[str], prompts: Sequence[str]) -> Tensor:
    return torch.tensor([float(len(t)) for t in texts])


def texts(name: str, pairs: int, folder: Path) -> dict[str, Any]:
    """Accuracies, margins and what is written, by a language model that has moved."""
    method = named(name)
    trainer = trainer_of(method, folder, tales(6), Geometry(prompts=6, group=1))
    moved(trainer)
    trainer.weights.commit("ema")
    trainer.step()
    asked = ReferenceFile(True, measured(method).entropy, folder / f"{name}-{pairs}.held")
    # twice the same prompt: its answers must differ, on whatever process they are written
    words = (["say: ", "tell: ", "say: ", "say: "] * 2)[:pairs]
    writing = Writing(words, Writer(Drawing(1.0, 1.0, 6)), {"length": word_length})
    data = PairTexts(worded(trainer), tales(pairs + 6)[6:], asked)
    evaluation = TextEvaluation(data, measured(method), batch=2, writing=writing)
    return told(evaluation, subject(trainer, worded(trainer)))


def labels(texts: int, folder: Path) -> dict[str, Any]:
    trainer = trainer_of(named("kto"), folder, tales(6), Geometry(prompts=6, group=1))
    moved(trainer)
    trainer.weights.commit("ema")
    records = [TextBinary(r.prompt, r.chosen, bool(i % 2)) for i, r in enumerate(tales(texts))]
    source = LabelledSource(
        worded(trainer), records, reference=ReferenceFile(file=folder / f"kto-{texts}.held")
    )
    return told(LabelledEvaluation(source, batch=2), subject(trainer, worded(trainer)))


def everything(folder: Path) -> dict[str, dict[str, Any]]:
    """By name; `folder` is the team's own."""
    sizes = {"many": (7, 3, 4), "one_prompt": (1, 1, 2), "two_prompts": (2, 2, 7)}
    found = {f"pictures_{name}": pictures(*size) for name, size in sizes.items()}
    for name in TEXTS:
        found |= {f"{name}_{n}": texts(name, n, folder) for n in LENGTHS}
    return found | {f"labels_{n}": labels(n, folder) for n in (2, 5)}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    torch.save(everything(folder / "references"), folder / f"rank{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
