"""The steps of one comparison: choose rates, run what is missing, time, tell and draw."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.compressed.results import NAMES, Results, append, done, table
from benchmarks.compressed.study import Arm, Data, Distances, Effort, costs, trained

HERE = Path(__file__).parent
RATES = (5e-4, 1e-3, 2e-3)


@dataclass(frozen=True)
class Comparison:
    """Arms on the same data; results go to NAME.jsonl and NAME.png."""

    name: str
    data: Data
    arms: Sequence[Arm]
    references: Sequence[str]  # plain arms, which the others are compared with
    marks: dict[str, float]  # `threshold` D and `best` m*, for the figure
    swept: str  # what arms of several m have in their names
    effort: Effort = Effort()
    folder: Path = HERE

    @property
    def path(self) -> Path:
        """The file of lines."""
        return self.folder / f"{self.name}.jsonl"

    def go(
        self,
        options: argparse.Namespace,
        show: Callable[[Path, dict[str, Tensor], Tensor], None],
    ) -> None:
        """What the options ask for."""
        some = [arm for arm in self.arms if options.arm in arm.name]
        if options.tune:
            self.tune(some)
            return
        if not options.figure:
            samples = self.run(some, options.seeds)
            if samples:
                show(self.folder / f"{self.name}_samples.png", samples, self.data.test)
            if not options.no_costs:
                for line in costs(some, self.data, self.effort):
                    append(self.path, line)
        results = Results(self.path)
        if {arm.name for arm in self.arms} <= set(results.cost) & set(results.runs):
            print(table(results, self.references))
            self.draw(results)

    def tune(self, arms: Sequence[Arm]) -> None:
        """Short runs at every rate, measured against training data that were left out."""
        few = replace(self.effort, rounds=max(2, self.effort.rounds // 4))
        for arm in arms:
            for rate in RATES:
                line, _ = trained(replace(arm, lr=rate), self.data.validating(), few, 100)
                append(self.folder / f"{self.name}_rates.jsonl", line | {"kind": "rate"})
                _tell(line, f"lr {rate:g}")

    def run(self, arms: Sequence[Arm], seeds: Sequence[int]) -> dict[str, Tensor]:
        """Samples of the arms whose runs were not there yet."""
        if not self.path.exists():
            append(self.path, self.about())
        samples = {}
        for seed in seeds:
            for arm in arms:
                if (arm.name, seed) not in done(self.path):
                    line, samples[arm.name] = trained(arm, self.data, self.effort, seed)
                    append(self.path, line)
                    _tell(line, f"seed {seed}")
        return samples

    def about(self) -> dict:
        """What the figures mark, and the distance of as many training data."""
        train = self.data.train
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
        distances = Distances(train, self.data.test)
        floor = distances(train[order[: self.effort.samples]], [])
        return {"kind": "about", "floor": floor, **self.marks}

    def draw(self, results: Results) -> None:
        """Distance against training time, distance against m, and against a sample's cost."""
        figure = Figure(figsize=(11, 3.8), layout="constrained")
        first, second, third = figure.subplots(1, 3)
        for arm, cost in results.cost.items():
            style = ":" if arm in self.references else "-"
            updates, distance = results.curve(arm, "sliced")
            (line,) = first.plot(updates * cost.update, distance, style, label=arm)
            spent, last = 1000 * (cost.network + cost.recovery), results.last(arm, "sliced").mean()
            third.plot(spent, last, "s" if style == ":" else "o", color=line.get_color())
        self._sweep(second, results)
        for ax in (first, second, third):
            ax.axhline(results.about["floor"]["sliced"], color="0.8", lw=0.8)
            ax.set_yscale("log")
        first.set(xlabel="training, processor s", ylabel="sliced W2 to held-out data", xscale="log")
        second.set(xlabel="m", title="at the end")
        third.set(xlabel="a sample with recovery, processor ms", xscale="log", title="at the end")
        figure.legend(
            *first.get_legend_handles_labels(),
            loc="outside lower center",
            ncols=4,
            frameon=False,
            fontsize=7,
        )
        figure.savefig(self.path.with_suffix(".png"), dpi=110)

    def _sweep(self, ax, results: Results) -> None:  # noqa: ANN001  (an axes of Matplotlib)
        named = [a for a in results.runs if self.swept in a and "MLP" in a]
        sizes = [results.runs[a][0]["m"] for a in named]
        last = [results.last(a, "sliced") for a in named]
        ax.errorbar(sizes, [v.mean() for v in last], [v.std() for v in last], fmt="o-")
        control = self.references[-1]
        value = results.last(control, "sliced").mean()
        ax.axhline(value, color="0.4", ls=":", label=control)
        ax.axvline(results.about["threshold"], color="tab:orange", ls="--", label="D")
        ax.axvline(results.about["best"], color="tab:red", ls="--", label="m*, rule (iii), a = 2")
        ax.legend(frameon=False, fontsize=7)


def options_of(doc: str | None) -> argparse.ArgumentParser:
    """What every comparison takes."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arm", default="", help="only arms with this in their name")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--no-costs", action="store_true", help="leave timings to another call")
    parser.add_argument("--figure", action="store_true", help="table and figure of what is there")
    parser.add_argument("--tune", action="store_true", help="rates, on training data only")
    parser.add_argument("--to", type=Path, default=HERE, help="folder of the results")
    parser.add_argument("--tiny", action="store_true", help="seconds; numbers mean nothing")
    return parser


def _tell(line: dict, about: str) -> None:
    last = (f"{name} {line[name][-1]:.3g}" for name in NAMES)
    print(f"{line['arm']}, {about}:", *last, flush=True)
