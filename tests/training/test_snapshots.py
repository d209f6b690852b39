"""Averages of the policy and other things that live from round to round, also across a resume."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from scoreward.core.advantage import Advantages
from scoreward.methods.sampling import Noisy
from scoreward.objectives.base import Objective
from scoreward.objectives.paths.dpok import DPOK
from scoreward.objectives.samples.awm import AWM
from scoreward.objectives.samples.diffusion_nft import DiffusionNFT
from scoreward.training.geometry import Geometry
from scoreward.training.run import Keeping, Run
from scoreward.training.sources.online import Online
from tests.training.toys import live_after, make_trainer, means, records, toy


@dataclass(frozen=True)
class HalfWay(DiffusionNFT):
    """The old policy goes half of the way to the new one before every round."""

    def old_decay(self, updates: int) -> float:
        return 0.5

    def slow_decay(self, updates: int) -> float:
        return 0.75


def test_the_old_and_the_slow_policy_follow_their_schedules() -> None:
    trainer = make_trainer(objective=HalfWay())
    live = [means(trainer)]
    for _ in range(3):
        trainer.step()
        live.append(means(trainer))
    old, slow = live[0], live[0]
    for before in live[1:3]:  # rounds 1 and 2 begin with the weights that rounds 0 and 1 left
        old, slow = 0.5 * old + 0.5 * before, 0.75 * slow + 0.25 * before
    torch.testing.assert_close(trainer.weights.snapshot("old")["mean"], old)
    torch.testing.assert_close(trainer.weights.snapshot("slow")["mean"], slow)
    assert not torch.allclose(old, live[2])


def test_a_round_with_another_old_policy_is_not_on_policy() -> None:
    """Its samples come from elsewhere, so the old policy is asked about them."""
    soft, copied = make_trainer(objective=HalfWay(anchor=0.0)), make_trainer(
        objective=DiffusionNFT(anchor=0.0, schedule="copy")
    )  # fmt: skip
    for trainer in (soft, copied):
        trainer.step()
        trainer.step()
    assert soft.evaluations.behaviour == copied.evaluations.behaviour + 16 * 9


CASES: list[tuple[str, Objective, dict]] = [
    ("old", HalfWay(), {}),
    ("slow", AWM(slow_anchor=1.0), {}),
    ("critic", DPOK(), {"rollout": Noisy(steps=4).sampler()}),
    ("history", DPOK(kl=0), {"advantages": Advantages(scale="prompt", history=8, least=4),
                             "rollout": Noisy(steps=4).sampler()}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "objective", "source"), CASES, ids=[c[0] for c in CASES])
def test_a_resumed_run_ends_as_an_unbroken_one(
    tmp_path: Path, name: str, objective: Objective, source: dict
) -> None:
    def made(folder: str) -> Run:
        run = toy(tmp_path / folder, rounds=5, geometry=Geometry(4, 4), keeping=Keeping(every=1))
        assert isinstance(run.source, Online)
        return replace(run, objective=objective, source=replace(run.source, **source))

    whole, broken = made("whole"), made("broken")
    list(whole.start())
    for moment in broken.start():
        if moment.round == 3:
            break
    list(made("broken").resume())
    assert records(broken.folder) == records(whole.folder)
    assert torch.equal(live_after(broken), live_after(whole))
