"""The second built-in model as a `Model`: words of two to five letters, 32 x 64 grey pixels."""

from jaxtyping import Float
from torch import Tensor

from scoreward.data.lettering import DIM, HEIGHT, WIDTH, encode
from scoreward.models.builtin.pictures import PictureModel, pictures
from scoreward.models.builtin.transformer import NetworkSize


def three_channels(
    x0: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, "batch 3 height width"]:
    """From grey in [-1, 1] to media in [0, 1], three equal channels as every reward expects."""
    return pictures(x0).expand(-1, 3, -1, -1)


lettering = PictureModel(
    "lettering",
    (1, HEIGHT, WIDTH),
    NetworkSize(depth=6, patch=8, text=DIM, places="waves"),
    encode,
    "letter",
    three_channels,
)
