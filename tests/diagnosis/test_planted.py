"""Each planted fault is named, first of all causes; a healthy run gets no complaint."""

from dataclasses import replace
from pathlib import Path

import pytest

from scoreward.methods.sampling import Noisy
from scoreward.objectives.paths.flow_grpo import FlowGRPO
from scoreward.records.reading import probed, read_run
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.probe import Probe, probe
from scoreward.training.run import Budget, Run
from scoreward.training.sources.online import Online
from scoreward.verdict.causes import diagnose
from scoreward.verdict.evidence import Cause, evidence_of
from tests.diagnosis.faults import FAULTS, Fault, trained
from tests.support.matrix import long, mostly_long
from tests.support.recipes import toy_vgrpo

FEW = ("sign of the loss", "rewards in another order", "stale old policy")


def toy(paths: bool) -> Run:
    run = toy_vgrpo(
        geometry=Geometry(prompts=4, group=16),
        optimizer=Optimizer(lr=1e-1),
        budget=Budget(rounds=24),
    )
    if not paths or not isinstance(run.source, Online):
        return run
    source = replace(run.source, rollout=Noisy("flow_sde", 0.7).sampler())
    return replace(run, objective=FlowGRPO(), source=source)


def explained(fault: Fault, tmp_path: Path, probing: bool = True) -> list[Cause]:
    run = toy(fault.paths)
    trained(run, fault, tmp_path / "run")
    evidence = evidence_of(read_run(tmp_path / "run"))
    if probing:
        run = fault.change(toy(fault.paths))
        evidence = replace(evidence, probe=probed(probe(run, Probe(), fault.make)))
    return diagnose(evidence)


@pytest.mark.parametrize("name", mostly_long(FAULTS, FEW))
def test_a_planted_fault_is_named_first(name: str, tmp_path: Path) -> None:
    causes = explained(FAULTS[name], tmp_path)
    assert causes[0].name == FAULTS[name].expected, causes


@pytest.mark.parametrize("paths", [False, long(True)])
def test_a_healthy_run_gets_no_complaint(paths: bool, tmp_path: Path) -> None:
    causes = explained(Fault("none", paths=paths), tmp_path)
    assert [c.name for c in causes] == ["none"], causes
