"""The analytic toy: a Gaussian policy whose optimum is known, so that a run takes a second.

Prompts name a corner of a square; the reward is minus the squared distance of the sample to it.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from scoreward.core.process import RectifiedFlow
from scoreward.models.analytic import GaussianPolicy
from scoreward.models.base import Model
from scoreward.tasks.builtin import BuiltIn, HeldOut

CORNERS = {
    "north east": (1.0, 1.0),
    "north west": (-1.0, 1.0),
    "south east": (1.0, -1.0),
    "south west": (-1.0, -1.0),
}


def corner_of(prompts: Sequence[str]) -> Tensor:
    """The number of each prompt's corner; ValueError for a prompt that names none."""
    names = list(CORNERS)
    if unknown := [p for p in prompts if p not in CORNERS]:
        raise ValueError(f"unknown prompt {unknown[0]!r}; the toy knows {', '.join(names)}")
    return torch.tensor([names.index(p) for p in prompts])


def closeness(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """Minus the squared distance to the corner; the optimum of the mean is the corner itself."""
    corners = torch.tensor([CORNERS[p] for p in prompts]).to(media)
    return -(media - corners).square().sum(1)


def toy_model(dim: int = 2) -> Model:
    """N(mean of the prompt, 0.25 I), all means at the origin."""
    policy = GaussianPolicy(len(CORNERS), dim)
    return Model(
        policy, RectifiedFlow(), "velocity", (dim,), corner_of, lambda x0: x0, lambda cond: cond
    )


def fresh(weights: Mapping[str, Tensor] | None) -> Model:
    """The toy, or with weights of an earlier run."""
    model = toy_model()
    if weights is not None:
        model.network.load_state_dict(dict(weights))
    return model


TOY = BuiltIn(
    name="toy",
    about="a Gaussian whose best mean is known; a run takes a second",
    open=fresh,
    captions=lambda split: list(CORNERS),
    reward=lambda smooth: {"closeness": closeness},
    scorers=lambda: {"reward": closeness},
    held_out=HeldOut(prompts=64, every=25),
    again=True,
    spread=4,
    renames={"--every": "--held-out.every", "--gap.": "--held-out.gap."},
)
