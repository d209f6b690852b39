"""Do rich pairs help?  Diffusion-DPO on plain pairs, on rich pairs, and on half of each.

    python benchmarks/preferences/rich_pairs.py pairs     the two kinds of pairs, as files
    python benchmarks/preferences/rich_pairs.py tune      β and learning rate, validation prompts
    python benchmarks/preferences/rich_pairs.py run       five seeds of each arm, test prompts
    python benchmarks/preferences/rich_pairs.py table     rich.md and rich.png of what is there

Plain pairs are the best and the worst of some samples of the base by verifier A; rich pairs come
from `scoreward curate portraits`. Both are decided by the same reward with the same least gap, from
the same prompts, as many pairs and updates for each arm. With --smoke everything is tiny. What is
in the files already is not done again.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scoreward.core.chain import draw
from scoreward.core.keys import Key, normal_each
from scoreward.curation.finish import finish
from scoreward.curation.pictures import picture
from scoreward.curation.run import Curation
from scoreward.curation.work import agenda
from scoreward.data import portraits as data
from scoreward.data.preferences.files import read_image_pairs, write
from scoreward.data.preferences.records import ImagePair
from scoreward.methods.sampling import Sampling
from scoreward.models.base import Model
from scoreward.models.builtin import portraits as builtin
from scoreward.objectives.pictures.diffusion_dpo import DiffusionDPO
from scoreward.recipes import recipe
from scoreward.rewards.portraits import AttributeReward
from scoreward.tasks.builtin import HeldOut
from scoreward.tasks.curating import portraits
from scoreward.tasks.pairs import in_space
from scoreward.tasks.portraits import verifier
from scoreward.training.checkpoint import newest, read_snapshot
from scoreward.training.folder import RunFolder
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget
from scoreward.training.sources.own_pairs import OwnPairs
from scoreward.training.sources.pairs import Preferences
from scoreward.verdict.statistics import Estimate, estimate

HERE = Path(__file__).parent
ARMS = ("plain", "rich", "union")
GAP = 0.1  # least gap of verifier A's probability, of both kinds
GRID = [(100.0, 1e-4), (500.0, 1e-4), (500.0, 2e-4)]  # β and learning rate
MEASURES = ("strict", "judge", "reward", "diversity", "nearest", "drift")


@dataclass(frozen=True)
class Size:
    """How large the experiment is."""

    pairs: int = 1000  # of each arm
    group: int = 6  # samples of a prompt for plain pairs
    rounds: int = 150  # of 64 pairs, one update each
    tuned: int = 75  # rounds while tuning
    seeds: int = 5
    prompts: int = 512  # for win rates
    batch: int = 64  # pairs of an update
    suffix: str = ""


FULL = Size()
SMOKE = Size(40, 4, 3, 2, 2, 32, 8, "_smoke")


def files(size: Size) -> Path:
    """Where the pairs lie, which are not kept in the repository."""
    return Path("runs") / f"rich{size.suffix}"


def make_pairs(size: Size) -> None:
    """rich.parquet and plain.parquet, and what a pair of each costs."""
    folder = files(size)
    curation = Curation(portraits, folder / "curate", size.pairs)
    *_, last = curation.steps()
    summary = finish(curation, last)
    model = builtin.portraits()
    plan = agenda(curation.pipeline.prompts, curation.pipeline.plan)
    prompts = list(dict.fromkeys(item.prompt for batch in plan.batches for item in batch))
    plain, tried = plain_pairs(size, model, prompts)
    write(folder / "plain.parquet", plain)
    steps = Sampling().sampler().calls
    told = {
        "rich": summary["cost"]["evaluations_per_pair"],
        "plain": tried * size.group * steps / len(plain),
        "rich_judges": summary["judges"],
        "rich_similarity": summary["similarity"],
    }
    (folder / "costs.json").write_text(json.dumps(told, indent=1))
    print(json.dumps(told))


def plain_pairs(size: Size, model: Model, prompts: Sequence[str]) -> tuple[list[ImagePair], int]:
    """Best against worst of the base's samples, and how many prompts that took."""
    own = OwnPairs(
        Sampling().sampler(), AttributeReward(verifier("a")), size.group, 0, 192, least=GAP
    )
    pairs: list[ImagePair] = []
    tried = 0
    while len(pairs) < size.pairs and tried < len(prompts):
        part = prompts[tried : tried + 256]
        made = own.make(model, part)
        winners, losers = model.decode(made.winner), model.decode(made.loser)
        for i, prompt in enumerate(made.prompts):
            pairs.append(ImagePair(prompt, picture(winners[i]), picture(losers[i]), source="plain"))
        tried += len(part)
    return pairs[: size.pairs], tried


