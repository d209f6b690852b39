"""Stable Diffusion 3.5 medium with EPG, PEPG and PAR: the settings of their official scripts."""

from dataclasses import replace

from scoreward.advantage import Advantages
from scoreward.models.diffusers import Loading
from scoreward.objectives.epg import EPG, PAR, PEPG
from scoreward.recipes.pretrained import Measured, Setup, Task, everywhere, on_pretrained
from scoreward.recipes.pretrained_sd35 import ADAM, LOADING, SD35, sizes
from scoreward.recipes.sampling import Sampling
from scoreward.recipes.shared import Flat
from scoreward.training.run import Budget, Run

SOLVER = Sampling("dpmpp", steps=10)
CENTRED = Advantages(scale="none", bound=50.0)
SHARED = replace(
    sizes(advantages=CENTRED, optimizer=replace(ADAM, max_norm=5.0)), budget=Budget(rounds=360)
)
GENEVAL = Task(reward=("geneval",))


def sd35_epg(
    model: str = SD35,
    loading: Loading = LOADING,
    task: Task = GENEVAL,
    objective: EPG = EPG(),
    sampling: Sampling = SOLVER,
    shared: Flat = SHARED,
    measured: Measured = Measured(),
    guidance: float = 1.0,
) -> Run:
    """EPG on SD3.5-M: ten DPM-Solver++ steps without guidance, one update a round."""
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("sd35_epg", setup, objective, everywhere(sampling), shared)


def sd35_pepg(
    model: str = SD35,
    loading: Loading = LOADING,
    task: Task = GENEVAL,
    objective: PEPG = PEPG(),
    sampling: Sampling = SOLVER,
    shared: Flat = SHARED,
    measured: Measured = Measured(),
    guidance: float = 1.0,
) -> Run:
    """PEPG on SD3.5-M: EPG with a pull back to the policy that sampled."""
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("sd35_pepg", setup, objective, everywhere(sampling), shared)


def sd35_par(
    model: str = SD35,
    loading: Loading = LOADING,
    task: Task = GENEVAL,
    objective: PAR = PAR(),
    sampling: Sampling = SOLVER,
    shared: Flat = SHARED,
    measured: Measured = Measured(),
    guidance: float = 1.0,
) -> Run:
    """PAR on SD3.5-M: a regression with PEPG's gradient."""
    setup = Setup(model, loading, task, measured, guidance)
    return on_pretrained("sd35_par", setup, objective, everywhere(sampling), shared)
