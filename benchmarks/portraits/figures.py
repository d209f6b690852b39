"""Draw what run.py measured: curves.png, and docs/before_after.png from two runs.

python benchmarks/portraits/figures.py curves
python benchmarks/portraits/figures.py pictures runs/benchmark/vgrpo-0 runs/benchmark/unanchored-0
"""

import json
import sys
from pathlib import Path
from statistics import mean

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
COLOURS = {
    "vgrpo": "#0a6c74",
    "unanchored": "#c2410c",
    "naive": "#be185d",
    "pretraining": "#6b7280",
}
NAMES = {
    "vgrpo": "V-GRPO with anchor",
    "unanchored": "V-GRPO without anchor",
    "naive": "naive V-GRPO",
    "pretraining": "more pretraining",
}
PANELS = {
    "reward": "reward (verifier A)",
    "judge": "judge (verifier B)",
    "strict": "judge: everything right",
    "diversity": "diversity",
    "nearest": "distance to nearest training picture",
    "palette": "palette check",
}


def curves() -> None:
    """Six panels against network evaluations: a line per seed, thick the mean where grids agree."""
    rows = [json.loads(line) for line in (HERE / "results.jsonl").read_text().splitlines()]
    figure, axes = plt.subplots(2, 3, figsize=(12, 6.4), constrained_layout=True)
    for axis, (name, title) in zip(axes.flat, PANELS.items(), strict=True):
        for arm, colour in COLOURS.items():
            draw_arm(axis, [r for r in rows if r["arm"] == arm], name, arm, colour)
        for row in rows:
            if row["arm"] == "guidance":
                level = row["curve"][0]["ode"][name]
                axis.axhline(level, color="#7c3aed", ls=":", lw=1.2, label="base, guidance 2.5")
        axis.set_title(title, loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xlabel("network evaluations, thousands", fontsize=8)
    axes.flat[0].legend(frameon=False, fontsize=8)
    figure.savefig(HERE / "curves.png", dpi=110)


def pretraining() -> None:
    """Loss and what the judge makes of the averaged weights, against pretraining steps."""
    told = json.loads((HERE / "pretraining.json").read_text())
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.2), constrained_layout=True)
    lines = {"loss": told["loss"], "strict": told["evaluations"], "nearest": told["evaluations"]}
    for axis, (name, points) in zip(axes, lines.items(), strict=True):
        points = [p for p in points if p["steps"] >= 100 and name in p]
        axis.plot([p["steps"] for p in points], [p[name] for p in points], color="#0a6c74")
        axis.set_title(PANELS.get(name, "training loss"), loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xlabel("steps of 64 pictures", fontsize=8)
    figure.savefig(HERE / "pretraining.png", dpi=100)


def draw_arm(axis, runs: list[dict], name: str, arm: str, colour: str) -> None:  # noqa: ANN001
    """Each seed thin, their mean thick."""
    lines = [[p["ode"][name] for p in r["curve"]] for r in runs]
    places = [[p["evaluations"] / 1000 for p in r["curve"]] for r in runs]
    for x, y in zip(places, lines, strict=True):
        axis.plot(x, y, color=colour, lw=0.7, alpha=0.5)
    if lines:
        length = min(map(len, lines))
        middle = [mean(y[i] for y in lines) for i in range(length)]
        axis.plot(places[0][:length], middle, color=colour, lw=2, label=NAMES[arm])


def pictures(anchored: Path, unanchored: Path, columns: int = 12, scale: int = 5) -> None:
    """The same prompts and noises: before, after, and after without the anchor."""
    index = json.loads((anchored / "samples" / "index.json").read_text())
    first, last = min(index["rounds"]), max(index["rounds"])
    other = json.loads((unanchored / "samples" / "index.json").read_text())
    rows = [
        ("before", anchored, first, index),
        ("after", anchored, last, index),
        ("without anchor", unanchored, max(other["rounds"]), other),
    ]
    side, gap, margin = 16 * scale, 8, 120
    width, height = margin + columns * (side + gap), len(rows) * (side + gap + 6)
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for r, (label, folder, round, told) in enumerate(rows):
        grid = Image.open(folder / "samples" / f"{round:06d}_ode.png")
        top = r * (side + gap + 6)
        pen.text((4, top + side // 2 - 8), label, fill="black", font=font)
        right = told["right"][str(round)]["ode"]
        for c in range(columns):
            x, y = c % 8 * 16, c // 8 * 16
            tile = grid.crop((x, y, x + 16, y + 16)).resize((side, side), 0)
            left = margin + c * (side + gap)
            sheet.paste(tile, (left, top))
            colour = "#15803d" if right[c] else "#dc2626"
            pen.rectangle((left, top + side + 1, left + side, top + side + 4), fill=colour)
    sheet.save(DOCS / "before_after.png", optimize=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["curves"]:
        curves()
    elif sys.argv[1:2] == ["pretraining"]:
        pretraining()
    elif sys.argv[1:2] == ["pictures"] and len(sys.argv) == 4:
        pictures(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(__doc__)