def arm_pairs(size: Size, arm: str) -> list[ImagePair]:
    """As many pairs for every arm; the union takes the first half of each kind."""
    folder = files(size)
    kinds = {"rich": folder / "curate" / "pairs.parquet", "plain": folder / "plain.parquet"}
    read = {kind: list(read_image_pairs(path)) for kind, path in kinds.items()}
    count = min(len(pairs) for pairs in read.values())
    if arm == "union":
        half = count // 2
        return read["plain"][: count - half] + read["rich"][:half]
    return read[arm][:count]


def trained(size: Size, arm: str, seed: int, beta: float, lr: float, final: bool) -> dict:
    """Train one arm; what the last evaluation says and verifier B's counts per prompt."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        rounds = size.rounds if final else size.tuned
        run = recipe("diffusion_dpo", on="portraits").run(
            objective=DiffusionDPO(beta=beta),
            pairs=files(size) / "plain.parquet",  # replaced below
            geometry=Geometry(prompts=size.batch, group=2),
            optimizer=Optimizer(lr=lr, decay="linear"),
            budget=Budget(rounds=rounds),
            held_out=HeldOut("test" if final else "validation", size.prompts // 2, every=10**6),
        )
        pairs = in_space(arm_pairs(size, arm), run.model)
        if not isinstance(run.source, Preferences):
            raise TypeError("the method does not learn from pairs")
        source = replace(run.source, data=pairs)
        run = replace(run, source=source, seed=seed, folder=Path(folder) / "run")
        for _ in run.start():
            pass
        last = RunFolder(run.folder).records("evaluation")[-1]
        path = newest(run.folder / "checkpoints")
        if path is None:
            raise RuntimeError("the run left no checkpoint")
        counts = right(size, builtin.portraits(read_snapshot(path, "ema")), final)
    return {
        "arm": arm,
        "seed": seed,
        "beta": beta,
        "lr": lr,
        "pairs": len(pairs),
        "rounds": rounds,
        "ode": {n: round(last["ode"][n], 4) for n in MEASURES if n in last["ode"]},
        "sde": {n: round(last["sde"][n], 4) for n in MEASURES if n in last["sde"]},
        "right": counts,
        "seconds": round(time.perf_counter() - start, 1),
    }


@torch.no_grad()
def right(size: Size, model: Model, final: bool) -> list[int]:
    """Verifier B's number of right attributes per prompt; the same noise for every model."""
    prompts = data.load("test" if final else "validation").captions[: size.prompts]
    keys = [Key(("rich", i)) for i in range(len(prompts))]
    counts: list[Tensor] = []
    for first in range(0, len(prompts), 128):
        part, mine = prompts[first : first + 128], keys[first : first + 128]
        noise, sampler = normal_each(mine, model.shape), Sampling().sampler()
        x0 = draw(sampler, model.denoiser, noise, mine, model.encode(part))
        counts.append(verifier("b").right(model.decode(x0), part).sum(1))
    return torch.cat(counts).tolist()


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def add(path: Path, record: dict) -> None:
    print(json.dumps({k: v for k, v in record.items() if k != "right"}), flush=True)
    with path.open("a") as stream:
        stream.write(json.dumps(record) + "\n")


def tune(size: Size) -> None:
    """The same grid for every arm."""
    path = HERE / f"rich_tune{size.suffix}.jsonl"
    done = {(r["arm"], r["beta"], r["lr"]) for r in lines(path)}
    for arm in ARMS:
        for beta, lr in GRID[:1] if size is SMOKE else GRID:
            if (arm, beta, lr) not in done:
                record = trained(size, arm, 0, beta, lr, final=False)
                add(path, {k: v for k, v in record.items() if k != "right"})


