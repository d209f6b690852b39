"""Whether all do the same mathematics: the gradient of an update by each, from the same samples.

    python -m benchmarks.peers.gradients --trl-python PYTHON --flow-grpo CHECKOUT

The public programs make a round and write down its samples, their weights and the gradient of the
update (before it is clipped); scoreward computes the gradient for these samples and weights.
scoreward's own rounds are compared with and without the second forward pass. Writes gradients.json.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.ours import DDPO_ROUND, FLOW_ROUND, PAIRS, made
from scoreward.core.chain import Transitions
from scoreward.core.denoiser import Cond
from scoreward.models.diffusers import Text
from scoreward.objectives.base import Objective
from scoreward.objectives.paths.replay import PathRows
from scoreward.training.trainer import Trainer

HERE = Path(__file__).parent
Gradients = dict[str, Tensor]


def same(a: Gradients, b: Gradients) -> dict[str, float]:
    """Cosine, and the distance relative to the length of the first."""
    names = sorted(a)
    one, other = (torch.cat([g[n].double().flatten() for n in names]) for g in (a, b))
    cosine = float(one @ other / (one.norm() * other.norm()))
    return {"cosine": cosine, "difference": float((one - other).norm() / one.norm())}


def of(trainer: Trainer) -> Gradients:
    """The gradients that are there now."""
    held = trainer.weights.parameters.items()
    return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in held}


def second_round(
    folder: Path, kind: str, objective: Objective, guided: bool, kept: int
) -> Gradients:
    """The gradient of the second round's update; the first checks the ratio in either case."""
    trainer, found = made(folder, kind, objective, guided, kept), []
    trainer.step()
    trainer.torch_optimizer.register_step_pre_hook(lambda *_: found.append(of(trainer)))
    trainer.step()
    return found[0]


def written(command: list[str], folder: str) -> dict[str, Any]:
    """What a public program writes down."""
    path = Path(folder) / "round.pt"
    root = str(HERE.parents[1])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    words = [command[0], "-m", "benchmarks.peers.written", command[1], folder, str(path)]
    subprocess.run([*words, *command[2:]], check=True, cwd=root, env=environment)
    return torch.load(path)


def replayed(trainer: Trainer, round: dict[str, Any]) -> Gradients:
    """scoreward's gradient for the samples and the weights of another program."""
    part = trainer.model.network.family.parts[0]  # pyright: ignore
    named = {f"parts.{part}.{n}": w for n, w in round["weights"].items()}
    trainer.weights.load(named)
    policy = trainer.work(1)[0].policy
    rows = transitions(trainer, round)
    with torch.no_grad():
        said = [policy.old(r.path.x, r.path.t, r.cond).as_(policy.kind) for r in rows]
    for piece, answer in zip(rows, said, strict=True):
        path = Transitions(**{**vars(piece.path), "answer": answer})
        given = PathRows(path, piece.cond, piece.advantage, None, piece.sample)
        loss, _ = trainer.objective.loss(given, policy)
        (loss / len(rows)).backward()
    found = of(trainer)
    return {n.removeprefix(f"parts.{part}."): g for n, g in found.items()}


def transitions(trainer: Trainer, round: dict[str, Any]) -> list[PathRows]:
    """The stored steps of another program as ours, one piece for each of its batches and steps."""
    times = torch.tensor(trainer.source.sampler(1).times)
    rows = []
    for batch in round["batches"]:
        cond: Cond = Text(batch["states"], batch["pooled"])
        count, steps = batch["steps"].shape
        for j in range(steps):
            step, sample = batch["steps"][:, j], torch.arange(count)
            x = batch["x"][:, j]
            path = Transitions(
                x=x,
                next=batch["next"][:, j],
                t=times[step],
                s=times[step + 1],
                log_prob=batch["log_probs"][:, j],
                answer=torch.zeros_like(x),
                step=step,
                sample=sample,
                row=sample,
            )
            rows.append(PathRows(path, cond, batch["advantages"].float(), None, sample))
    return rows


def main() -> None:
    reader = argparse.ArgumentParser()
    reader.add_argument("--trl-python", required=True)
    reader.add_argument("--flow-grpo", default=None)
    given = reader.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SCOREWARD_CACHE"] = f"{folder}/cache"
        build = [given.trl_python, "-m", "benchmarks.peers.pipelines", folder]
        subprocess.run(build, cwd=HERE.parents[1], check=True, stderr=subprocess.DEVNULL)
        where, base = Path(folder), given.trl_python
        peers: list[tuple[str, str, Objective, bool, list[str]]] = [
            ("TRL, guided", "sd15", DDPO_ROUND, True, [base, "trl_ddpo:ddpo-guided"]),
            ("TRL, plain", "sd15", DDPO_ROUND, False, [base, "trl_ddpo:ddpo-plain"]),
        ]
        if given.flow_grpo:
            words = [base, "flow_grpo:plain", given.flow_grpo]
            peers.append(("flow_grpo, plain", "sd3", FLOW_ROUND, False, words))
        for name, kind, objective, guided, words in peers:
            round = written(words, folder)
            ours = replayed(made(where, kind, objective, guided, 0), round)
            found[f"scoreward and {name}"] = same(round["gradients"], ours)
            print(name, found[f"scoreward and {name}"], flush=True)
        for name, kind, objective in (
            ("DDPO", "sd15", DDPO_ROUND),
            ("Flow-GRPO", "sd3", FLOW_ROUND),
        ):
            for guided in (True, False):
                label = f"two forwards and one, {name}, {'guided' if guided else 'plain'}"
                twice, once = (
                    second_round(where, kind, objective, guided, kept) for kept in (0, PAIRS)
                )
                found[label] = same(twice, once)
                print(label, found[label], flush=True)
    (HERE / "gradients.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
