"""Side by side with public programs: CPU seconds a round, over the bare network calls, memory.

    python -m benchmarks.peers.run --trl-python PYTHON [--flow-grpo CHECKOUT] [--rounds N]

PYTHON is an interpreter with requirements-trl.txt, CHECKOUT a folder with the public code of
Flow-GRPO; a program without which is left out. All programs, scoreward too, run in PYTHON, so that
both sides share their versions; scoreward runs in the present interpreter as well. Each program is
a process of its own with one thread; only one works at a time, and they take turns. Writes
results.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCENES = ("ddpo plain", "flow_grpo plain", "ddpo guided", "flow_grpo guided")
ROOT = HERE.parents[1]
STARTS = 1  # of each program besides the one that is measured


@dataclass(frozen=True)
class Program:
    """A line of the table: who, in which interpreter, and what it is told."""

    name: str
    python: str
    words: tuple[str, ...]

    def command(self, folder: str) -> list[str]:
        """How its process starts."""
        module = "benchmarks.peers.worker"
        return [self.python, "-m", module, self.words[0], folder, *self.words[1:]]


class Worker:
    """A running program."""

    def __init__(self, program: Program, folder: str) -> None:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "SCOREWARD_CACHE": f"{folder}/cache",
            "OMP_NUM_THREADS": "1",
        }
        self.process: Any = subprocess.Popen(
            program.command(folder),
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.told, self.said = self.process.stdin, self.process.stdout
        self.program, self.ready = program, self._answer()

    def ask(self, what: str) -> dict[str, Any]:
        """One line there, one line back."""
        self.told.write(what + "\n")
        self.told.flush()
        return self._answer()

    def end(self) -> None:
        """Let it finish."""
        self.process.communicate("end\n")

    def _answer(self) -> dict[str, Any]:
        line = self.said.readline()
        if not line:
            words = " ".join(self.process.args)
            raise RuntimeError(f"a program of the comparison ended; run it by hand: {words}")
        return json.loads(line)


def starts(programs: list[Program], folder: str) -> dict[str, list[dict[str, Any]]]:
    """CPU seconds of import and of building, several times in turn."""
    found: dict[str, list[dict[str, Any]]] = {p.name: [] for p in programs}
    for _ in range(STARTS):
        for program in programs:
            worker = Worker(program, folder)
            found[program.name].append(worker.ready)
            worker.end()
    return found


def measured(programs: list[Program], folder: str, rounds: int) -> list[dict[str, Any]]:
    """Rounds and bare calls of all programs in turn, after a first round and with its memory."""
    begun = starts(programs, folder)
    workers = [Worker(p, folder) for p in programs]
    lines: list[dict[str, Any]] = []
    for worker in workers:
        first = worker.ask("round")
        for _ in range(2):
            worker.ask("round")
        line = {"program": worker.program.name, "first": first, **worker.ask("memory")}
        line |= {
            "ready": [*begun[worker.program.name], worker.ready],
            "versions": worker.ready["versions"],
        }
        lines.append(line | worker.ask("record") | {"rounds": [], "bare": []})
    for number in range(rounds):
        order = list(zip(workers, lines, strict=True))
        for worker, line in order if number % 2 else order[::-1]:
            line["rounds"].append(worker.ask("round"))
            line["bare"].append(worker.ask("bare")["seconds"])
    for worker in workers:
        worker.end()
    return lines


def scenes(trl: str, checkout: str | None) -> dict[str, list[Program]]:
    """What is compared with what."""

    def ours(name: str) -> list[Program]:
        """scoreward with one forward pass, with two, and in the present interpreter."""
        programs = [Program("scoreward", trl, (f"ours:{name}",))]
        programs.append(Program("scoreward, two forwards", trl, (f"ours:{name}-again",)))
        return [*programs, Program("scoreward, newest packages", sys.executable, (f"ours:{name}",))]

    found: dict[str, list[Program]] = {}
    v_grpo = Program("scoreward, V-GRPO", trl, ("ours:vgrpo-plain",))
    for kind in ("plain", "guided"):
        peer = Program("TRL", trl, (f"trl_ddpo:ddpo-{kind}",))
        found[f"ddpo {kind}"] = [peer, *ours(f"ddpo-{kind}")]
    for kind in ("plain", "guided"):
        peers = [Program("flow_grpo", trl, (f"flow_grpo:{kind}", checkout))] if checkout else []
        found[f"flow_grpo {kind}"] = [*peers, *ours(f"flow_grpo-{kind}")]
    found["flow_grpo plain"].append(v_grpo)
    return {name: found[name] for name in SCENES}


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # pyright: ignore
    reader.add_argument("--trl-python", required=True)
    reader.add_argument("--flow-grpo", default=None)
    reader.add_argument("--rounds", type=int, default=9)
    given = reader.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        build = [given.trl_python, "-m", "benchmarks.peers.pipelines", folder]
        subprocess.run(build, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
        for scene, programs in scenes(given.trl_python, given.flow_grpo).items():
            results[scene] = measured(programs, folder, given.rounds)
            (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
            print(scene, "done", flush=True)


if __name__ == "__main__":
    main()
