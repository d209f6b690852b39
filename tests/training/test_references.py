"""The reference's numbers belong to the precision in which they were computed."""

from pathlib import Path

import pytest

from scoreward.core.denoiser import PRECISIONS
from scoreward.training.geometry import Geometry
from tests.objectives.texts import named, tales, trainer_of


def asked(folder: Path, precision: str = "no") -> bool:
    """Whether the numbers were read from the file."""
    trainer = trainer_of(named("dpo"), folder, tales(4), Geometry(prompts=4, group=1))
    trainer.team.precision = PRECISIONS.get(precision)
    work, _ = trainer.work(0)
    trainer.source.collect(0, trainer.key, work)
    return trainer.source.data.references.read  # pyright: ignore


def test_numbers_of_another_precision_are_refused(tmp_path: Path) -> None:
    """Or a run in float32 would start from the rounding of bfloat16, not from log 2."""
    assert not asked(tmp_path)
    assert asked(tmp_path)
    with pytest.raises(ValueError, match="of other precision; delete it, or name another file"):
        asked(tmp_path, "bf16")
