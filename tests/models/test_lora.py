"""LoRA: nothing changes at the start, only adapters learn, and what they add is (α/r) B A."""

import re
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scoreward.core.denoiser import NetworkDenoiser
from scoreward.core.keys import Key
from scoreward.core.process import RectifiedFlow
from scoreward.models.builtin.transformer import NetworkSize, PatchTransformer
from scoreward.models.lora import LoRA, add_lora
from scoreward.models.weights import Snapshot, Weights

KEY = Key(("lora",))
SMALL = NetworkSize(hidden=16, depth=2, heads=2, text=8)
ASKED = (
    (KEY / "x").normal(3, 3, 16, 16),
    torch.tensor([0.2, 0.5, 0.9]),
    (KEY / "cond").normal(3, 6, 8),
)


class Layers(nn.Module):
    """Two linear layers of which one gets adapters."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.other = nn.Linear(5, 4), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x) + self.other(x)


def network() -> PatchTransformer:
    """Without the zeros of its start, so that every layer matters."""
    made = PatchTransformer((3, 16, 16), SMALL)
    for i, parameter in enumerate(made.parameters()):
        parameter.data = 0.2 * (KEY / "weights" / i).normal(*parameter.shape)
    return made


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def move(module: nn.Module) -> None:
    """Any step of training: every adapter is changed."""
    with torch.no_grad():
        for i, parameter in enumerate(trainable(module).values()):
            parameter.add_(0.3 * (KEY / "step" / i).normal(*parameter.shape))


def test_the_model_starts_unchanged() -> None:
    """[lora] (3): B = 0, whatever A is."""
    made = network()
    before = made(*ASKED)
    adapted = add_lora(made, LoRA(rank=3))
    assert torch.equal(adapted(*ASKED), before)
    factors = trainable(adapted)
    assert all((p == 0).all() == (".lora_B." in name) for name, p in factors.items())
    assert before.abs().mean() > 0.1


def test_only_adapters_of_the_targets_learn() -> None:
    """[lora] (3): two factors of rank r for each of qkv, out, up and down in both blocks."""
    adapted = add_lora(network(), LoRA(rank=3))
    names = {name.removesuffix(".default.weight") for name in trainable(adapted)}
    layers = ("attention.qkv", "attention.out", "up", "down")
    factors = ("lora_A", "lora_B")
    assert names == {f"blocks.{i}.{n}.{f}" for i in (0, 1) for n in layers for f in factors}
    adapted(*ASKED).square().sum().backward()
    learned = {name for name, p in adapted.named_parameters() if p.grad is not None}
    assert learned == set(trainable(adapted))


@pytest.mark.parametrize(("rank", "alpha"), [(2, 3.0), (4, 2.0), (1, 0.5)])
def test_the_update_is_alpha_over_rank_times_b_a(rank: int, alpha: float) -> None:
    """[lora] (3): y = W x + bias + (α/r) B (A x), in float64 by hand."""
    layers = Layers().double()
    weight, bias = layers.out.weight.detach().clone(), layers.out.bias.detach().clone()
    adapted = add_lora(layers, LoRA(rank, alpha, ("out",))).double()
    move(adapted)
    factors = {name.split(".")[1]: p for name, p in trainable(adapted).items()}
    a, b = factors["lora_A"], factors["lora_B"]
    assert (a.shape, b.shape) == ((rank, 5), (4, rank))
    x = (KEY / "in").normal(7, 5, dtype=torch.float64)
    expected = x @ (weight + alpha / rank * b @ a).T + bias + layers.other(x)
    torch.testing.assert_close(adapted(x), expected)


def test_training_and_sampling_give_the_same_answer() -> None:
    """No dropout: the ratio would not be 1 before the first update."""
    adapted = add_lora(network(), LoRA(rank=3))
    move(adapted)
    assert torch.equal(adapted.train()(*ASKED), adapted.eval()(*ASKED))


def test_a_snapshot_of_the_start_is_the_base_model_at_the_size_of_the_adapters() -> None:
    base = network()
    expected = NetworkDenoiser(base, RectifiedFlow())(*ASKED).x0.detach()
    adapted = add_lora(base, LoRA(rank=1))
    weights = Weights(adapted)
    weights.commit("reference")
    move(adapted)
    weights.stepped()
    denoiser = NetworkDenoiser(adapted, RectifiedFlow())
    moved = denoiser(*ASKED).x0
    assert torch.equal(Snapshot(denoiser, weights, "reference")(*ASKED).x0, expected)
    assert (moved - expected).abs().mean() > 1e-3
    assert torch.equal(denoiser(*ASKED).x0, moved)
    kept = sum(tensor.numel() for tensor in weights.snapshot("reference").values())
    assert kept < 0.1 * sum(p.numel() for p in adapted.parameters())


def test_adapters_begin_alike_in_every_run_and_process() -> None:
    """Whatever was drawn before; and what is drawn after does not notice them."""
    torch.manual_seed(1)
    first = trainable(add_lora(network(), LoRA(rank=2)))
    torch.manual_seed(2)
    made = network()
    before = torch.get_rng_state()
    second = trainable(add_lora(made, LoRA(rank=2)))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(p, second[name]) for name, p in first.items())


def test_defaults_are_those_of_flow_grpo() -> None:
    assert (LoRA().rank, LoRA().scale) == (32, 2.0)


def test_another_rank_keeps_the_scale() -> None:
    """α was a number of its own, and rank 4 multiplied the scale by 8."""
    assert LoRA(rank=4).scale == LoRA(rank=32).scale == 2.0
    assert LoRA(rank=4, alpha_per_rank=1.0).scale == 1.0
    assert LoRA(rank=4, alpha=6.0).scale == 1.5
    for rank, alpha, scale in ((4, None, 2.0), (8, 4.0, 0.5)):
        adapted = add_lora(network(), LoRA(rank, alpha))
        layers: list[Any] = [m for m in adapted.modules() if hasattr(m, "scaling")]
        assert {layer.scaling["default"] for layer in layers} == {scale}


def test_what_does_not_fit_is_refused() -> None:
    expected = "LoRA needs a rank of at least 1, a positive alpha and some targets, got "
    with pytest.raises(ValueError, match=re.escape(expected + "rank=0, alpha=None")):
        LoRA(rank=0)
    with pytest.raises(ValueError, match=re.escape(expected + "rank=32, alpha=0.0")):
        LoRA(alpha=0.0)
    with pytest.raises(ValueError, match=re.escape("rank=32, alpha=None, alpha_per_rank=0.0")):
        LoRA(alpha_per_rank=0.0)
    with pytest.raises(
        ValueError,
        match=re.escape(expected + "rank=32, alpha=None, alpha_per_rank=2.0, targets=[]"),
    ):
        LoRA(targets=())
    with pytest.raises(ValueError, match="to_q"):
        add_lora(Layers(), LoRA(targets=("to_q",)))


def test_without_peft_the_extra_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r'LoRA needs peft; install it with pip install "score'):
        add_lora(Layers(), LoRA())
