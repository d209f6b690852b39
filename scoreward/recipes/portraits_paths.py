"""Path methods on the built-in portraits, one recipe each; see recipes/portraits.py."""

from dataclasses import replace

from scoreward.advantage import Advantages
from scoreward.chain import Tree
from scoreward.objectives.branch_grpo import BranchGRPO
from scoreward.objectives.dance_grpo import DanceGRPO
from scoreward.objectives.ddpo import DDPO
from scoreward.objectives.dpok import DPOK
from scoreward.objectives.fdfo import FDFO
from scoreward.objectives.flow_dppo import FlowDPPO
from scoreward.objectives.flow_grpo import FlowGRPO, FlowGRPOFast
from scoreward.objectives.grpo_guard import GRPOGuard
from scoreward.objectives.mixgrpo import MixGRPO
from scoreward.objectives.score_as_action import ScoreAsAction
from scoreward.objectives.temp_flow import TempFlowGRPO
from scoreward.recipes.portraits import HeldOut, Start, branched, confident, on_portraits, started
from scoreward.recipes.sampling import Forked, Noisy, Windowed
from scoreward.recipes.shared import Flat, Shared
from scoreward.training.geometry import Geometry
from scoreward.training.run import Run
from scoreward.windows import Window

BRANCHED = Shared(
    geometry=Geometry(prompts=4, group=6, minibatches=2),  # one start a prompt; two updates, code
    advantages=Advantages(scale="group"),  # code
)


