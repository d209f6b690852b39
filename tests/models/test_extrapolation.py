"""Weights on the line through two models."""

import pytest
import torch
from torch import nn

from scoreward.core.keys import Key
from scoreward.models.extrapolation import extrapolated


def weights(*address: object) -> dict[str, torch.Tensor]:
    key = Key(address)
    return {"weight": (key / "w").normal(3, 2), "bias": (key / "b").normal(3)}


def test_a_linear_network_moves_along_the_line() -> None:
    """[expo] (extrapolation)  Outputs are linear in the weights: f(1 + a) = f + a (f − f0)."""
    base, aligned, x = weights("base"), weights("aligned"), Key(("x",)).normal(5, 2)
    further = extrapolated(base, aligned, 0.5)
    first, last, beyond = (nn.functional.linear(x, **w) for w in (base, aligned, further))
    torch.testing.assert_close(beyond, last + 0.5 * (last - first))


def test_the_ends_are_the_two_models() -> None:
    base, aligned = weights("base"), weights("aligned")
    torch.testing.assert_close(extrapolated(base, aligned, 0.0), aligned)
    torch.testing.assert_close(extrapolated(base, aligned, -1.0), base)


def test_an_adapter_changes_by_the_amount_as_a_product() -> None:
    a, b = Key(("a",)).normal(2, 4), Key(("b",)).normal(3, 2)
    base = {"q.lora_A.default.weight": a + 1, "q.lora_B.default.weight": torch.zeros(3, 2)}
    aligned = {"q.lora_A.default.weight": a, "q.lora_B.default.weight": b}
    found = extrapolated(base, aligned, 0.25)
    product = found["q.lora_B.default.weight"] @ found["q.lora_A.default.weight"]
    torch.testing.assert_close(product, 1.25 * b @ a)


def test_half_precision_is_kept_and_computed_wider() -> None:
    base = {"weight": torch.tensor([1.0], dtype=torch.bfloat16)}
    aligned = {"weight": torch.tensor([1.0078125], dtype=torch.bfloat16)}
    found = extrapolated(base, aligned, 3.0)["weight"]
    assert found.dtype == torch.bfloat16
    assert found.item() == 1.03125


def test_other_names_and_a_trained_base_adapter_are_refused() -> None:
    with pytest.raises(ValueError, match="'bias' first; extrapolate two sets"):
        extrapolated({"weight": torch.ones(1)}, weights("aligned"), 1.0)
    name = "q.lora_B.default.weight"
    with pytest.raises(ValueError, match="merge adapters first"):
        extrapolated({name: torch.ones(1)}, {name: torch.ones(1)}, 1.0)
