"""Reward hacking on emoji, and what helps against it.

    python -m benchmarks.emoji.run draft_free --seed 0     a line of curves.jsonl
    python -m benchmarks.emoji.run all                     every line, one after the other

At equal distances every run is measured on captions it trains on, on validation captions (by which
early stopping and the hybrid's time are chosen) and on test captions (which are only reported).
"""

import argparse
import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.emoji.arms import ARMS, BUDGET, HYBRID, POINTS, Arm
from benchmarks.online.tasks import rewarded
from scoreward.commands.train import build
from scoreward.core.chain import draw
from scoreward.core.denoiser import Denoiser, Switched
from scoreward.core.keys import Key, normal_each
from scoreward.data import emoji as data
from scoreward.methods.sampling import Sampling
from scoreward.models.builtin.emoji import emoji, whole
from scoreward.rewards.emoji import Likeness, Retrieval, features
from scoreward.tasks.emoji import cautious, match, nearest_picture
from scoreward.training.checkpoint import newest, read_snapshot
from scoreward.training.evaluations.pictures import Evaluation, evaluate
from scoreward.training.folder import RunFolder, save_grid
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer

HERE = Path(__file__).parent
CURVES = HERE / "curves.jsonl"
SEEDS = {"draft": 3, "vgrpo": 1}
SAMPLING = Sampling(solver="dpmpp", steps=5)  # as in the rollouts
ORDER = ("draft", "vgrpo")  # of `all`
SHOWN = {"train": 48, "validation": 48, "test": 96}  # captions of each split that are measured


def prompts() -> dict[str, list[str]]:
    """The captions that are measured."""
    return {split: list(data.captions(split)[:count]) for split, count in SHOWN.items()}


@dataclass(frozen=True)
class Measure:
    """Reward, judge, strict, likeness and nearest, split by split."""

    splits: Mapping[str, Sequence[str]]

    def __call__(self, media: Tensor, asked: Sequence[str]) -> dict[str, float]:
        reward, judge = match("reward"), match("judge")
        found = Retrieval(judge.heads, whole, data.every_caption())
        with torch.no_grad():
            pieces = list(media.split(64))
            seen = torch.cat([features(m, judge.heads.side) for m in pieces])
            first = torch.cat([features(m, reward.heads.side) for m in pieces])
        each = {
            "reward": reward.of(first, asked),
            "judge": judge.of(seen, asked),
            "strict": (found.ranks(seen, asked) < found.best).float(),
            "likeness": Likeness()(media, asked),
            "nearest": nearest_picture(media, asked),
        }
        numbers = {}
        for split, captions in self.splits.items():
            rows = torch.tensor([prompt in set(captions) for prompt in asked])
            numbers |= {f"{split}/{n}": round(float(v[rows].mean()), 4) for n, v in each.items()}
        return numbers


def evaluation(every: int) -> Evaluation:
    """All captions under the rollout's sampler, one noise each."""
    splits = prompts()
    return Evaluation(
        prompts=[caption for captions in splits.values() for caption in captions],
        samplers={"ode": SAMPLING.sampler()},
        scorers={"nearest": nearest_picture},
        tables={"splits": Measure(splits)},
        spread_prompts=4,
        noises=4,
        every=every,
    )


def cost_of(run: Run) -> int:
    """Network evaluations of an ordinary round."""
    trainer = Trainer(run.model, run.objective, run.source, run.optimizer, Team(), seed=1)
    start = {n: p.detach().clone() for n, p in trainer.weights.parameters.items()}
    trainer.step()
    before = trainer.evaluations.total
    trainer.step()
    trainer.weights.load(start)
    return trainer.evaluations.total - before


def prepared(name: str, arm: Arm, seed: int, folder: Path, budget: int) -> Run:
    """The run of an arm."""
    run, _ = build(arm.recipe, shlex.split(arm.words), "benchmark")
    if arm.cautious:
        run = rewarded(run, {"cautious": cautious()})
    every = max(1, round(budget / cost_of(run) / POINTS))
    shutil.rmtree(folder, ignore_errors=True)
    return replace(
        run,
        name=name,
        budget=Budget(evaluations=budget),
        evaluation=evaluation(every),
        keeping=Keeping(every=10_000, last=1),
        seed=seed,
        folder=folder,
    )