def portraits_ddpo(
    objective: DDPO = DDPO(),
    rollout: Noisy = Noisy("ddim", 1.0),
    shared: Flat = Shared(advantages=Advantages(scale="prompt")),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """DDPO: every step is a DDIM step with η = 1, every transition is trained."""
    name = "portraits_ddpo"
    return on_portraits(name, objective, rollout.sampler(), shared, held_out, model)


def portraits_dpok(
    objective: DPOK = DPOK(),
    rollout: Noisy = Noisy("ddim", 1.0),
    shared: Flat = Shared(advantages=Advantages(scale="prompt")),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """DPOK: DDPO with a learned baseline and a distance to the first model."""
    name = "portraits_dpok"
    return on_portraits(name, objective, rollout.sampler(), shared, held_out, model)


def portraits_score_as_action(
    objective: ScoreAsAction = ScoreAsAction(clip=1e-4),
    rollout: Noisy = Noisy("ddim", 1.0),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """Score as action: every step earns what it adds to a learned value of the noisy picture."""
    name = "portraits_score_as_action"
    return on_portraits(name, objective, rollout.sampler(), shared, held_out, model)


def portraits_flow_grpo(
    objective: FlowGRPO = FlowGRPO(),
    rollout: Noisy = Noisy("flow_sde", 0.7),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """Flow-GRPO: noise at every step, all transitions but the last are trained."""
    name = "portraits_flow_grpo"
    return on_portraits(name, objective, rollout.sampler(), shared, held_out, model)


def portraits_flow_grpo_fast(
    objective: FlowGRPOFast = FlowGRPOFast(),
    rollout: Noisy = Noisy("cps", 0.8),
    window: Window = Window("random", width=3, end=7),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """Flow-GRPO-Fast: three Flow-CPS steps somewhere in the first part of the rollout."""
    name = "portraits_flow_grpo_fast"
    return on_portraits(name, objective, Windowed(rollout, window), shared, held_out, model)


def portraits_cps(
    objective: FlowGRPO = FlowGRPO(clip=1e-5, kl=0.0, log_prob="unit"),
    rollout: Noisy = Noisy("cps", 0.8),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """Flow-CPS: steps that keep the noise level, with their own log-probability."""
    name = "portraits_cps"
    return on_portraits(name, objective, rollout.sampler(), shared, held_out, model)


def portraits_dance_grpo(
    objective: DanceGRPO = DanceGRPO(),
    rollout: Noisy = Noisy("dance_sde", 0.3),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """DanceGRPO: constant noise, one start per prompt, a random 60 % of the steps."""
    name = "portraits_dance_grpo"
    run = on_portraits(name, objective, rollout.sampler(), shared, held_out, model)
    return started(run, own=0.0)


def portraits_mixgrpo(
    objective: MixGRPO = MixGRPO(),
    rollout: Noisy = Noisy("flow_sde", 0.7),
    window: Window = Window("progressive", every=10),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """MixGRPO: noise and training inside a window that moves one step every ten rounds."""
    name = "portraits_mixgrpo"
    run = on_portraits(name, objective, Windowed(rollout, window), shared, held_out, model)
    return started(run, own=0.0)


def portraits_mixgrpo_flash(
    objective: MixGRPO = MixGRPO(),
    rollout: Noisy = Noisy("flow_sde", 0.7),
    window: Window = Window("progressive", every=10),
    flash: float = 0.4,
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """MixGRPO-Flash: DPM-Solver++ after the window. Flash*: a frozen window and --flash 0.2."""
    name = "portraits_mixgrpo_flash"
    run = on_portraits(name, objective, Windowed(rollout, window, flash), shared, held_out, model)
    return started(run, own=0.0)


def portraits_branch_grpo(
    objective: BranchGRPO = BranchGRPO(),
    rollout: Noisy = Noisy("dance_sde", 0.3),
    splits: tuple[int, ...] = (0, 2, 4),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """BranchGRPO: groups are trees whose branches share steps, advantages at every depth."""
    name = "portraits_branch_grpo"
    run = on_portraits(name, objective, rollout.sampler(), shared, held_out, model)
    return branched(run, Tree(splits))


def portraits_temp_flow(
    objective: TempFlowGRPO = TempFlowGRPO(),
    rollout: Forked = Forked("flow_sde", 0.7),
    shared: Flat = BRANCHED,
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """TempFlow-GRPO: branches at every step of a path without noise, weighted by their noise."""
    name = "portraits_temp_flow"
    run = on_portraits(name, objective, rollout.sampler(), shared, held_out, model)
    return replace(run, source=rollout.source(run.source, objective))


def portraits_temp_flow_window(
    objective: TempFlowGRPO = TempFlowGRPO(),
    rollout: Noisy = Noisy("flow_sde", 0.7),
    window: Window = Window("random", width=1, end=9),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """TempFlow-GRPO of the descriptions: noise at one random step a round, for all samples."""
    name = "portraits_temp_flow_window"
    run = on_portraits(name, objective, Windowed(rollout, window), shared, held_out, model)
    return started(run, own=0.0)


def portraits_grpo_guard(
    objective: GRPOGuard = GRPOGuard(),
    rollout: Noisy = Noisy("flow_sde", 0.7),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """GRPO-Guard: Flow-GRPO with ratios that are unbiased and equal over the steps."""
    name = "portraits_grpo_guard"
    return on_portraits(name, objective, rollout.sampler(), shared, held_out, model)


def portraits_flow_dppo(
    objective: FlowDPPO = FlowDPPO(),
    rollout: Noisy = Noisy("flow_sde", 0.7),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """Flow-DPPO: Flow-GRPO with a divergence mask instead of a ratio clip."""
    name = "portraits_flow_dppo"
    return on_portraits(name, objective, rollout.sampler(), shared, held_out, model)


def portraits_fdfo(
    objective: FDFO = FDFO(),
    rollout: Noisy = Noisy("churn", 0.0025),
    shared: Flat = Shared(geometry=Geometry(prompts=32, group=2)),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """FDFO: pairs that differ by little noise, so the reward is one without steps."""
    name = "portraits_fdfo"
    run = on_portraits(name, objective, rollout.sampler(), shared, held_out, model)
    return confident(started(run, own=1 - 1 / (1 + rollout.level) ** 2))
