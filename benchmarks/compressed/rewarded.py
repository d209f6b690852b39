"""What a reward does to the shipped compressed digits, and what it costs:

    python benchmarks/compressed/rewarded.py          # six minutes of one core
    python benchmarks/compressed/rewarded.py --tiny   # seconds; its numbers mean nothing

Writes rewarded.jsonl and rewarded.png beside itself. V-GRPO as it is on this task with three seeds,
with a weaker anchor and with none, and a control that spends as many network evaluations on more
pretraining. All are measured on the same noise.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.compressed.results import write
from scoreward.core.chain import draw
from scoreward.core.keys import Key, normal_each
from scoreward.data.digits import WORDS, load
from scoreward.methods.sampling import Sampling
from scoreward.models.base import Model
from scoreward.models.builtin import digits
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.recipes import recipe
from scoreward.rewards.digits import DigitScore, NearestDigits, nearest_digit, small
from scoreward.tasks.digits import DIGITS
from scoreward.training.checkpoint import newest, read_snapshot
from scoreward.training.evaluations.pictures import Evaluation, spread_of
from scoreward.training.folder import RunFolder
from scoreward.training.geometry import Geometry
from scoreward.training.run import Budget, Keeping, Run

HERE = Path(__file__).parent
ARMS = {"V-GRPO": (0.5, (1, 2, 3)), "anchor 0.15": (0.15, (1,)), "no anchor": (0.0, (1,))}
NAMES = ("reward", "judge", "nearest", "unseen", "grain", "diversity")
COLOURS = {
    "V-GRPO": "tab:blue",
    "anchor 0.15": "tab:green",
    "no anchor": "tab:red",
    "more pretraining": "tab:orange",
}


@dataclass(frozen=True)
class Effort:
    """Rounds of V-GRPO, rounds between measurements, and pictures of every digit in one."""

    rounds: int = 60
    every: int = 10
    each: int = 40


def unseen(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """Distance of the 8 x 8 averages to the nearest digit that nothing was trained on."""
    test = load("test").images.flatten(1).double()
    return torch.cdist(small(media).double(), test).amin(1)


def grain(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """Root mean square within tiles of 4 x 4 pixels: 0 for digits, and no reward sees it."""
    tiles = F.interpolate(F.adaptive_avg_pool2d(media, digits.data.SIDE), media.shape[-1])
    return (media - tiles).square().flatten(1).mean(1).sqrt()


def evaluation(effort: Effort) -> Evaluation:
    """The task's, with two scorers more."""
    count = effort.each * len(WORDS)
    usual = DIGITS.evaluation(replace(DIGITS.held_out, prompts=count, every=effort.every))
    return replace(usual, scorers={**usual.scorers, "unseen": unseen, "grain": grain})


def trained(run: Run, folder: Path) -> tuple[list[dict], Model]:
    """(what was measured, the model with its averaged weights)."""
    run = replace(run, folder=folder, keeping=Keeping(every=10_000, last=1))
    spent = [0] + [m.evaluations.total for m in run.start() if m.round]
    curve = [
        {"evaluations": spent[r["round"]], "ode": rounded(r["ode"]), "sde": rounded(r["sde"])}
        for r in RunFolder(folder).records("evaluation")
    ]
    last = newest(folder / "checkpoints")
    if last is None:
        raise RuntimeError(f"the run {run.name} left no checkpoint")
    run.model.network.load_state_dict(read_snapshot(last, "ema"), strict=False)
    return curve, run.model


def rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: round(numbers[name], 4) for name in (*NAMES, "drift")}


