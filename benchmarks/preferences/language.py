"""RainbowPO, its parts and its neighbours on a language model, judged by program.

    python -m benchmarks.preferences.language TASK base
    python -m benchmarks.preferences.language TASK tune  [--arms ...] [--updates N]
    python -m benchmarks.preferences.language TASK train [--arms ...] [--seeds 0 1] [--updates N]
    python -m benchmarks.preferences.language TASK table

TASK is `strings` (a tiny Llama, minutes) or `instructions` (SmolLM2-135M, hours on one core). Every
arm has the same pairs, updates and learning rates to choose from; `tune` looks at validation
prompts only. Lines are appended to language_TASK.jsonl beside this file; what is there is skipped.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.preferences.language_arms import ARMS, Arm
from benchmarks.preferences.language_tasks import Task, instructions_task, source, strings_task
from benchmarks.preferences.language_tasks import trainer as made_trainer
from scoreward.core.keys import Key
from scoreward.data.preferences import builtin, winrate
from scoreward.data.preferences.records import TextPair
from scoreward.models.texts.language import LanguageModel
from scoreward.objectives.texts.language import said_of
from scoreward.training.references import ReferenceFile
from scoreward.training.sources.texts import PairTexts

HERE = Path(__file__).parent
KEPT = Path("runs/preferences")  # trained weights, so that a tuned run need not be made again
WRITE = 7  # seed of what is written; the same for the first model and all arms


@dataclass(frozen=True)
class Log:
    """Lines of results; the first model's texts among them."""

    path: Path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.open()] if self.path.exists() else []

    def add(self, line: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        print(json.dumps({k: v for k, v in line.items() if k != "texts"}), flush=True)

    def find(self, **wanted: Any) -> list[dict[str, Any]]:
        return [x for x in self.lines() if all(x.get(k) == v for k, v in wanted.items())]


def pairs(arm: Arm, task: Task) -> list[TextPair]:
    """Training pairs; rejection sampling gives as many as best-against-worst, if it can."""
    if arm.data == "rso":
        return builtin.accepted_pairs(task.train, Key(("rso",)), temperature=0.5, keep=3)
    return builtin.best_pairs(task.train)


def judged(task: Task, split: str, texts: Sequence[tuple[str, bool]]) -> dict[str, Any]:
    """Success and lengths of what was written."""
    asked = task.prompts[split]
    rows = list(zip(asked, texts, strict=True))
    strict = [float(done and task.strict(p, text)) for p, (text, done) in rows]
    score = [task.score(p, text) if done else 0.0 for p, (text, done) in rows]
    words = [max(len(text.split()), 1) if " " in text else len(text) for text, _ in texts]
    return {"strict": strict, "score": score, "length": words}


def compared(mine: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """Win rate of the scores over the first model's, plain and at equal lengths."""
    won = winrate.outcomes(mine["score"], base["score"])
    lengths = mine["length"], base["length"]
    matched = winrate.length_matched(won, *lengths)
    found = {
        "success": winrate.mean_rate(np.array(mine["strict"])),
        "gain": winrate.difference(np.array(mine["strict"]), np.array(base["strict"])),
        "win": winrate.win_rate(won),
        "win_equal_length": winrate.length_controlled(won, *lengths),
        "win_matched_length": matched,
    }
    rates = {
        k: None if r is None else [round(x, 4) for x in (r.value, r.low, r.high)]
        for k, r in found.items()
    }
    return rates | {"length": float(np.mean(mine["length"])), "prompts": len(won)}


@torch.no_grad()
def implicit(model: LanguageModel, reference: Any, now: Any, held: Sequence[TextPair]) -> dict:
    """Accuracy of log π/π_ref, and of the mean log-probability per token, on held-out pairs."""
    data = PairTexts(model, held, ReferenceFile(wanted=False))
    with_reference, plain = [], []
    for start in range(0, len(held), 16):
        numbers = list(range(start, min(start + 16, len(held))))
        rows = data.rows(numbers, numbers, None)
        new, old = said_of(now, rows, 1.0), said_of(reference, rows, 1.0)
        gap = (new.logp_w - old.logp_w) - (new.logp_l - old.logp_l)
        with_reference += gap.tolist()
        plain += (new.logp_w / new.len_w - new.logp_l / new.len_l).tolist()
    zero = [0.0] * len(held)
    return {
        "implicit_accuracy": round(winrate.accuracy(with_reference, zero).value, 4),
        "plain_accuracy": round(winrate.accuracy(plain, zero).value, 4),
    }


def trained(name: str, task: Task, rate: float, seed: int, updates: int) -> tuple[Any, dict]:
    """A run of one arm."""
    arm, model = ARMS[name], task.build()
    data = pairs(arm, task)
    made = source(model, data, arm.method, task)
    run = made_trainer(model, arm.objective, made, rate, seed, updates)
    kept = KEPT / f"{name}-{rate}-{seed}-{updates}-{len(task.prompts['test'])}.safetensors"
    if kept.exists():
        run.weights.load(load_file(kept))
        run.weights.commit("old")  # the reading that `measured` takes for the trained model
        return run, {"pairs": len(data)}
    began, last = time.process_time(), {}
    for update in range(updates):
        last = run.step().metrics
        if update in (0, 1, 4) or (update + 1) % 20 == 0:
            print(name, update + 1, f"{time.process_time() - began:.1f} s", flush=True)
    shown = ("loss", "pair/accuracy", "logit/mean", "scale/mean", "log_prob/winner")
    numbers = {k: round(float(last[k]), 4) for k in shown if k in last}
    spent = round(time.process_time() - began, 1)
    run.weights.commit("old")
    kept.parent.mkdir(parents=True, exist_ok=True)
    save_file({n: p.detach().clone() for n, p in run.weights.parameters.items()}, kept)
    return run, {"pairs": len(data), "cpu_seconds": spent, "last": numbers}


def base(task: Task, log: Log) -> None:
    """What the first model writes."""
    for split in task.prompts:
        if not log.find(kind="base", split=split):
            texts = task.writer.write(task.build(), task.prompts[split], WRITE)
            line = judged(task, split, texts)
            log.add({"kind": "base", "split": split} | line)


def measured(run: Any, task: Task, split: str, log: Log) -> dict[str, Any]:
    texts = task.writer.write(run.model, task.prompts[split], WRITE)
    found = compared(judged(task, split, texts), log.find(kind="base", split=split)[0])
    found["unfinished"] = sum(not done for _, done in texts)
    if split == "test":
        held = builtin.best_pairs(task.validation)
        found |= implicit(run.model, run.reading("reference"), run.reading("old"), held)
        found["texts"] = [text for text, _ in texts[:24]]
    return found


def wanted(arms: Sequence[str]) -> Iterator[str]:
    for name in arms or ARMS:
        if name not in ARMS:
            raise SystemExit(f"there is no arm {name!r}; choose among {', '.join(ARMS)}")
        yield name


def tune(task: Task, log: Log, arms: Sequence[str], updates: int) -> None:
    for name in wanted(arms):
        for rate in task.rates:
            if log.find(kind="tune", arm=name, rate=rate, updates=updates):
                continue
            run, about = trained(name, task, rate, 100, updates)
            found = measured(run, task, "validation", log)
            head = {"kind": "tune", "arm": name, "rate": rate, "updates": updates}
            log.add(head | about | found)


def best_rate(log: Log, name: str, updates: int) -> float:
    """The rate with most strict success on validation prompts."""
    tried = log.find(kind="tune", arm=name, updates=updates)
    if not tried:
        raise SystemExit(f"tune {name!r} first")
    return max(tried, key=lambda x: x["success"][0])["rate"]


def train(task: Task, log: Log, arms: Sequence[str], seeds: Sequence[int], updates: int) -> None:
    for seed in seeds:
        for name in wanted(arms):
            if log.find(kind="train", arm=name, seed=seed, updates=updates):
                continue
            rate = best_rate(log, name, updates)
            run, about = trained(name, task, rate, seed, updates)
            head = {"kind": "train", "arm": name, "seed": seed, "rate": rate, "updates": updates}
            log.add(head | about | measured(run, task, "test", log))


def table(log: Log) -> None:
    """Means over seeds, in Markdown."""
    found = log.find(kind="base", split="test")[0]
    print("| arm | seeds | strict | win | win, equal length | length | implicit accuracy |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| first model | | {np.mean(found['strict']):.3f} | | | {np.mean(found['length']):.1f} | |"
    )
    for name in ARMS:
        lines = log.find(kind="train", arm=name)
        if not lines:
            continue
        rates = [
            f"{np.mean([x[k][0] for x in lines]):.3f}"
            for k in ("success", "win", "win_equal_length")
        ]
        others = [f"{np.mean([x[k] for x in lines]):.3f}" for k in ("length", "implicit_accuracy")]
        print("|", " | ".join([name, str(len(lines)), *rates, *others]), "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=("strings", "instructions"))
    parser.add_argument("command", choices=("base", "tune", "train", "table"))
    parser.add_argument("--arms", nargs="*", default=[])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--updates", type=int)
    parser.add_argument("--rates", nargs="*", type=float, help="learning rates to try")
    parser.add_argument("--layers", type=int, default=10, help="last layers of SmolLM2 to train")
    parser.add_argument("--prompts", type=int, help="fewer held-out prompts, for a quick look")
    parser.add_argument("--model", type=Path, help="an unquantised copy of SmolLM2")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    log = Log(given.out or HERE / f"language_{given.task}.jsonl")
    if given.command == "table":
        table(log)
        return
    strings = given.task == "strings"
    task = strings_task() if strings else instructions_task(given.layers, given.model)
    for split in task.prompts:
        task.prompts[split] = task.prompts[split][: given.prompts]
    task = replace(task, rates=given.rates or task.rates)
    base(task, log)
    updates = given.updates or task.updates
    if given.command == "tune":
        tune(task, log, given.arms, updates)
    if given.command == "train":
        train(task, log, given.arms, given.seeds, updates)


if __name__ == "__main__":
    main()
