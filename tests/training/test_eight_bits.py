"""AdamW with moments in 8 bits: near the exact one, smaller, and resumed to the last bit."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from scoreward.models.base import Model
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.training import checkpoint
from scoreward.training.optimizer import Optimizer, updates_made
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
from tests.training.toys import SMALL, online, toy_model

EIGHT = Optimizer(lr=1e-2, bits=8)


def wide(seed: int = 0) -> Model:
    """The toy with a layer large enough for 8 bits."""
    model = toy_model()
    torch.manual_seed(seed)
    size = model.shape[0]
    layers = nn.Sequential(
        nn.Linear(size, 80), nn.Tanh(), nn.Linear(80, 80), nn.Tanh(), nn.Linear(80, size)
    )

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, x: torch.Tensor, t: torch.Tensor, cond: object) -> torch.Tensor:
            return self.layers(x)

    return replace(model, network=Wide())


def trainer(optimizer: Optimizer) -> Trainer:
    return Trainer(wide(), VGRPO(clip=None), online(SMALL), optimizer, Team())


def test_large_moments_take_a_byte_and_the_path_is_near_the_exact_one() -> None:
    weights = []
    for bits in (32, 8):
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(64, 128))
        target = torch.randn(64, 128)
        optimizer = Optimizer(lr=1e-2, bits=bits).build([weight])  # pyright: ignore
        for _ in range(50):
            optimizer.zero_grad()
            (weight - target).square().mean().backward()
            optimizer.step()
        assert updates_made(optimizer) == 50
        weights.append(weight.detach().clone())
        sizes = {v.dtype for v in optimizer.state[weight].values() if isinstance(v, torch.Tensor)}
        assert (torch.uint8 in sizes) == (bits == 8)
    moved = (weights[0] - weights[1]).abs().mean()
    assert 0 < moved < 0.05 * 0.5  # fifty updates of at most 1e-2


def test_a_resumed_run_goes_on_to_the_last_bit(tmp_path: Path) -> None:
    whole, first = trainer(EIGHT), trainer(EIGHT)
    for _ in range(4):
        whole.step()
    for _ in range(2):
        first.step()
    path = checkpoint.save(tmp_path, first, 1.0)
    second = trainer(EIGHT)
    checkpoint.load(path, second)
    for _ in range(2):
        second.step()
    state = second.torch_optimizer.state.values()
    kinds = {v.dtype for s in state for v in s.values() if isinstance(v, torch.Tensor)}
    assert torch.uint8 in kinds
    for name, parameter in whole.weights.parameters.items():
        assert torch.equal(parameter, second.weights.parameters[name]), name


def test_without_bitsandbytes_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ImportError, match=r"optimizer.bits=8 needs bitsandbytes; install it with"):
        EIGHT.build([nn.Parameter(torch.ones(2))])
