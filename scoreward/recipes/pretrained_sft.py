"""Supervised fine-tuning on captioned pictures: where preferences and rewards often start from."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from scoreward.data.captioned import captioned
from scoreward.data.holding import cut
from scoreward.models.diffusers import Loading, load
from scoreward.objectives.denoising import Denoising
from scoreward.recipes.pretrained import Measured, Task
from scoreward.recipes.pretrained_sd35 import LOADING, SD35
from scoreward.recipes.shared import Flat, Shared, told
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.source import Offline

SIZES = Shared(
    geometry=Geometry(prompts=32, group=1, micro_batch=4),
    optimizer=Optimizer(lr=1e-4, weight_decay=1e-4, warmup=100),
    budget=Budget(rounds=1000),
)


def sd35_sft(
    pictures: Path,
    model: str = SD35,
    loading: Loading = LOADING,
    task: Task = Task(reward=("clip_score",)),
    objective: Denoising = Denoising(),
    shared: Flat = SIZES,
    measured: Measured = Measured(every=100),
) -> Run:
    """Fine-tuning on a folder of captioned pictures (metadata.jsonl, or a .txt beside each).

    Latents and prompt embeddings are computed once and kept on disk. A share of the captions is
    held out and only drawn, and no picture is on both sides; the reward of `task` measures and
    trains nothing. Settings are ours.
    """
    pairs = captioned(pictures)
    made_of = [(sha256(path.read_bytes()).digest(),) for path, _ in pairs]
    parts = cut([text for _, text in pairs], task.share, "captions", made_of)
    train = [pairs[i] for i in parts.kept]
    held_out = list(dict.fromkeys(pairs[i][1] for i in parts.away))
    made = load(model, loading)
    if made.read is None:
        raise ValueError(f"{model} has no VAE that reads pictures")
    return Run(
        name="sd35_sft",
        model=made,
        objective=replace(objective, target=made.kind),
        source=Offline(made.read([p for p, _ in train]), [t for _, t in train], shared.geometry),
        optimizer=shared.optimizer,
        budget=shared.budget,
        evaluation=measured.evaluation(made, task, held_out or [text for _, text in train]),
        keeping=Keeping(every=measured.every),
        origin=told(parts.count("captions", measured.prompts)),
        mixed_precision=loading.precision,
    )
