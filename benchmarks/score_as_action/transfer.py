"""Trained at 50 steps, drawn at 25, 50 and 100: does what score as action learns transfer better?

    python -m benchmarks.score_as_action.transfer base             # the model before training
    python -m benchmarks.score_as_action.transfer tune             # three rates for each arm
    python -m benchmarks.score_as_action.transfer train 0 1 2      # both arms with these seeds
    python -m benchmarks.score_as_action.transfer long 0 1 2       # four times as long

Both arms: the built-in portraits, 50 DDIM steps with η = 1, the same prompts, starting noise and
noise of the steps, the same random tenth of the steps trained, one update a round, the same number
of network evaluations. Lines of transfer.jsonl; those that are there are not made again.
"""

import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.online.tasks import rewarded
from scoreward.core.advantage import Advantages
from scoreward.core.chain import draw
from scoreward.core.denoiser import Denoiser
from scoreward.core.keys import Key, normal_each
from scoreward.core.policy import DiffusionPolicy
from scoreward.data import portraits as data
from scoreward.methods.base import Shared
from scoreward.methods.sampling import Noisy, Sampling
from scoreward.models.base import Model
from scoreward.objectives.base import Needs, Samples
from scoreward.objectives.paths.actions import chosen
from scoreward.objectives.paths.ddpo import DDPO
from scoreward.objectives.paths.replay import PathRows
from scoreward.objectives.paths.score_as_action import ScoreAsAction
from scoreward.recipes import recipe
from scoreward.rewards.portraits import AttributeReward, ShareRight
from scoreward.tasks.portraits import verifier
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Run
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer

FILE = Path(__file__).parent / "transfer.jsonl"
FRACTION, RATES, ROUNDS = 0.1, (3e-4, 1e-3, 1e-4), 24
LENGTHS = {"run": ROUNDS, "long": 4 * ROUNDS}
STEPS, ETAS, PROMPTS = (25, 50, 100), {"ode": 0.0, "sde": 1.0}, 64


@dataclass(frozen=True)
class PartOfDDPO(DDPO):
    """DDPO on the steps that the other arm trains."""

    @property
    def needs(self) -> Needs:
        return replace(super().needs, graphs=False)

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> PathRows:
        rows = super().prepare(samples, policy, key)
        return rows[chosen(rows, FRACTION, key)]


def run_of(arm: str, rate: float, rounds: int) -> Run:
    """An arm, rewarded by the verifier's mean probability, which has no steps."""
    shared = Shared(
        geometry=Geometry(prompts=8, group=4),
        optimizer=Optimizer(lr=rate, decay="linear", ema=0.0),
        budget=Budget(rounds=rounds),
    )
    rollout = Noisy("ddim", 1.0, steps=50)
    if arm == "score_as_action":
        objective = ScoreAsAction(clip=1e-4, fraction=FRACTION)
    else:  # advantages by prompt, as DDPO has them
        objective = PartOfDDPO()
        shared = replace(shared, advantages=Advantages(scale="prompt"))
    made = recipe(arm, on="portraits").run(objective=objective, rollout=rollout, shared=shared)
    return rewarded(made, {"confidence": AttributeReward(verifier("a"))})


def trained(arm: str, rate: float, seed: int, rounds: int) -> tuple[Model, dict]:
    """The model after training, and what it cost."""
    run, start = run_of(arm, rate, rounds), time.process_time()
    trainer = Trainer(run.model, run.objective, run.source, run.optimizer, Team(), seed=seed)
    metrics: list[dict] = []
    for number in range(rounds):
        metrics.append(trainer.step(number / rounds).metrics)
    watched = ("reward/mean", "value/error", "gradient/norm")
    cost = {"evaluations": trainer.evaluations.total, "cpu_seconds": time.process_time() - start}
    cost |= {name: [m[name] for m in metrics if name in m] for name in watched}
    return run.model, cost


@torch.no_grad()
def measured(denoiser: Denoiser, model: Model, split: str, kinds: list[tuple[str, int]]) -> dict:
    """Reward and judge of every prompt under each sampler and step count, with fixed noise."""
    prompts = data.load(split).captions[:PROMPTS]
    keys = [Key(("transfer", i)) for i in range(len(prompts))]
    x = normal_each((key / "start" for key in keys), model.shape)
    cond, scores = model.encode(prompts), {}
    for kind, steps in kinds:
        sampler = Sampling(steps=steps, eta=ETAS[kind]).sampler()
        media = model.decode(draw(sampler, denoiser, x, keys, cond))
        for name, reward in (
            ("reward", AttributeReward(verifier("a"))),
            ("judge", ShareRight(verifier("b"))),
        ):
            values = reward(media, prompts).tolist()
            scores[f"{name} {kind} {steps}"] = [round(v, 5) for v in values]
    return scores


def lines() -> list[dict]:
    return [json.loads(x) for x in FILE.read_text().splitlines()] if FILE.exists() else []


def keep(line: dict) -> None:
    with FILE.open("a") as stream:
        stream.write(json.dumps(line) + "\n")
    print({k: v for k, v in line.items() if not isinstance(v, list | dict)}, flush=True)


def there(**wanted: object) -> dict | None:
    """The line with these entries, if it has been made."""
    found = [x for x in lines() if all(x.get(k) == v for k, v in wanted.items())]
    return found[-1] if found else None


def every_kind() -> list[tuple[str, int]]:
    return [(kind, steps) for kind in ETAS for steps in STEPS]


def base() -> None:
    """The model that both arms start from, on the prompts of both splits."""
    run = run_of("ddpo", RATES[0], 1)
    for split in ("validation", "test"):
        if there(what="base", split=split) is None:
            kinds = every_kind() if split == "test" else [("sde", 50)]
            scores = measured(run.model.denoiser, run.model, split, kinds)
            keep({"what": "base", "split": split, "scores": scores})


def tune() -> None:
    """Each rate at half of the rounds, judged by the reward of 50 SDE steps on validation."""
    for rate in RATES:
        for arm in ("score_as_action", "ddpo"):
            if there(what="trial", arm=arm, rate=rate) is None:
                model, cost = trained(arm, rate, 100, ROUNDS // 2)
                scores = measured(model.denoiser, model, "validation", [("sde", 50)])
                keep({"what": "trial", "arm": arm, "rate": rate, "scores": scores} | cost)


def best_rate(arm: str) -> float:
    trials = [x for x in lines() if x["what"] == "trial" and x["arm"] == arm]
    return max(trials, key=lambda x: sum(x["scores"]["reward sde 50"]))["rate"]


def train(seed: int, what: str = "run") -> None:
    """Both arms with one seed."""
    for arm in ("score_as_action", "ddpo"):
        rate = best_rate(arm)
        if there(what=what, arm=arm, seed=seed, rate=rate) is None:
            model, cost = trained(arm, rate, seed, LENGTHS[what])
            scores = measured(model.denoiser, model, "test", every_kind())
            line = {"what": what, "arm": arm, "seed": seed, "rate": rate, "scores": scores}
            keep(line | cost)


def main() -> None:
    torch.set_num_threads(1)
    what, *seeds = sys.argv[1:] or [""]
    match what:
        case "base":
            base()
        case "tune":
            tune()
        case "train":
            for seed in seeds:
                train(int(seed))
        case "long":
            for seed in seeds:
                train(int(seed), "long")
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
