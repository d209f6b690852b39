"""A run folder as one line of curves.jsonl."""

from pathlib import Path

from scoreward.training.folder import RunFolder

KEPT = ("reward", "judge", "strict", "drift", "diversity", "nearest", "palette", "regret")
PLACES = ("folder", "origin", "evaluation")  # of one machine, or the same for all


def curve_of(folder: Path) -> dict:
    """Numbers of the ODE sampler at every evaluation, with what they cost."""
    run = RunFolder(folder)
    lines, about = run.records("evaluation"), run.about()
    curve: dict = {
        "seed": about["seed"],
        "settings": {k: v for k, v in about["settings"].items() if k not in PLACES},
        "evaluations": [cost(line["evaluations"]) for line in lines],
        "seconds": [line["seconds"] for line in lines],
    }
    for name in KEPT:
        if name in lines[0]["ode"]:
            curve[name] = [line["ode"][name] for line in lines]
    return curve


def cost(spent: dict[str, int]) -> int:
    """Behaviour + training forward + 2 × training backward."""
    return spent["behaviour"] + spent["training_forward"] + 2 * spent["training_backward"]
