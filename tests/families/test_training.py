"""Every family takes a training step with every kind of objective, from a ratio of 1."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from scoreward.data.prompts import Instruction
from scoreward.methods.sampling import Noisy, Sampling
from scoreward.models.base import Model
from scoreward.models.diffusers import Text, load
from scoreward.objectives.base import Objective
from scoreward.objectives.gradients.draft import DRaFT
from scoreward.objectives.paths.ddpo import DDPO
from scoreward.objectives.paths.flow_grpo import FlowGRPO
from scoreward.objectives.samples.diffusion_nft import DiffusionNFT
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.sources.online import Online
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
from tests.families import tiny, upstream
from tests.support.matrix import mostly_long

STEPS = 4
OBJECTIVES: dict[str, Objective] = {
    "path": FlowGRPO(kl=0.01),
    "samples": VGRPO(pairs=2, clip=None, anchor=0.1),
    "contrast": DiffusionNFT(pairs=2, times="stratified"),
    "starts": DRaFT(),
}


def redness(media: Tensor, prompts: Any) -> Tensor:
    """Mean of red minus the others; differentiable."""
    return media[:, 0].flatten(1).mean(1) - media[:, 1:].flatten(1).mean(1)


def trainer(name: str, model: Model, objective: Objective, prompts: list[str]) -> Trainer:
    """One prompt, four samples, two updates a round."""
    stochastic = Noisy("flow_sde", 0.7, STEPS).sampler(model.grid(STEPS))
    if type(model.process).__name__ == "DiscreteVP":
        stochastic = Noisy("ddim", 1.0, STEPS).sampler(model.grid(STEPS))
    ode = Sampling(steps=STEPS).sampler(model.grid(STEPS))
    source = Online(
        prompts=prompts,
        rewards={"redness": redness},
        rollout=stochastic if objective.needs.data == "paths" else ode,
        geometry=Geometry(prompts=1, group=4, minibatches=2, rollout_batch=2, micro_batch=2),
    )
    return Trainer(model, objective, source, Optimizer(lr=1e-3), Team())


@pytest.mark.parametrize("kind", OBJECTIVES)
@pytest.mark.parametrize("name", mostly_long(tiny.PIPELINES, tiny.FEW))
def test_a_round_trains_the_adapters_and_nothing_else(
    name: str, kind: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    model = load(saved(name), tiny.loading(name))
    objective = OBJECTIVES[kind]
    if kind == "path" and type(model.process).__name__ == "DiscreteVP":
        objective = DDPO()
    of = trainer(name, model, objective, upstream.prompts_of(name, tmp_path))
    before = {n: p.detach().clone() for n, p in model.network.named_parameters()}
    metrics = of.step().metrics
    if kind in ("path", "samples"):  # the others have no ratio
        assert metrics["first/ratio/min"] == pytest.approx(1, abs=1e-4)
        assert metrics["first/ratio/max"] == pytest.approx(1, abs=1e-4)
    assert 0 < metrics["gradient/norm"] < float("inf")
    moved = {n for n, p in model.network.named_parameters() if not torch.equal(p, before[n])}
    adapters = {n for n in before if ".lora_" in n}
    assert adapters
    assert moved <= adapters
    parts = {n.split(".")[1] for n in moved}
    assert parts == set(model.network.parts) or (name == "wan22" and kind == "starts")  # pyright: ignore


@pytest.mark.parametrize("name", ["sd15", "sd3", "flux_kontext", "wan22"])
def test_without_adapters_all_weights_train(
    name: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    model = load(saved(name), tiny.loading(name, lora=False, checkpointing=True))
    of = trainer(name, model, OBJECTIVES["samples"], upstream.prompts_of(name, tmp_path))
    before = {n: p.detach().clone() for n, p in model.network.named_parameters()}
    of.step()
    moved = [not torch.equal(p, before[n]) for n, p in model.network.named_parameters()]
    assert sum(moved) > 0.8 * len(moved)


def test_checkpointing_keeps_the_gradient(saved: Callable[[str], Path]) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = load(saved("sd3"), tiny.loading("sd3", checkpointing=checkpointing))
        cond = model.encode(upstream.PROMPTS)
        t, x = torch.tensor([0.3, 0.8]), upstream.noise(model.shape)
        model.denoiser(x, t, cond).x0.square().sum().backward()
        weights = dict(model.network.named_parameters())
        gradients.append(
            torch.cat([p.grad.flatten() for p in weights.values() if p.grad is not None])
        )
    assert gradients[0].norm() > 0
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-5, atol=1e-6)


def test_an_editor_wants_to_know_what_to_edit(saved: Callable[[str], Path], tmp_path: Path) -> None:
    model = load(saved("flux_kontext"), tiny.loading("flux_kontext"))
    with pytest.raises(TypeError, match="must say which one, got 'a red fox'"):
        model.encode(upstream.PROMPTS)
    one = model.encode([Instruction("a red fox", upstream.picture(tmp_path))])
    assert isinstance(one, Text)
    assert one.image is not None
    empty = model.null(one)  # guidance leaves out the words, not the picture
    assert isinstance(empty, Text)
    assert empty.image is one.image
    assert not torch.equal(empty.states, one.states)
