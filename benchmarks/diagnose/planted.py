"""Plant each fault in a short run on the portraits and write down what the diagnosis says.

    python -m benchmarks.diagnose.planted [FAULT ...]       lines of planted.jsonl
    python -m benchmarks.diagnose.planted --table           the table of docs/diagnose.md

Twelve rounds of 64 samples with each fault, then the probe; about two minutes each on one core.
"""

import argparse
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import torch

from scoreward.commands.train import build
from scoreward.records.reading import probed, read_run
from scoreward.training.probe import Probe, probe
from scoreward.training.run import Budget, Run
from scoreward.verdict.causes import diagnose
from scoreward.verdict.evidence import evidence_of
from tests.diagnosis.faults import FAULTS, Fault, trained

HERE = Path(__file__).parent
LINES = HERE / "planted.jsonl"
HEALTHY = "none planted"
ROUNDS = 12


def run_of(fault: Fault) -> Run:
    """V-GRPO, or Flow-GRPO for a fault of replayed steps, in rounds of 64."""
    recipe = "portraits_flow_grpo" if fault.paths else "portraits_vgrpo"
    words = ["--geometry.prompts", "8", "--geometry.group", "8"]
    run, _ = build(recipe, words, "planted")
    optimizer = replace(run.optimizer, decay="constant")
    return replace(run, budget=Budget(rounds=ROUNDS), evaluation=None, optimizer=optimizer)


def planted(name: str, folder: Path) -> dict:
    """What is said of a run with a fault."""
    fault = FAULTS.get(name, Fault("none"))
    shutil.rmtree(folder, ignore_errors=True)
    start = time.process_time()
    trained(run_of(fault), fault, folder)
    evidence = evidence_of(read_run(folder))
    measured = probe(fault.change(run_of(fault)), Probe(), fault.make)
    causes = diagnose(replace(evidence, probe=probed(measured)))
    ladder = {s["factor"]: [round(s["gain"], 4), round(s["error"], 4)] for s in measured["ladder"]}
    return {
        "fault": name,
        "expected": fault.expected,
        "first": causes[0].name,
        "seen": causes[0].seen,
        "all": [c.name for c in causes],
        "records_alone": [c.name for c in diagnose(evidence)],
        "signal_to_noise": measured.get("signal_to_noise"),
        "ladder": ladder,
        "cpu_seconds": round(time.process_time() - start),
    }


def table() -> str:
    """The faults in the order of their list."""
    rows = {x["fault"]: x for x in map(json.loads, LINES.read_text().splitlines())}
    head = "| fault | named first | what was seen | from records alone |\n|---|---|---|---|\n"
    names = [n for n in (*FAULTS, HEALTHY) if n in rows]
    return head + "\n".join(
        f"| {n} | {rows[n]['first']} | {rows[n]['seen']} | {rows[n]['records_alone'][0]} |"
        for n in names
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--runs", type=Path, default=Path("runs/planted"))
    options = parser.parse_args()
    if options.table:
        print(table())
        return
    torch.set_num_threads(1)
    for name in options.faults or [*FAULTS, HEALTHY]:
        line = planted(name, options.runs / name.replace(" ", "_").replace("/", "by"))
        kept = LINES.read_text().splitlines() if LINES.exists() else []
        kept = [x for x in kept if json.loads(x)["fault"] != name]
        LINES.write_text("".join(x + "\n" for x in [*kept, json.dumps(line)]))
        print(line["fault"], "->", line["all"], line["cpu_seconds"], "s", flush=True)


if __name__ == "__main__":
    main()
