"""Trains the terrain model, measures it before and after, and draws both.

    python -m examples.terrain.run                        the recipe, about five minutes on one core
    python -m examples.terrain.run --arm no_floor --seed 1
    python -m examples.terrain.run table                  the figures of results.jsonl
    python -m examples.terrain.run picture                terrain.png from the runs of seed 0
    python -m examples.terrain.run floors                 the floors of the recipe
    python -m examples.terrain.run steps                  what more than one step does

Arms: `excess` is the recipe; `share` rewards the share of gentle cells instead; `no_floor` is the
recipe without the floor under the relief.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor

from examples.terrain.measure import floors, steps
from examples.terrain.model import difficulties, metres, one_step
from examples.terrain.picture import picture
from examples.terrain.recipe import FAR, Wanted, judges, terrain
from scoreward.core.chain import draw
from scoreward.core.keys import Key, normal_each
from scoreward.models.base import Model
from scoreward.training.evaluations.pictures import Evaluation, evaluate
from scoreward.training.run import Run
from scoreward.training.team import Team

HERE = Path(__file__).parent
RESULTS = HERE / "results.jsonl"
ARMS = {
    "excess": Wanted(),
    "share": Wanted(slope="gentle"),
    "no_floor": Wanted(floor=0.0),
}
SHOWN = [f"terrain of difficulty {d}" for d in ("0.625", "0.725", "0.825", "0.925", "0.975")]
WHAT = ("train", "table", "picture", "floors", "steps")
FAR_NOISES = 2  # fields of each prompt


def far(model: Model) -> dict[str, float]:
    """The judges on difficulties that are easier than any that were trained."""
    settings = Evaluation(FAR * FAR_NOISES, {"ode": one_step()}, judges(), batch=8)
    settings = replace(settings, spread_prompts=1, noises=2)
    return evaluate(settings, model, model.denoiser, Team()).numbers["ode"]


def fields(model: Model) -> Tensor:
    """Heights in metres of the prompts of the picture, always from the same noise."""
    keys = [Key(("picture", i)) for i in range(len(SHOWN))]
    x = normal_each((key / "start" for key in keys), model.shape)
    return metres(model.decode(draw(one_step(), model.denoiser, x, keys, difficulties(SHOWN))))


def trained(arm: str, seed: int, folder: Path) -> dict:
    """One run: a line of results.jsonl, and the fields of the picture in its folder."""
    run: Run = replace(terrain(wanted=ARMS[arm]), folder=folder, seed=seed, name=f"terrain_{arm}")
    before, first, evaluations, seconds = fields(run.model), far(run.model), [], 0.0
    for moment in run.start():
        shown = {k: round(moment.metrics.get(k, 0.0), 4) for k in ("reward/mean", "gradient/norm")}
        print(f"round {moment.round}: {shown} {moment.seconds:.0f} s", flush=True)
        seconds = moment.seconds
        if moment.evaluation is not None:
            evaluations.append(moment.evaluation["ode"])
    torch.save({"before": before, "after": fields(run.model)}, folder / "fields.pt")
    return {
        "arm": arm,
        "seed": seed,
        "seconds": round(seconds),
        "before": rounded(evaluations[0]),
        "after": rounded(evaluations[-1]),
        "far_before": rounded(first),
        "far_after": rounded(far(run.model)),
    }


def rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in numbers.items()}


def rows() -> list[dict]:
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def table() -> str:
    """Two tables, mean over seeds ± standard deviation: held-out and far difficulties."""
    blocks, names = [], list(judges())
    for place, shown in (("", [*names, "diversity"]), ("far_", names)):
        base = rows()[0][f"{place}before"]
        lines = ["| | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
        lines.append("| untouched | " + " | ".join(f"{base[n]:.3f}" for n in shown) + " |")
        for arm in ARMS:
            after = [r[f"{place}after"] for r in rows() if r["arm"] == arm]
            cells = [spread_over([a[n] for a in after]) for n in shown]
            lines.append(f"| {arm}, {counted(len(after))} | " + " | ".join(cells) + " |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def counted(seeds: int) -> str:
    return f"{seeds} seed" + ("s" if seeds > 1 else "")


def spread_over(values: list[float]) -> str:
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=list(WHAT), default="train")
    parser.add_argument("--arm", choices=list(ARMS), default="excess")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders are")
    options = parser.parse_args()
    torch.set_num_threads(1)
    match options.what:
        case "train":
            train(options.arm, options.seed, options.runs)
        case "table":
            print(table())
        case "picture":
            draw_picture(options.runs)
        case "floors":
            print(floors())
        case "steps":
            print(steps())


def train(arm: str, seed: int, runs: Path) -> None:
    """One run and its line in results.jsonl."""
    row = trained(arm, seed, runs / f"terrain_{arm}_{seed}")
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=1))


def draw_picture(runs: Path) -> None:
    """terrain.png, in 256 colours."""
    stored = {arm: runs / f"terrain_{arm}_0" / "fields.pt" for arm in ARMS}
    picture(stored, SHOWN).quantize(256).save(HERE / "terrain.png", optimize=True)


if __name__ == "__main__":
    main()
