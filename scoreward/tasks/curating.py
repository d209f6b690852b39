"""Rich preference pairs on the built-in model: `scoreward curate portraits`."""

from pathlib import Path
from typing import Literal

from scoreward.core.device import chosen
from scoreward.curation.pictures import same_pixels
from scoreward.curation.portraits import (
    AttributeCritic,
    ModelEditor,
    ModelGenerator,
    PortraitEditing,
    Template,
)
from scoreward.curation.rules import Rules
from scoreward.curation.stages import Pipeline, Plan
from scoreward.data import portraits as data
from scoreward.methods.sampling import Sampling
from scoreward.rewards.portraits import AttributeReward, ShareRight
from scoreward.tasks.builtin import Start
from scoreward.tasks.portraits import PORTRAITS, verifier


def portraits(
    sampling: Sampling = Sampling(),
    editing: PortraitEditing = PortraitEditing(),
    rules: Rules = Rules(gap=(0.1,), other=0.3),
    plan: Plan = Plan(),
    instructions: int = 3,
    split: Literal["train", "validation"] = "train",
    weights: Path | None = None,
    device: str = "auto",
) -> Pipeline:
    """Rich pairs of pixel portraits; verifier A criticises and decides, verifier B judges.

    `instructions` are carried out at most at once; `split` says whose prompts; `weights` is a file
    of another model than the shipped one; `device` is cpu, cuda, cuda:1, mps or auto. A gap of 0.1
    is most of one attribute of seven.
    """
    model, place = PORTRAITS.build(Start(weights)), chosen(device)
    model.network.to(place)
    return Pipeline(
        name="portraits",
        prompts=data.load(split).captions,
        generator=ModelGenerator(
            model, sampling.sampler(), f"built-in portraits {weights or ''}, {sampling}"
        ),
        critic=AttributeCritic(verifier("a"), "attribute verifier A", place),
        instructor=Template(instructions, f"template, at most {instructions}"),
        editor=ModelEditor(model, editing),
        deciding={"verifier_a": AttributeReward(verifier("a"))},
        judging={"verifier_b": ShareRight(verifier("b"))},
        similarity=same_pixels,
        rules=rules,
        plan=plan,
        device=place,
    )
