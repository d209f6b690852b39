"""What is compared: methods, the settings each was allowed to try, budgets, ablations.

A method has options of the command line, so every line of the benchmark is also a
`scoreward train` command. Each method has the same number of trials on validation prompts; the
best one is trained again with other seeds and measured on test prompts.
"""

from dataclasses import dataclass

BUDGET = {"portraits": 60_000, "lettering": 60_000, "toy": 40_000}  # network evaluations of a run
TUNING = 0.5  # of it for a trial


@dataclass(frozen=True)
class Arm:
    """A method: its name on the command line and the options of each trial."""

    method: str
    recipe: str
    trials: tuple[str, ...]
    floor: float = 0.7  # of the base's diversity; a trial below it loses what it lacks
    share: float = 1.0  # of the task's budget


@dataclass(frozen=True)
class Change:
    """Options put behind the chosen ones of a method."""

    method: str
    words: str


def crossed(
    rates: tuple[str, ...], regularisers: tuple[str, ...], rest: str = ""
) -> tuple[str, ...]:
    """Every learning rate with every regulariser: four trials."""
    every = (f"--optimizer.lr {lr} {r} {rest}" for lr in rates for r in regularisers)
    return tuple(" ".join(words.split()) for words in every)


def anchored(*weights: float) -> tuple[str, ...]:
    return tuple(f"--objective.anchor {w}" for w in weights)


def near(*weights: float) -> tuple[str, ...]:
    return tuple(f"--objective.kl {w} --objective.kl-form paper" for w in weights)


RATES = ("1e-4", "3e-4")
FOUR_RATES = ("5e-5", "1e-4", "2e-4", "4e-4")  # where a released regulariser is kept
MULTIPLIERS = tuple(f"--objective.scale {m}" for m in (1, 4, 16, 64))
SMALL = "--geometry.prompts 8 --geometry.group 8"
NFT = "--objective.times stratified --objective.pairs 4"
DIRECT = ("--variety 0.4", "--variety 0.55")
VARIETIES = ("--variety 0.5", "--variety 1.0")
ARMS = [
    Arm("vgrpo", "vgrpo", crossed(RATES, anchored(0.05, 0.15), SMALL)),
    Arm("diffusion_nft", "diffusion_nft", crossed(RATES, anchored(0.05, 0.15))),
    Arm("diffusion_nft_4", "diffusion_nft", crossed(RATES, anchored(0.05, 0.15), NFT)),
    Arm("awm", "awm", crossed(RATES, anchored(0.001, 0.1), "--objective.share none")),
    Arm("epg", "epg", crossed(FOUR_RATES, ("",))),
    Arm("epg_4", "epg", crossed(FOUR_RATES, ("",), NFT)),
    Arm("dgpo", "dgpo", crossed(FOUR_RATES, ("",))),
    Arm("crd", "crd", crossed(FOUR_RATES, ("",))),
    Arm("ram", "ram", crossed(("3e-4",), MULTIPLIERS)),
    Arm("mixgrpo", "mixgrpo", crossed(RATES, near(0.0, 0.03))),
    Arm("mixgrpo_flash", "mixgrpo_flash", crossed(RATES, near(0.0, 0.03))),
    Arm("flow_grpo", "flow_grpo", crossed(RATES, near(0.0, 0.03))),
    Arm("flow_grpo_fast", "flow_grpo_fast", crossed(RATES, near(0.0, 0.03))),
    Arm("dance_grpo", "dance_grpo", crossed(RATES, near(0.0, 0.03))),
    Arm("ddpo", "ddpo", crossed(RATES, near(0.0, 0.03))),
    Arm("refl", "refl", crossed(RATES, anchored(0.0, 0.3))),
    Arm("draft", "draft", crossed(RATES, anchored(0.0, 0.3))),
    Arm("align_prop", "align_prop", crossed(RATES, anchored(0.0, 0.3))),
    Arm("swift", "swift", crossed(("1e-4", "2e-4"), VARIETIES), floor=0.85, share=0.5),
    Arm("swift_direct", "swift_direct", crossed(("2e-4", "3e-4"), DIRECT), floor=0.85, share=0.5),
]
ABLATIONS = {
    "vgrpo": Change("vgrpo", ""),
    "unshared": Change("vgrpo", "--objective.share none"),
    "unstratified": Change("vgrpo", "--objective.times uniform"),
    "unweighted": Change("vgrpo", "--objective.no-adaptive"),
    "naive": Change(
        "vgrpo",
        "--objective.share none --objective.times uniform --objective.no-adaptive "
        "--objective.prediction velocity",
    ),
    "pairs2": Change("vgrpo", "--objective.pairs 2"),
    "pairs8": Change("vgrpo", "--objective.pairs 8"),
    "velocity": Change("vgrpo", "--objective.prediction velocity"),
    "eps": Change("vgrpo", "--objective.prediction eps"),
    "swift": Change("swift", ""),
    "swift_ten_steps": Change("swift", "--sampling.solver ddim --sampling.steps 10"),
    "swift_four_pairs": Change("swift", "--objective.pairs 4"),
    "swift_plain_anchor": Change("swift", "--objective.anchor-guidance 1.0"),
    "swift_no_variety": Change("swift", "--variety 0.0"),
    "swift_no_reward": Change("swift", "--advantages.bound 1e-9"),
    # conditions under which the published gaps between methods might appear
    **{
        f"{method}_{name}": Change(method, words)
        for method in ("vgrpo", "mixgrpo", "diffusion_nft_4")
        for name, words in {
            "plain": "",
            "two_updates": "--geometry.minibatches 2",
            "group16": "--geometry.prompts 4 --geometry.group 16",
        }.items()
    },
}
