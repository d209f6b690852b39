"""What is compared: a method that only follows the reward, and the remedies.

Every arm is a method with options of the command line; `cautious` replaces the reward's one head by
the mean of four less one standard deviation. Early stopping and hybrid inference need no run of
their own: they are other ways of using a free run.
"""

from dataclasses import dataclass

BUDGET = 12_000  # network evaluations of a run, a trained one counting three
POINTS = 4  # measurements after the start
SHORT = "--sampling.solver dpmpp --sampling.steps 5 --optimizer.decay constant"


@dataclass(frozen=True)
class Arm:
    """A method on the emoji, its options, and whether the reward is the cautious one."""

    recipe: str
    words: str
    cautious: bool = False


DIRECT = f"{SHORT} --geometry.prompts 16 --geometry.group 2 --optimizer.lr 5e-4"
GROUPS = f"{SHORT} --geometry.prompts 8 --geometry.group 8 --objective.pairs 2 --optimizer.lr 1e-4"
ARMS = {
    "draft_free": Arm("emoji_draft", f"{DIRECT} --objective.anchor 0"),
    "draft_anchor": Arm("emoji_draft", f"{DIRECT} --objective.anchor 0.5"),
    "draft_cautious": Arm("emoji_draft", f"{DIRECT} --objective.anchor 0", cautious=True),
    "vgrpo_free": Arm("emoji_vgrpo", f"{GROUPS} --objective.anchor 0"),
    "vgrpo_anchor": Arm("emoji_vgrpo", f"{GROUPS} --objective.anchor 0.3"),
    "vgrpo_cautious": Arm("emoji_vgrpo", f"{GROUPS} --objective.anchor 0", cautious=True),
}
HYBRID = (0.7, 0.3)  # times at which a tuned model hands over to the base