def runs(effort: Effort) -> Iterator[tuple[str, int, list[dict], Model]]:
    """Arm, seed, curve and model of every run."""
    cost = 0
    with tempfile.TemporaryDirectory() as folder:
        for arm, (anchor, seeds) in ARMS.items():
            for seed in seeds:
                run = recipe("vgrpo", on="digits_compressed").run(
                    objective=VGRPO(clip=None, anchor=anchor)
                )
                budget, measuring = Budget(rounds=effort.rounds), evaluation(effort)
                run = replace(run, budget=budget, evaluation=measuring, seed=seed)
                curve, model = trained(run, Path(folder) / f"{arm}{seed}")
                cost = max(cost, curve[-1]["evaluations"])
                yield arm, seed, curve, model
        rounds = max(1, round(cost / (3 * 1280)))  # a trained sample counts three
        run = recipe("pretrain", on="digits_compressed").run(
            geometry=Geometry(prompts=1280, group=1, minibatches=10, micro_batch=128),
            budget=Budget(rounds=rounds),
        )
        measuring = evaluation(replace(effort, every=max(1, rounds // 6)))
        run = replace(run, model=digits.load(), evaluation=measuring, seed=1)
        yield "more pretraining", 1, *trained(run, Path(folder) / "pretraining")


def real() -> dict:
    """The same numbers of test digits; diversity of eight training digits at a time.

    Eight that are far apart in the file, where neighbours are by one writer.
    """
    test = load("test", 4)
    media = test.images.expand(-1, 3, -1, -1)
    scorers = {"reward": DigitScore(), "judge": NearestDigits(), "nearest": nearest_digit}
    numbers = {name: float(f(media, test.captions).mean()) for name, f in scorers.items()}
    train, spreads = load("train", 4), []
    for c in range(len(WORDS)):
        these = train.images[train.labels == c].expand(-1, 3, -1, -1)
        far = len(these) // 8
        spreads += [spread_of(these[i::far][:8]) for i in range(far)]
    numbers["diversity"] = sum(spreads) / len(spreads)
    return {"arm": "real digits", **{n: round(v, 4) for n, v in numbers.items()}}


@torch.no_grad()
def pictures(model: Model) -> Tensor:
    """Two rows of the ten digits, grey, as one picture; the same noise for every model."""
    prompts = list(WORDS) * 2
    keys = [Key(("rewarded", i)) for i in range(len(prompts))]
    start = normal_each(keys, model.shape)
    sampler = Sampling(steps=20).sampler()
    return rows(model.decode(draw(sampler, model.denoiser, start, keys, model.encode(prompts))))


def rows(media: Tensor) -> Tensor:
    """Twenty pictures as two rows of ten."""
    return torch.cat([torch.cat([*row[:, 0]], 1) for row in media.split(10)])


def figure(path: Path, lines: Sequence[dict], shown: Mapping[str, Tensor]) -> None:
    """Samples on the left; on the right what was measured along the training."""
    drawing = Figure(figsize=(12, 5.6), layout="constrained")
    left, right = np.asarray(drawing.subfigures(1, 2, width_ratios=(1, 1.6)), object)
    for axes, (name, picture) in zip(left.subplots(len(shown), 1), shown.items(), strict=True):
        axes.imshow(picture, cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(name, fontsize=8)
        axes.set_axis_off()
    reference = lines[-1]
    for axes, name in zip(right.subplots(2, 3).flat, NAMES, strict=True):
        for line in lines[:-1]:
            x = [point["evaluations"] / 1000 for point in line["curve"]]
            for sampler, style in (("ode", "-"), ("sde", ":")):
                y = [point[sampler][name] for point in line["curve"]]
                label = f"{line['arm']}, {sampler.upper()}" if line["seed"] == 1 else None
                axes.plot(x, y, style, color=COLOURS[line["arm"]], lw=1.2, label=label)
        if name in reference:
            axes.axhline(reference[name], color="0.5", lw=0.8, label="real digits")
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
    handles = right.axes[0].get_legend_handles_labels()
    right.legend(*handles, loc="outside lower center", ncols=5, frameon=False, fontsize=7)
    right.axes[4].set_xlabel("network evaluations (thousands)", fontsize=8)
    drawing.savefig(path, dpi=80)
    with Image.open(path) as drawn:  # 200 colours, half the size
        drawn.convert("RGB").quantize(200).save(path, optimize=True)


def table(lines: Sequence[dict]) -> None:
    """A Markdown table; V-GRPO as mean and range over its seeds."""
    print(f"| | sampler | {' | '.join(NAMES)} |", "|---" * (len(NAMES) + 2) + "|", sep="\n")
    for sampler in ("ode", "sde"):
        found = {"shipped": [lines[0]["curve"][0][sampler]]}
        for line in lines[:-1]:
            found.setdefault(line["arm"], []).append(line["curve"][-1][sampler])
        for arm, seeds in found.items():
            cells = [cell([numbers[name] for numbers in seeds]) for name in NAMES]
            print(f"| {arm} | {sampler.upper()} | {' | '.join(cells)} |")
    cells = [cell([lines[-1][n]]) if n in lines[-1] else "–" for n in NAMES]
    print(f"| real digits | – | {' | '.join(cells)} |")


def cell(values: Sequence[float]) -> str:
    mean = f"{sum(values) / len(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f} … {max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true")
    tiny = parser.parse_args().tiny
    torch.set_num_threads(1)
    effort = Effort(rounds=2, every=1, each=1) if tiny else Effort()
    name = "rewarded_tiny" if tiny else "rewarded"
    lines, shown = [], {"shipped": pictures(digits.load())}
    for arm, seed, curve, model in runs(effort):
        lines.append({"arm": arm, "seed": seed, "curve": curve})
        if seed == 1 and arm != "anchor 0.15":
            shown[arm] = pictures(model)
        print(arm, seed, curve[-1], flush=True)
    lines.append(real())
    test = load("test", 4)
    of_each = [test.images[test.labels == c][:2] for c in range(len(WORDS))]
    shown["real digits"] = rows(torch.stack(of_each, 1).flatten(0, 1))
    write(HERE / f"{name}.jsonl", lines)
    figure(HERE / f"{name}.png", lines, shown)
    table(lines)


if __name__ == "__main__":
    main()
