"""What every program of the comparison is asked to do: the same round."""

from typing import Any

PROMPTS = (
    "a red fox on a wall",
    "two blue birds",
    "a green boat at night",
    "an old map of an island",
)
GROUP = 4  # samples a prompt
SAMPLES = len(PROMPTS) * GROUP
BATCH = 4  # samples generated at once, and rows trained at once
STEPS = 10  # of the rollout
RANK, ALPHA = 4, 4.0  # of the adapters on the attention layers
LR, BETAS, WEIGHT_DECAY, MAX_NORM = 1e-4, (0.9, 0.999), 1e-4, 1.0  # of AdamW
CLIP = 1e-4  # of the ratio
CHECKED = 10  # scoreward asks the network twice in one round of so many, to check the ratio
GUIDANCE = {"sd15": 5.0, "sd3": 4.5}  # where there is any
NOISE = 0.7  # a of Flow-GRPO's SDE
MAX_TOKENS = 77  # of T5


def redness(images: Any) -> Any:
    """Mean of red minus the others, one number a picture: a reward that costs nothing."""
    return images[:, 0].flatten(1).mean(1) - images[:, 1:].flatten(1).mean(1)