def chosen(size: Size, arm: str) -> tuple[float, float]:
    """β and learning rate with the most strictly right pictures of both samplers."""
    found = [r for r in lines(HERE / f"rich_tune{size.suffix}.jsonl") if r["arm"] == arm]
    if not found:
        raise SystemExit("tune first: rich_pairs.py tune")
    best = max(found, key=lambda r: r["ode"]["strict"] + r["sde"]["strict"])
    return best["beta"], best["lr"]


def run(size: Size) -> None:
    """All seeds of all arms, seed by seed, and the base."""
    path = HERE / f"rich{size.suffix}.jsonl"
    done = {(r["arm"], r["seed"]) for r in lines(path)}
    if ("base", 0) not in done:
        add(path, {"arm": "base", "seed": 0, "right": right(size, builtin.portraits(), True)})
    for seed in range(size.seeds):
        for arm in ARMS:
            if (arm, seed) not in done:
                add(path, trained(size, arm, seed, *chosen(size, arm), final=True))


def wins(mine: Sequence[int], other: Sequence[int]) -> float:
    """Share of prompts with more right attributes, ties ½."""
    a, b = np.array(mine), np.array(other)
    return float((a > b).mean() + (a == b).mean() / 2)


def table(size: Size) -> None:
    """rich.md and rich.png."""
    records = lines(HERE / f"rich{size.suffix}.jsonl")
    base = next(r["right"] for r in records if r["arm"] == "base")
    by_arm = {arm: {r["seed"]: r for r in records if r["arm"] == arm} for arm in ARMS}
    rows: dict[str, dict[str, Estimate]] = {}
    for arm, seeds in by_arm.items():
        named = {n: [r["ode"][n] for r in seeds.values()] for n in MEASURES}
        named["win against base"] = [wins(r["right"], base) for r in seeds.values()]
        for other in ARMS:
            both = [s for s in seeds if s in by_arm[other]]
            if other != arm:
                named[f"win against {other}"] = [
                    wins(seeds[s]["right"], by_arm[other][s]["right"]) for s in both
                ]
        rows[arm] = {name: estimate(values) for name, values in named.items() if values}
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    head = "| arm | " + " | ".join(columns) + " |\n" + "|---" * (1 + len(columns)) + "|"
    body = [
        f"| {arm} | " + " | ".join(shown(row.get(name)) for name in columns) + " |"
        for arm, row in rows.items()
    ]
    (HERE / f"rich{size.suffix}.md").write_text("\n".join([head, *body]) + "\n")
    print("\n".join([head, *body]))
    figure(size, rows)


def shown(one: Estimate | None) -> str:
    if one is None:
        return "–"
    if one.interval is None:
        return f"{one.mean:.3f}"
    return f"{one.mean:.3f} [{one.interval[0]:.3f}, {one.interval[1]:.3f}]"


def figure(size: Size, rows: dict[str, dict[str, Estimate]]) -> None:
    """Strict success, win rate against the base, diversity; mean and interval over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = ("strict", "win against base", "diversity")
    drawn, axes = pyplot.subplots(1, len(names), figsize=(9, 2.6))
    for name, axis in zip(names, axes):
        for x, row in enumerate(rows.values()):
            one = row[name]
            low, high = one.interval or (one.mean, one.mean)
            axis.plot([x, x], [low, high], color="#1d5fa8", linewidth=2)
            axis.plot(x, one.mean, "o", color="#1d5fa8")
        axis.set_xticks(range(len(rows)), list(rows))
        axis.set_title(name, fontsize=10)
        axis.margins(x=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    drawn.tight_layout()
    drawn.savefig(HERE / f"rich{size.suffix}.png", dpi=110)


def main() -> None:
    words = [w for w in sys.argv[1:] if w != "--smoke"]
    steps = {"pairs": make_pairs, "tune": tune, "run": run, "table": table}
    if len(words) != 1 or words[0] not in steps:
        raise SystemExit(f"say which: {', '.join(steps)}")
    torch.set_num_threads(1)
    steps[words[0]](SMOKE if "--smoke" in sys.argv else FULL)


if __name__ == "__main__":
    main()
