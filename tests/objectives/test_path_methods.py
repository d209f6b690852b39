"""What is true of every path method: on-policy it is REINFORCE, and it learns the toy."""

import pytest
import torch

from scoreward.core.chain import Sampler, Tree, windowed
from scoreward.core.kernel import DDIM, EulerMaruyama, coefficients_preserving, dance_sde, euler
from scoreward.core.windows import Window
from scoreward.methods.sampling import Noisy, Windowed
from scoreward.objectives.paths.base import PathObjective
from scoreward.objectives.paths.branch_grpo import BranchGRPO
from scoreward.objectives.paths.dance_grpo import DanceGRPO
from scoreward.objectives.paths.ddpo import DDPO
from scoreward.objectives.paths.dpok import DPOK
from scoreward.objectives.paths.flow_dppo import FlowDPPO
from scoreward.objectives.paths.flow_grpo import FlowGRPO, FlowGRPOFast
from scoreward.objectives.paths.grpo_guard import GRPOGuard
from scoreward.objectives.paths.mixgrpo import MixGRPO
from scoreward.objectives.paths.replay import replay
from scoreward.objectives.paths.temp_flow import TempFlowGRPO
from scoreward.training.geometry import Geometry
from tests.objectives import rollouts
from tests.objectives.learning import SDE, START, learned
from tests.objectives.rollouts import drawn, policy, prepared, score_function, slope, turned
from tests.support.matrix import long

# A method, and the factor its on-policy gradient has beside −E[A ∇ log p / d]
PLAIN: list[tuple[PathObjective, float]] = [
    (DDPO(), 1.0),
    (DDPO(estimator="sf"), 1.0),
    (DPOK(kl=0.0), 100.0),
    (FlowGRPO(kl=0.0), 1.0),
    (FlowGRPO(kl=0.0, clip=None), 1.0),
    (MixGRPO(), 1.0),
    (MixGRPO(squared_log_ratio=3.0), 1.0),
    (DanceGRPO(fraction=1.0), 1.0),
    (FlowDPPO(), 1.0),
    (TempFlowGRPO(kl=0.0, weighted=False), 1.0),
]
NAMES = [f"{type(o).__name__}-{i}" for i, (o, _) in enumerate(PLAIN)]


@pytest.mark.parametrize(("objective", "factor"), PLAIN, ids=NAMES)
def test_at_the_old_policy_the_gradient_is_the_score_function(
    objective: PathObjective, factor: float
) -> None:
    """[flow-grpo] (5), [ddpo] (score function): ∇ ρ = ∇ log p where ρ = 1."""
    using = policy()
    rows = prepared(objective, drawn(), using)
    expected = factor * score_function(rows, using)
    torch.testing.assert_close(slope(objective, rows, using), expected)
    assert expected.abs().max() > 1e-3


@pytest.mark.parametrize(("objective", "factor"), PLAIN, ids=NAMES)
def test_turned_advantages_turn_the_gradient(objective: PathObjective, factor: float) -> None:
    using = policy()
    rows = prepared(objective, drawn(), using)
    torch.testing.assert_close(
        slope(objective, turned(rows), using), -slope(objective, rows, using)
    )


@pytest.mark.parametrize(("objective", "factor"), PLAIN, ids=NAMES)
def test_right_after_a_rollout_the_ratio_is_one(objective: PathObjective, factor: float) -> None:
    using = policy()
    _, metrics = objective.loss(prepared(objective, drawn(), using), using)
    assert metrics["ratio/min"].item() == pytest.approx(1, abs=1e-12)
    assert metrics["ratio/max"].item() == pytest.approx(1, abs=1e-12)
    assert not any(value.requires_grad for value in metrics.values())


def test_a_window_of_all_steps_is_the_full_method() -> None:
    """[mix-grpo] (Sec. 3): MixGRPO with w = T is Flow-GRPO without KL that trains every step."""
    whole = windowed(euler(), rollouts.SDE.kernels[0], 0, 6, rollouts.GRID)
    mix, flow = MixGRPO(), FlowGRPO(kl=0.0, last=True, skip_uniform=False)
    using, both = policy(0.3, whole), policy(0.3)
    ours = slope(mix, prepared(mix, drawn(whole), using), using)
    torch.testing.assert_close(ours, slope(flow, prepared(flow, drawn(), both), both))


def test_the_old_law_is_the_one_the_rollout_recorded() -> None:
    """The stored answer gives the log-probability that was stored beside it."""
    using, made = policy(0.4), drawn()
    rows = prepared(MixGRPO(), made, using)
    seen = replay(rows, using)
    torch.testing.assert_close(seen.old.log_prob(rows.path.next), rows.path.log_prob)
    gain = seen.new.log_prob(rows.path.next) - rows.path.log_prob
    torch.testing.assert_close(seen.log_ratio("gaussian", False), gain)
    torch.testing.assert_close(seen.log_ratio("gaussian", True), gain / rollouts.DIM)


FULL = Noisy("flow_sde", 0.7, 8)
CASES: list[tuple[PathObjective, object]] = [
    (DDPO(), SDE),
    (DPOK(), SDE),
    (FlowGRPO(kl=0.0), SDE),
    (FlowGRPOFast(), windowed(euler(), DDIM(coefficients_preserving(0.8)), 2, 3, FULL.times)),
    (MixGRPO(), Windowed(FULL, Window(every=5))),
    (MixGRPO(), Windowed(FULL, Window(every=5), flash=0.6)),
    (DanceGRPO(), Sampler(FULL.times, (EulerMaruyama(dance_sde(0.5)),) * 8)),
    (GRPOGuard(), SDE),
    (FlowDPPO(), SDE),
    (TempFlowGRPO(), Windowed(FULL, Window("random", width=1))),
]
LEARNERS = [f"{type(o).__name__}-{i}" for i, (o, _) in enumerate(CASES)]
FEW = (DDPO, FlowGRPO, TempFlowGRPO)
TAUGHT = [case if type(case[0]) in FEW else long(*case) for case in CASES]


@pytest.mark.parametrize(("objective", "sampler"), TAUGHT, ids=LEARNERS)
def test_a_toy_with_a_known_optimum_is_learned(objective: PathObjective, sampler: Sampler) -> None:
    assert learned(objective, sampler).max() < 0.5 * START


@pytest.mark.long
def test_branches_are_learned() -> None:
    tree, geometry = Tree((0, 1, 2, 3)), Geometry(prompts=4, group=16)
    assert learned(BranchGRPO(), SDE, geometry=geometry, tree=tree).max() < 0.5 * START
