"""Old answers of a network that rounds more coarsely than float32."""

from dataclasses import replace

import torch
from torch import Tensor

from scoreward.core.prediction import Prediction
from scoreward.objectives.paths.flow_grpo import FlowGRPO
from scoreward.objectives.paths.replay import again
from tests.objectives.rollouts import drawn, policy, prepared


def test_a_coarse_networks_old_answers_are_asked_for_again() -> None:
    """Of the old policy and in its kind: ε = x + (1 − t) v. Not where they are exact or unused."""
    kept = prepared(FlowGRPO(kl=0.0), drawn(), policy(0.4))
    path = kept.path
    rows = replace(kept, path=replace(path, answer=torch.zeros_like(path.answer)))
    coarse = replace(policy(0.4), rounding=1e-3)
    torch.testing.assert_close(again(rows, coarse).path.answer, path.answer)
    eps = path.x + (1 - path.t[:, None]) * path.answer
    torch.testing.assert_close(again(rows, replace(coarse, kind="eps")).path.answer, eps)
    for using in (policy(0.4), replace(coarse, on_policy=True)):
        assert again(rows, using) is rows
    assert len(again(rows[:0], replace(coarse, old=nobody))) == 0


def nobody(x: Tensor, t: Tensor, cond: object) -> Prediction:
    raise AssertionError(f"asked about {len(x)} rows")
