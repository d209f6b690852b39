"""Finished samples of an analytic policy in float64, for the tests of forward-process methods."""

import torch
from torch import Tensor

from scoreward.core.advantage import Advantages
from scoreward.core.chain import uniform
from scoreward.core.denoiser import NetworkDenoiser
from scoreward.core.kernel import ddim
from scoreward.core.keys import Key
from scoreward.core.likelihood import NoisySamples, noised, predict_as, targets
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.process import RectifiedFlow
from scoreward.models.analytic import GaussianPolicy
from scoreward.objectives.base import Samples
from scoreward.objectives.samples.answers import Answers, PairRows
from scoreward.objectives.samples.awm import AWM
from scoreward.objectives.samples.crd import CRD
from scoreward.objectives.samples.dgpo import DGPO
from scoreward.objectives.samples.diffusion_nft import DiffusionNFT
from scoreward.objectives.samples.epg import EPG, PAR, PEPG
from scoreward.objectives.samples.fpo import FPO
from scoreward.objectives.samples.pairs import PairObjective
from scoreward.objectives.samples.ram import RAM
from scoreward.objectives.samples.vgrpo import VGRPO
from tests.core.laws import F64, real
from tests.golden.load import golden

NUMBERS, BASE, RELEASED = golden("online"), golden("vgrpo"), golden("released")
FLOW, KEY = RectifiedFlow(), Key(("pairs",))
GROUP = torch.arange(3).repeat_interleave(4)

BARE: dict[str, PairObjective] = {
    "vgrpo": VGRPO(clip=None),
    "diffusion_nft": DiffusionNFT(anchor=0.0),
    "awm": AWM(anchor=0.0, slow_anchor=0.0),
    "fpo": FPO(),
    "epg": EPG(anchor=0.0),
    "pepg": PEPG(anchor=0.0),
    "par": PAR(anchor=0.0),
    "ram": RAM(),
    "dgpo": DGPO(anchor=0.0),
    "crd": CRD(anchor=0.0),
}
"""Every method without anchors."""


def reading(shift: float) -> NetworkDenoiser:
    module = GaussianPolicy(prompts=3, dim=2).double()
    with torch.no_grad():
        module.mean.copy_((KEY / "means").normal(3, 2, dtype=F64) + shift)
    return NetworkDenoiser(module, FLOW)


def policy(shift: float = 0.0, reference: float = -0.5) -> DiffusionPolicy:
    """`shift` is how far the current policy has gone since the samples were drawn."""
    return DiffusionPolicy(
        reading(shift), reading(0.0), reading(reference), FLOW, uniform(ddim(), 8),
        slow=reading(-0.2), null=lambda cond: cond * 0,  # pyright: ignore
    )  # fmt: skip


def samples(sign: float = 1.0, offset: Tensor | None = None) -> Samples:
    """Rewards times `sign`, plus an `offset`, normalised in three groups of four."""
    x0, reward = (KEY / "x0").normal(12, 2, dtype=F64), (KEY / "reward").normal(12, dtype=F64)
    reward = sign * reward if offset is None else sign * reward + offset
    advantage = Advantages(floor=0.0)(reward[None], torch.ones(1, dtype=F64), GROUP)
    return Samples(x0, GROUP, advantage, GROUP, torch.arange(12), reward)


def prepared(objective: PairObjective, using: DiffusionPolicy, sign: float = 1.0) -> PairRows:
    with torch.no_grad():
        return objective.ready(samples(sign), using, KEY / "round")


def derivative(value: Tensor, using: DiffusionPolicy) -> Tensor:
    """With respect to the means of the current policy."""
    assert isinstance(using.current, NetworkDenoiser)
    (gradient,) = torch.autograd.grad(value, list(using.current.network.parameters()))
    return gradient


def slope(objective: PairObjective, using: DiffusionPolicy, sign: float = 1.0) -> Tensor:
    loss, metrics = objective.loss(prepared(objective, using, sign), using)
    assert not any(value.requires_grad for value in metrics.values())
    return derivative(loss, using)


def asked(using: DiffusionPolicy, rows: PairRows) -> Tensor:
    """The current policy's velocities on the pairs."""
    return predict_as(using.current, rows.pairs, rows.cond, "velocity")


def error_of(velocity: Tensor, rows: PairRows) -> Tensor:
    """mean (v − v*)² of every pair, written out."""
    gap = velocity - targets(FLOW, rows.x0, rows.pairs, "velocity")
    return (gap * gap).sum(2) / gap.shape[2]


def near(actual: Tensor, expected: object, tolerance: float = 1e-6) -> None:
    wanted = torch.as_tensor(expected, dtype=F64)
    torch.testing.assert_close(actual, wanted, rtol=tolerance, atol=tolerance)


# The published tensors: v = a z + b t on one pair, t = 0.6, four samples, rewards 1, 2, 4, 1


def published(network: str) -> Tensor:
    (a, b), pairs = BASE[network], published_pairs()
    return a * pairs.x_t + b * pairs.t[..., None]


def published_pairs() -> NoisySamples:
    n = NUMBERS["nft"]
    x0 = torch.tensor(BASE["x0"], dtype=F64)
    t = torch.full((4, 1), n["t"], dtype=F64)
    eps = real(*n["eps"]).expand(4, 1, 2)
    return NoisySamples(t, eps, noised(FLOW, x0, t, eps))


def released_answers(new: Tensor, advantage: Tensor, old: str = "old") -> Answers:
    """The same tensors with the network `new` = (a, b), and a reference."""
    x0, pairs = torch.tensor(BASE["x0"], dtype=F64), published_pairs()
    networks = {n: torch.tensor(v, dtype=F64) for n, v in RELEASED["networks"].items()}

    def ask(network: Tensor) -> Tensor:
        return network[0] * pairs.x_t + network[1] * pairs.t[..., None]

    first, group = ask(networks["reference"]), torch.zeros(4, dtype=torch.long)
    rows = PairRows(
        x0, None, advantage, real(*RELEASED["rewards"]), group, pairs, None, first, None,
        torch.arange(4),
    )  # fmt: skip
    return Answers(rows, FLOW, ask(new), ask(networks[old]))


def released(network: str) -> Tensor:
    """(a, b) of a network, with gradient."""
    return torch.tensor(RELEASED["networks"][network], dtype=F64, requires_grad=True)


def published_answers() -> Answers:
    x0 = torch.tensor(BASE["x0"], dtype=F64)
    advantage = real(-1.0, 0.0, 2.0, -1.0) / 1.5**0.5
    group = torch.zeros(4, dtype=torch.long)
    rows = PairRows(
        x0, None, advantage, advantage, group, published_pairs(), None, None, None, torch.arange(4)
    )
    return Answers(rows, FLOW, published("new"), published("old"))
