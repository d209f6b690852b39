"""D3PO, SPO and LPO: which steps are compared, with which law, and the gradient at the start."""

from dataclasses import replace
from math import log, pi, tanh

import pytest
import torch
from torch import Tensor

from scoreward.core.chain import Transitions, rollout, uniform
from scoreward.core.denoiser import NetworkDenoiser
from scoreward.core.kernel import DDIM, generalised
from scoreward.core.policy import DiffusionPolicy, Rollout
from scoreward.objectives.base import Samples
from scoreward.objectives.paths.d3po import D3PO
from scoreward.objectives.paths.lpo import LPO
from scoreward.objectives.paths.spo import SPO
from scoreward.objectives.paths.step_pairs import StepObjective, StepPairRows
from tests.core.laws import F64, real
from tests.objectives.pairing import KEY, derivative, policy

STEPS = 5
SAMPLER = uniform(DDIM(generalised(1.0)), STEPS)
GOAL = torch.tensor([1.0, -1.0], dtype=F64)


def closeness(x0: Tensor, sample: Tensor) -> Tensor:
    return -(x0 - GOAL).square().sum(1)


def using(shift: float = 0.0) -> DiffusionPolicy:
    """The reference is the network that draws; the current one has moved by `shift`."""
    return replace(policy(shift, reference=0.0), sampler=SAMPLER, rollout=Rollout(score=closeness))


def drawn(at: DiffusionPolicy) -> tuple[Samples, Transitions]:
    """Three prompts with four samples each."""
    index = torch.arange(12)
    group = index // 4
    start = (KEY / "steps").normal(12, 2, dtype=F64)
    keys = [KEY / "path" / i for i in range(12)]
    path = rollout(SAMPLER, at.old, start, keys, group)
    reward = closeness(path.last, index)
    return Samples(path.last, group, reward, group, index, reward), path.transitions()


def rows_of(objective: StepObjective, at: DiffusionPolicy) -> StepPairRows:
    samples, paths = drawn(at)
    with torch.no_grad():
        walked = replace(at.rollout, paths=paths)
        rows = objective.ready(samples, replace(at, rollout=walked), KEY / "round")
    assert isinstance(rows, StepPairRows)
    return rows


def density(path: Transitions, mean: Tensor, prompt: Tensor) -> Tensor:
    """Mean over the two elements of log N(x_s; μ, std²), by the formulas of DDIM with η = 1."""
    t, s = path.t[:, None], path.s[:, None]
    m = mean[prompt]
    spread = (1 - t) ** 2 / 4 + t**2
    away = path.x - (1 - t) * m
    x0, eps = m + (1 - t) / 4 / spread * away, t / spread * away
    ratio = s * (1 - t) / ((1 - s) * t)
    std = s * (1 - ratio**2) ** 0.5
    center = (1 - s) * x0 + (s**2 - std**2) ** 0.5 * eps
    log_p = -((path.next - center) ** 2) / (2 * std**2) - std.log() - 0.5 * log(2 * pi)
    return log_p.sum(1) / 2


def weights(at: DiffusionPolicy, which: str) -> Tensor:
    reading = getattr(at, which)
    assert isinstance(reading, NetworkDenoiser)
    return next(iter(reading.network.parameters())).detach().clone()


@pytest.mark.parametrize(
    "objective", [D3PO(), SPO(least=0.01, first=0), LPO(bounds=(0.01, 0.02))], ids=str
)
@pytest.mark.parametrize("shift", [0.0, 0.03, 0.8])
def test_loss_and_gradient_are_written_out(objective: StepObjective, shift: float) -> None:
    """[d3po] (loss), [spo] (loss), [lpo] (loss): clipped ratios, at the start and beyond."""
    at = using(shift)
    rows = rows_of(objective, at)
    prompt = rows.winner.sample // 4
    mean, first = weights(at, "current").requires_grad_(), weights(at, "reference")
    high, low = (density(p, mean, prompt) for p in (rows.winner, rows.loser))
    ref_high, ref_low = (density(p, first, prompt) for p in (rows.winner, rows.loser))
    ratios = [(a - b).exp().clamp(0.9, 1.1) for a, b in ((high, ref_high), (low, ref_low))]
    logit = objective.beta * (ratios[0].log() - ratios[1].log())
    hand = torch.log1p((-logit).exp()).mean()
    loss, told = objective.loss(rows, at)
    torch.testing.assert_close(loss, hand, rtol=1e-9, atol=1e-9)
    (wanted,) = torch.autograd.grad(hand, mean)
    torch.testing.assert_close(derivative(loss, at), wanted, rtol=1e-7, atol=1e-9)
    if shift == 0:
        assert loss.item() == pytest.approx(log(2), abs=1e-9)
        assert wanted.abs().max() > 1e-4
    assert (told["steps/clipped"] > 0.1) == (shift == 0.8)


