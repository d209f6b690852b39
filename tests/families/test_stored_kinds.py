"""The kind of number of each stored weight, read from a folder and given back."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from scoreward.models.diffusers.export import as_stored, stored_kinds

KINDS = {
    "0.weight": torch.bfloat16,
    "0.bias": torch.float32,
    "1.weight": torch.float16,
    "1.bias": torch.bfloat16,
}


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))


def kinds(network: nn.Module) -> dict[str, torch.dtype]:
    return {name: p.dtype for name, p in network.named_parameters()}


def stored() -> dict[str, torch.Tensor]:
    return {name: p.detach().to(KINDS[name]) for name, p in layers().named_parameters()}


def test_each_weight_is_written_as_it_was() -> None:
    made = layers()
    as_stored(made, KINDS)
    assert kinds(made) == KINDS


def test_a_weight_that_was_not_there_is_of_the_usual_kind() -> None:
    made = layers()
    as_stored(made, {n: k for n, k in KINDS.items() if n != "0.bias"})
    assert kinds(made) == KINDS | {"0.bias": torch.bfloat16}
    as_stored(made, {})
    assert set(kinds(made).values()) == {torch.float32}


def test_shards_are_read_and_variants_are_not(tmp_path: Path) -> None:
    tensors = stored()
    for number, names in ((1, ("0.weight", "0.bias")), (2, ("1.weight", "1.bias"))):
        file = tmp_path / f"model-0000{number}-of-00002.safetensors"
        save_file({n: tensors[n] for n in names}, file)
    other = {n: t.double() for n, t in tensors.items()}
    save_file(other, tmp_path / "model.zz.safetensors")
    torch.save(other, tmp_path / "model.bin")
    assert stored_kinds(tmp_path) == KINDS


@pytest.mark.parametrize("empty", [False, True])
def test_files_of_torch_are_read_where_there_are_no_others(empty: bool, tmp_path: Path) -> None:
    if not empty:
        torch.save(stored(), tmp_path / "model.bin")
    assert stored_kinds(tmp_path) == ({} if empty else KINDS)
