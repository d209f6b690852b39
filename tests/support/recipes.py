"""The pairs of a method and a task that tests go through, by name, and the toy as a function."""

from pathlib import Path
from typing import Any

from scoreward.methods.pictures import GRADIENTS, PAIRS, PATHS, SAMPLES
from scoreward.recipes import recipe
from scoreward.settings import ROWS
from scoreward.tasks.builtin import HeldOut
from scoreward.training.evaluations.gap import Gap
from scoreward.training.run import Run

ON_PAIRS = tuple(one.name for one in PAIRS)
ONLINE = tuple(one.name for one in (*SAMPLES, *PATHS, *GRADIENTS))
ON_PIPELINES = ("sd15", "sdxl", "sd35", "flux", "kontext", "wan")
PRETRAINED = tuple(
    "_".join(part for part in (row.task, row.method, row.variant) if part)
    for row in ROWS
    if row.task in ON_PIPELINES
)
FROM_FILES = tuple(n for n in PRETRAINED if n.endswith(("_dpo", "_sft")))
LANGUAGE = ("tiny_llama_dpo", "smollm_dpo", "smollm_simpo", "smollm_rainbow_po")
ON_PORTRAITS = tuple(f"portraits_{name}" for name in (*ONLINE, *ON_PAIRS, "pretrain", "few_step"))
MOVED = tuple(
    f"{task}_{one.name}"
    for task in ("lettering", "emoji")
    for one in (*SAMPLES, *PATHS, *GRADIENTS)
    if recipe(one.name, task).refusal is None
)
BUILT_IN = (
    *ON_PORTRAITS,
    "toy_vgrpo",
    "lettering_pretrain",
    "emoji_pretrain",
    "digits_compressed_pretrain",
    "digits_compressed_vgrpo",
    *LANGUAGE,
    *PRETRAINED,
)


def toy_vgrpo(every: int = 25, gap: Gap | None = None, **given: Any) -> Run:
    """V-GRPO on the toy."""
    held_out = HeldOut(prompts=64, every=every, gap=gap or Gap())
    return recipe("toy_vgrpo").run(held_out=held_out, folder=Path("runs/unnamed"), **given)
