"""The built-in text-to-image model as a `Model`: pixel portraits, 16 × 16, on a CPU."""

from collections.abc import Sequence

from torch import Tensor

from scoreward.data.words import encode
from scoreward.models.builtin.pictures import PictureModel
from scoreward.models.builtin.transformer import NetworkSize

TOKENS = 6


def words(prompts: Sequence[str]) -> Tensor:
    """[batch, 6, 256]: one averaged word vector per phrase."""
    return encode(prompts, TOKENS)


portraits = PictureModel("portraits", (3, 16, 16), NetworkSize(), words, "word")