def test_d3po_compares_the_best_path_of_a_prompt_with_its_worst_step_by_step() -> None:
    at = using()
    samples, _ = drawn(at)
    rows = rows_of(D3PO(), at)
    best = [4 * g + int(samples.reward[4 * g : 4 * g + 4].argmax()) for g in range(3)]
    worst = [4 * g + int(samples.reward[4 * g : 4 * g + 4].argmin()) for g in range(3)]
    kept = STEPS - 1  # the last step draws no noise
    assert rows.winner.sample.tolist() == [b for b in best for _ in range(kept)]
    assert rows.loser.sample.tolist() == [w for w in worst for _ in range(kept)]
    assert torch.equal(rows.winner.step, rows.loser.step)
    assert torch.equal(rows.sample, rows.winner.sample)
    assert torch.equal(rows.cond, rows.winner.sample // 4)  # pyright: ignore


def test_candidates_share_their_state_and_the_best_is_nearer_to_the_goal() -> None:
    """[spo] (pairs), at a threshold that lets everything through: one row a state."""
    at = using()
    _, paths = drawn(at)
    rows = rows_of(SPO(least=-1.0, first=0), at)
    assert len(rows) == 12 * (STEPS - 1)
    assert torch.equal(rows.winner.x, rows.loser.x)
    assert torch.equal(rows.winner.x, paths.x)

    def judged(state: Tensor) -> Tensor:
        with torch.no_grad():
            clean = at.old(state, paths.s, paths.sample // 4).x0
        return closeness(clean, paths.sample)

    better, worse = judged(rows.winner.next), judged(rows.loser.next)
    assert (better > worse).all()
    own = judged(paths.next)  # the path's own next state is one of the four
    assert (own <= better + 1e-12).all()
    assert (own >= worse - 1e-12).all()
    is_best = (rows.winner.next == paths.next).all(1).double().mean()
    assert 0.05 < is_best < 0.5  # one in four, for 48 states


def test_candidates_are_drawn_from_the_law_of_the_step() -> None:
    """Standardised, winners and losers together have a spread of about 1 and are all different."""
    at = using()
    rows = rows_of(SPO(least=-1.0, first=0, candidates=2), at)
    both = torch.stack([rows.winner.next, rows.loser.next])
    with torch.no_grad():
        law = SAMPLER.kernels[0](at.old(rows.winner.x, rows.winner.t, rows.cond), rows.winner.s)
    z = (both - law.mean) / law.std
    assert abs(float(z.std()) - 1) < 0.35  # 192 numbers
    assert abs(float(z.mean())) < 0.36
    assert (both[0] != both[1]).all()


def test_a_pair_needs_a_difference_of_its_softmax_above_the_threshold() -> None:
    at = using()
    everything = rows_of(SPO(least=-1.0, first=0), at)
    paths = drawn(at)[1]
    with torch.no_grad():
        high, low = (
            closeness(at.old(s, paths.s, paths.sample // 4).x0, paths.sample)
            for s in (everything.winner.next, everything.loser.next)
        )
    differ = [tanh(float(a - b) / 2) for a, b in zip(high, low, strict=True)]
    middle = len(differ) // 2
    some = sum(sorted(differ)[middle - 1 : middle + 1]) / 2
    rows = rows_of(SPO(least=some, first=0), at)
    assert len(rows) == sum(d > some for d in differ)
    assert torch.equal(rows.winner.x, paths.x[torch.tensor(differ) > some])
    assert len(rows_of(SPO(least=1.0, first=0), at)) == 0


def test_lpo_asks_for_more_where_the_step_is_noisier() -> None:
    """[lpo] (threshold): linear between the smallest and the largest std."""
    std = real(0.1, 0.2, 0.3)
    bounds = LPO(bounds=(0.35, 0.5)).threshold(std, (0.1, 0.3))
    torch.testing.assert_close(bounds, real(0.35, 0.425, 0.5))
    torch.testing.assert_close(LPO().threshold(std, (0.1, 0.1)), real(0.35, 0.35, 0.35))


def test_early_steps_are_left_out() -> None:
    assert SPO(first=2).needs.trained((0, 1, 2, 3), 5) == [2, 3]
    assert D3PO().needs.trained((0, 1, 2, 3), 5) == (0, 1, 2, 3)


def test_settings_and_sources_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"a `clip` inside \(0, 1\), got 0.1 and 1.0"):
        D3PO(clip=1.0)
    with pytest.raises(ValueError, match="at least 2 `candidates`"):
        SPO(candidates=1)
    with pytest.raises(ValueError, match="needs stochastic steps"):
        D3PO().ready(drawn(using())[0], using(), KEY)
    with pytest.raises(ValueError, match="need a source that can score them"):
        rows_of(SPO(), replace(using(), rollout=Rollout(score=None)))
