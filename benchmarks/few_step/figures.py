"""curves.png, samples.png and the tables.   python -m benchmarks.few_step.figures [samples]"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from benchmarks.few_step.measure import drawn
from benchmarks.few_step.run import WEIGHTS
from scoreward.data import portraits as data
from scoreward.methods.sampling import Sampling
from scoreward.models.builtin import portraits as builtin
from scoreward.training.checkpoint import read_tensors

HERE = Path(__file__).parent
COLOURS = ("#0072B2", "#D55E00", "#E69F00", "#56B4E9", "#CC79A7", "#009E73")
SHOWN = ("frechet", "frechet_where", "strict", "palette", "diversity", "nearest")


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (HERE / name).read_text(encoding="utf-8").splitlines()]


def by_arm(steps: int) -> dict[str, dict[int, list[dict]]]:
    """arm → evaluations → the seeds' lines."""
    table: dict[str, dict[int, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for line in lines("results.jsonl"):
        if line["steps"] == steps:
            table[line["arm"]][line["evaluations"]].append(line)
    return table


def base_at(steps: int, eta: float = 1.0) -> dict:
    content = json.loads((HERE / "base.json").read_text(encoding="utf-8"))
    return next(x for x in content["base"] if (x["steps"], x["eta"]) == (steps, eta))


def curves() -> None:
    """Distance against evaluations, and accuracy against distance at the end."""
    content = json.loads((HERE / "base.json").read_text(encoding="utf-8"))
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for colour, (arm, points) in zip(COLOURS, by_arm(4).items(), strict=False):
        places = [0, *sorted(points)]
        values = [
            [base_at(4)["frechet"]] * 3,
            *([x["frechet"] for x in points[p]] for p in places[1:]),
        ]
        mean = [np.mean(v) for v in values]
        left.plot(np.array(places) / 1000, mean, "o-", color=colour, label=arm, markersize=3)
        low, high = [min(v) for v in values], [max(v) for v in values]
        left.fill_between(np.array(places) / 1000, low, high, color=colour, alpha=0.15, linewidth=0)
        last = points[places[-1]]
        right.scatter(
            *([x[n] for x in last] for n in ("frechet", "strict")), color=colour, label=arm, s=22
        )
    for line in content["base"]:
        if line["eta"] == 1.0:
            name = f"base, {line['steps']} steps"
            left.axhline(line["frechet"], color="black", linewidth=0.6, linestyle=":")
            left.annotate(name, (0, line["frechet"]), fontsize=6, va="bottom")
            right.scatter(line["frechet"], line["strict"], marker="*", color="black", s=40)
            right.annotate(str(line["steps"]), (line["frechet"], line["strict"]), fontsize=7)
    least = min(x["frechet"] for x in content["floor"].values())
    left.axhline(least, color="grey", linewidth=1, linestyle="--", label="real against real")
    left.set(yscale="log", xlabel="network evaluations (thousands)", title="Fréchet distance")
    right.set(xscale="log", xlabel="Fréchet distance", title="all attributes right (4 steps)")
    left.legend(fontsize=7, frameon=False)
    figure.savefig(HERE / "curves.png", dpi=110)


def table(steps: int) -> str:
    """Means with 95 % t-intervals over seeds."""
    rows = ["| | " + " | ".join(SHOWN) + " |", "|---" * (len(SHOWN) + 1) + "|"]
    for line in json.loads((HERE / "base.json").read_text(encoding="utf-8"))["base"]:
        name = f"base, {line['steps']} steps, " + ("SDE" if line["eta"] else "ODE")
        rows.append(f"| {name} | " + " | ".join(f"{line[n]:.4g}" for n in SHOWN) + " |")
    for arm, points in by_arm(steps).items():
        last = points[max(points)]
        cells = []
        for name in SHOWN:
            values = np.array([x[name] for x in last])
            cells.append(f"{values.mean():.4g}" + margin(values))
        rows.append(f"| {arm}, {steps} steps, {len(last)} seeds | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def margin(values: np.ndarray) -> str:
    """Half of a 95 % t-interval; nothing for one seed."""
    if len(values) < 2:
        return ""
    factor = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}[len(values)]  # Student's t, n − 1
    return f" ± {factor * values.std(ddof=1) / len(values) ** 0.5:.2g}"


def samples() -> None:
    """The same prompts and noises before and after, beside the real pictures."""
    test = data.load("test")
    shown, model = test.captions[:16], builtin.portraits()
    rows = {"real pictures": builtin.portraits.decode(test.images[:16])}
    for steps in (4, 10, 20):
        sampler = Sampling(steps=steps, eta=1.0).sampler()
        rows[f"base, {steps} steps"] = drawn(model, model.denoiser, sampler, shown, "test")
    for path in sorted(WEIGHTS.glob("*, 4.safetensors")):
        tuned = builtin.portraits(read_tensors(path))
        sampler = Sampling(steps=4, eta=1.0).sampler()
        rows[f"{path.stem} steps"] = drawn(tuned, tuned.denoiser, sampler, shown, "test")
    figure = Figure(figsize=(10, 0.85 * len(rows)), layout="constrained")
    for axes, (name, media) in zip(figure.subplots(len(rows)), rows.items(), strict=True):
        axes.imshow(row(media), interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(name, fontsize=7, loc="left", pad=1)
    figure.savefig(HERE / "samples.png", dpi=110)
    few = Image.open(HERE / "samples.png").convert("RGB").quantize(256)
    few.save(HERE / "samples.png", optimize=True)


def row(media: Tensor) -> np.ndarray:
    """Pictures side by side, with a white line between them."""
    padded = torch.nn.functional.pad(media, (1, 1, 0, 0), value=1.0)
    return padded.permute(2, 0, 3, 1).flatten(1, 2).numpy()


def main() -> None:
    torch.set_num_threads(1)
    if "samples" in sys.argv:
        samples()
    curves()
    tables = "\n\n".join(table(n) for n in sorted({x["steps"] for x in lines("results.jsonl")}))
    page = HERE / "README.md"
    before, _, rest = page.read_text(encoding="utf-8").partition("<!-- table -->\n")
    after = rest[rest.index("\n± is") :]
    page.write_text(f"{before}<!-- table -->\n{tables}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
