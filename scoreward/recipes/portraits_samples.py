"""Methods that need finished samples or a differentiable reward, on the built-in portraits."""

from scoreward.advantage import Advantages
from scoreward.objectives.align_prop import AlignProp
from scoreward.objectives.awm import AWM
from scoreward.objectives.crd import CRD
from scoreward.objectives.dgpo import DGPO
from scoreward.objectives.diffusion_nft import DiffusionNFT
from scoreward.objectives.draft import DRaFT
from scoreward.objectives.epg import EPG, PAR, PEPG
from scoreward.objectives.fpo import FPO
from scoreward.objectives.ram import RAM
from scoreward.objectives.refl import ReFL
from scoreward.recipes.portraits import HeldOut, Start, confident, on_portraits
from scoreward.recipes.sampling import Sampling
from scoreward.recipes.shared import Flat, Shared
from scoreward.training.run import Run


def portraits_diffusion_nft(
    objective: DiffusionNFT = DiffusionNFT(),
    sampling: Sampling = Sampling(),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """DiffusionNFT: contrast of an implicit better and an implicit worse policy."""
    name = "portraits_diffusion_nft"
    return on_portraits(name, objective, sampling.sampler(), shared, held_out, model)


def portraits_awm(
    objective: AWM = AWM(),
    sampling: Sampling = Sampling(),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """AWM: advantage-weighted matching, anchored to the first model and to a slow average."""
    name = "portraits_awm"
    return on_portraits(name, objective, sampling.sampler(), shared, held_out, model)


def portraits_fpo(
    objective: FPO = FPO(),
    sampling: Sampling = Sampling(),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """FPO: a clipped ratio of flow-matching losses, one per sample."""
    name = "portraits_fpo"
    return on_portraits(name, objective, sampling.sampler(), shared, held_out, model)


CENTRED = Advantages(scale="none", bound=50.0)  # EPG's `size` brings the bound to its 5


def portraits_epg(
    objective: EPG = EPG(),
    sampling: Sampling = Sampling(),
    shared: Flat = Shared(advantages=CENTRED),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """EPG: policy gradients on an ELBO of the sample, advantages without a deviation."""
    name = "portraits_epg"
    return on_portraits(name, objective, sampling.sampler(), shared, held_out, model)


def portraits_pepg(
    objective: PEPG = PEPG(),
    sampling: Sampling = Sampling(),
    shared: Flat = Shared(advantages=CENTRED),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """PEPG: EPG with a pull back to the policy that sampled."""
    name = "portraits_pepg"
    return on_portraits(name, objective, sampling.sampler(), shared, held_out, model)


def portraits_par(
    objective: PAR = PAR(),
    sampling: Sampling = Sampling(),
    shared: Flat = Shared(advantages=CENTRED),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """PAR: regression of the gain in likelihood on the advantage; PEPG's gradient."""
    name = "portraits_par"
    return on_portraits(name, objective, sampling.sampler(), shared, held_out, model)


def portraits_ram(
    objective: RAM = RAM(),
    sampling: Sampling = Sampling(),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """RAM: regression to the reference's velocity, shifted by reward."""
    name = "portraits_ram"
    return on_portraits(name, objective, sampling.sampler(), shared, held_out, model)


def portraits_dgpo(
    objective: DGPO = DGPO(),
    sampling: Sampling = Sampling(),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """DGPO: a preference between the better and the worse samples of a group."""
    name = "portraits_dgpo"
    return on_portraits(name, objective, sampling.sampler(), shared, held_out, model)


def portraits_crd(
    objective: CRD = CRD(),
    sampling: Sampling = Sampling(),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """CRD: the centred implicit reward is matched to the centred reward."""
    name = "portraits_crd"
    return on_portraits(name, objective, sampling.sampler(), shared, held_out, model)


def portraits_refl(
    objective: ReFL = ReFL(weight=1.0),
    sampling: Sampling = Sampling(),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """ReFL: the reward's gradient through one step to the predicted picture."""
    name = "portraits_refl"
    run = on_portraits(name, objective, sampling.sampler(), shared, held_out, model)
    return confident(run)


def portraits_draft(
    objective: DRaFT = DRaFT(),
    sampling: Sampling = Sampling(),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """DRaFT-K: the reward's gradient through the last K steps."""
    name = "portraits_draft"
    run = on_portraits(name, objective, sampling.sampler(), shared, held_out, model)
    return confident(run)


def portraits_align_prop(
    objective: AlignProp = AlignProp(weight=1.0),
    sampling: Sampling = Sampling(),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """AlignProp: the reward's gradient through a random number of last steps."""
    name = "portraits_align_prop"
    run = on_portraits(name, objective, sampling.sampler(), shared, held_out, model)
    return confident(run)