def curve(run: Run) -> dict[str, list[float]]:
    """Train; what was measured on the way."""
    rows = []
    for moment in run.start():
        if moment.evaluation:
            ode = moment.evaluation["ode"]
            spent = {"evaluations": moment.evaluations.total, "seconds": round(moment.seconds, 1)}
            spent |= {k: round(ode.get(k, 0.0), 4) for k in ("diversity", "drift")}
            rows.append(spent | ode["splits"])
            print(run.name, run.seed, moment.round, rows[-1], flush=True)
    if (status := RunFolder(run.folder).about().get("status")) != "finished":
        raise SystemExit(f"{run.folder} was {status}; nothing is written for it")
    return {name: [row[name] for row in rows] for name in rows[0]}


def tuned(run: Run) -> dict[str, Tensor]:
    """The averaged weights at the end of a run."""
    path = newest(run.folder / "checkpoints")
    if path is None:
        raise SystemExit(f"{run.folder} has no checkpoint")
    return read_snapshot(path, "ema")


def measured(denoiser: Denoiser) -> dict[str, float]:
    """The numbers of a model that is not being trained."""
    settings = replace(evaluation(1), spread_prompts=1, noises=2)
    return evaluate(settings, emoji(), denoiser, Team()).numbers["ode"]["splits"]


def hybrids(weights: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """The tuned model for the early steps, the base for the rest, by the time of the change."""
    early, late = emoji(weights).denoiser, emoji().denoiser
    return {str(at): measured(Switched(early, late, at)) for at in HYBRID}


def pictures(denoiser: Denoiser, path: Path, split: str = "test") -> None:
    """The first eight captions of a split, the same noise for every model, twice the size."""
    model, captions = emoji(), data.captions(split)[:8]
    keys = [Key(("emoji", split, i)) for i in range(len(captions))]
    x, cond = normal_each(keys, model.shape), model.encode(captions)
    with torch.no_grad():
        media = model.decode(draw(SAMPLING.sampler(), denoiser, x, keys, cond))
    save_grid(media.repeat_interleave(2, 2).repeat_interleave(2, 3), path)


def draw_all(weights: Mapping[str, Tensor], name: str) -> None:
    """Pictures of a tuned model, of the base and, for a free run, of their hybrids."""
    ours, base = emoji(weights).denoiser, emoji().denoiser
    pictures(ours, HERE / f"{name}.png")
    pictures(base, HERE / "base.png")
    if name.endswith("_free"):
        for at in HYBRID:
            pictures(Switched(ours, base, at), HERE / f"{name}_hybrid_{at}.png")


def train(name: str, seed: int, runs: Path, budget: int = BUDGET) -> None:
    """One line of curves.jsonl; free runs also as hybrids, and the first seed's pictures."""
    run = prepared(name, ARMS[name], seed, runs / f"{name}-{seed}", budget)
    line = {"arm": name, "seed": seed, "words": ARMS[name].words, **curve(run)}
    if name.endswith("_free"):
        line["hybrid"] = hybrids(tuned(run))
    if seed == 0:
        draw_all(tuned(run), name)
    save(line)


def lines() -> list[dict]:
    return [json.loads(x) for x in CURVES.read_text().splitlines()] if CURVES.exists() else []


def save(line: dict) -> None:
    """Add a line, replacing an earlier one of the same arm and seed."""
    mine = (line["arm"], line["seed"])
    kept = [x for x in lines() if (x["arm"], x["seed"]) != mine]
    rows = sorted([*kept, line], key=lambda x: (x["arm"], x["seed"]))
    CURVES.write_text("".join(json.dumps(x) + "\n" for x in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arm", choices=[*ARMS, "all"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/emoji"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.arm != "all":
        train(options.arm, options.seed, options.runs)
        return
    for method in ORDER:
        for seed in range(SEEDS[method]):
            for name in (name for name in ARMS if name.startswith(method)):
                if (name, seed) not in {(x["arm"], x["seed"]) for x in lines()}:
                    train(name, seed, options.runs)


if __name__ == "__main__":
    main()
