"""The command `diagnose`: why does the reward of this run not rise?"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from scoreward.commands.again import built
from scoreward.commands.talk import console
from scoreward.commands.train import where_started
from scoreward.records.reading import DIAGNOSIS_FILE, probed, read_run
from scoreward.training.folder import RunFolder
from scoreward.training.probe import Probe, probe
from scoreward.verdict.causes import diagnose as explain
from scoreward.verdict.evidence import Cause, evidence_of


@dataclass(frozen=True)
class DiagnoseOptions:
    """Say why the reward of a run does not rise: a bug, a setting, or no signal.

    Reads the run's records and, unless told not to, repeats a few of its rounds: with the reward
    asked for again, and with smaller and larger learning rates. The run itself is not changed.
    """

    folder: Annotated[Path, tyro.conf.Positional]  # the run folder
    probe: bool = True  # repeat a few rounds; takes about as long as fifty rounds of the run
    rounds: int = 8  # of each learning rate of the probe
    device: str | None = None  # of the probe; default: where the run was asked to be


def diagnose(words: list[str]) -> int:
    """scoreward diagnose RUN"""
    options = tyro.cli(DiagnoseOptions, args=words, prog="scoreward diagnose")
    folder = RunFolder(options.folder)
    measured = {}
    if options.probe:
        run = built(folder, "add --no-probe, or call scoreward.training.probe.probe(run)")
        run = replace(run, device=options.device or run.device)
        settings = Probe(rounds=options.rounds)
        with where_started(folder):  # rewards may read files when they are first asked
            measured = probe(run, settings, tell=lambda line: console.print(line, style="dim"))
    evidence = evidence_of(read_run(options.folder))
    causes = explain(replace(evidence, probe=probed(measured)))
    folder.write_json(DIAGNOSIS_FILE, {"causes": [vars(c) for c in causes], "probe": measured})
    show(causes)
    return 0


def show(causes: list[Cause]) -> None:
    """Causes on the terminal, the most telling first."""
    for number, cause in enumerate(causes):
        name = f"{cause.name.replace('_', ' ')} ({cause.kind})"
        console.print(name, style="dim" if number else "bold")
        console.print(f"  {cause.seen}")
        console.print(f"  {cause.advice}")
