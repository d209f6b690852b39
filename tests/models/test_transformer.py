"""The network of the built-in models: its sizes, its start, its patches, its attention."""

from math import cos, exp, log, sin

import pytest
import torch
from torch import Tensor, nn

from scoreward.core.keys import Key
from scoreward.models.builtin.transformer import (
    Attention,
    Block,
    NetworkSize,
    PatchTransformer,
    modulated,
    rms,
    to_patches,
    to_pixels,
    waves,
)
from tests.core.laws import F64, real

KEY = Key(("portrait net",))
SHAPE = (3, 16, 16)
SMALL = NetworkSize(hidden=16, depth=2, heads=2, text=8)
T = torch.tensor([0.0, 0.3, 0.7, 1.0], dtype=F64)


def lively(module: nn.Module) -> nn.Module:
    """In float64 and without the zeros of its start, so that every layer matters."""
    for i, parameter in enumerate(module.parameters()):
        parameter.data = 0.3 * (KEY / "weights" / i).normal(*parameter.shape, dtype=F64)
    return module


def asked(size: NetworkSize = SMALL, dtype: torch.dtype = F64) -> tuple[Tensor, Tensor, Tensor]:
    x = (KEY / "x").normal(4, 3, 16, 16, dtype=dtype)
    return x, T.to(dtype), (KEY / "cond").normal(4, 6, size.text, dtype=dtype)


def test_the_shipped_size_is_small() -> None:
    count = sum(p.numel() for p in PatchTransformer(SHAPE, NetworkSize()).parameters())
    assert 2_500_000 < count < 3_000_000
    assert 4 * count < 12e6  # bytes of a weights file in float32


def test_it_starts_by_answering_zero() -> None:
    size = NetworkSize()
    answer = PatchTransformer(SHAPE, size)(*asked(size, torch.float32))
    assert answer.shape == (4, 3, 16, 16)
    assert not answer.any()


def test_at_the_start_the_last_layer_learns_first() -> None:
    """adaLN-zero: gates and modulations are 0, so only `last` has a slope, and then the rest."""
    network = PatchTransformer(SHAPE, SMALL)
    x, t, cond = asked(dtype=torch.float32)
    (network(x, t, cond) - x).square().sum().backward()
    moved = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"last.weight", "last.bias"}


def test_a_block_starts_as_the_identity() -> None:
    """Its gates are 0, whatever the state; so are its scales and shifts."""
    block, state = Block(8, heads=2), (KEY / "state").normal(2, 8)
    x, phrases = (KEY / "tokens").normal(2, 5, 8), (KEY / "p").normal(2, 3, 8)
    assert torch.equal(block(x, phrases, state), x)
    assert not block.modulation(state).any()


def test_every_parameter_matters_once_it_has_left_zero() -> None:
    network = lively(PatchTransformer(SHAPE, SMALL))
    network(*asked()).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.any(), name


@pytest.mark.parametrize("patch", [2, 4, 8])
def test_patches_go_there_and_back(patch: int) -> None:
    x, *_ = asked()
    patches = to_patches(x, patch)
    assert patches.shape == (4, (16 // patch) ** 2, 3 * patch**2)
    assert torch.equal(to_pixels(patches, SHAPE, patch), x)


def test_a_patch_is_a_square_of_neighbours_in_reading_order() -> None:
    x, *_ = asked()
    patches = to_patches(x, 4)
    for place, (row, column) in {0: (0, 0), 3: (0, 12), 4: (4, 0), 15: (12, 12)}.items():
        square = x[:, :, row : row + 4, column : column + 4]
        assert torch.equal(patches[:, place], square.flatten(1))


def test_a_picture_does_not_depend_on_its_batch() -> None:
    network, (x, t, cond) = lively(PatchTransformer(SHAPE, SMALL)), asked()
    together = network(x, t, cond)
    for i in range(4):
        alone = network(x[i : i + 1], t[i : i + 1], cond[i : i + 1])
        torch.testing.assert_close(alone[0], together[i])


def test_picture_time_and_words_all_change_the_answer_everywhere() -> None:
    """A change in one corner of the picture reaches the opposite one: patches see each other."""
    network, (x, t, cond) = lively(PatchTransformer(SHAPE, SMALL)), asked()
    answer, corner = network(x, t, cond), x.clone()
    corner[:, :, 0, 0] += 1
    for other in (network(corner, t, cond), network(x, t * 0.9 + 0.01, cond)):
        assert (other - answer).abs().amin() > 0
        assert (other - answer)[:, :, 12:, 12:].abs().mean() > 1e-4
    words = cond.clone()
    words[:, 3] += 1
    assert (network(x, t, words) - answer).abs().mean() > 1e-3


def test_the_order_of_phrases_carries_no_meaning() -> None:
    network, (x, t, cond) = lively(PatchTransformer(SHAPE, SMALL)), asked()
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    torch.testing.assert_close(network(x, t, cond[:, order]), network(x, t, cond))


def test_without_words_there_is_an_answer_of_its_own() -> None:
    """The unconditional path of guidance: all phrases zero."""
    network, (x, t, cond) = lively(PatchTransformer(SHAPE, SMALL)), asked()
    without = network(x, t, torch.zeros_like(cond))
    assert without.isfinite().all()
    assert (without - network(x, t, cond)).abs().mean() > 1e-2


def test_waves_are_cosines_and_sines_from_fast_to_slow() -> None:
    """Frequencies 1000 · 10000^(−k/8) for width 16."""
    t = real(0.0, 0.0123, 1.0)
    got = waves(t, 16)
    for i, u in enumerate(t.tolist()):
        angles = [1000 * u * exp(-log(10000) * k / 8) for k in range(8)]
        expected = real(*[cos(a) for a in angles], *[sin(a) for a in angles])
        torch.testing.assert_close(got[i], expected)


def test_normalisation_is_by_the_root_mean_square() -> None:
    """(3, 4): mean square 12.5; the scale counts from 1."""
    x = real(3.0, 4.0)[None]
    torch.testing.assert_close(rms(x), x / 12.5**0.5)
    got = modulated(x, real(0.5, -1.0), real(10.0, 20.0))
    torch.testing.assert_close(got, real(1.5 * 3 / 12.5**0.5 + 10, 20.0)[None])


def test_attention_written_out() -> None:
    """Head by head: softmax(q kᵀ/√d) v over image tokens and phrases, q and k normalised."""
    attention = lively(Attention(8, heads=2))
    assert isinstance(attention, Attention)
    x, phrases = (KEY / "tokens").normal(2, 5, 8, dtype=F64), (KEY / "p").normal(2, 3, 8, dtype=F64)
    query, key, value = attention.qkv(x).split(8, -1)
    text_key, text_value = attention.text_kv(phrases).split(8, -1)
    key, value = torch.cat([key, text_key], 1), torch.cat([value, text_value], 1)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        q, k = query[..., part], key[..., part]
        q = q / (q.square().mean(-1, keepdim=True) + 1e-6).sqrt() * attention.q_scale
        k = k / (k.square().mean(-1, keepdim=True) + 1e-6).sqrt() * attention.k_scale
        weight = (q @ k.mT / 4**0.5).softmax(-1)
        heads.append(weight @ value[..., part])
    torch.testing.assert_close(attention(x, phrases), attention.out(torch.cat(heads, -1)))


def test_a_block_adds_gated_attention_and_then_a_gated_mlp() -> None:
    block = lively(Block(8, heads=2))
    assert isinstance(block, Block)
    x, phrases = (KEY / "tokens").normal(2, 5, 8, dtype=F64), (KEY / "p").normal(2, 3, 8, dtype=F64)
    state = (KEY / "state").normal(2, 8, dtype=F64)
    scale_1, shift_1, gate_1, scale_2, shift_2, gate_2 = (
        block.modulation(state).reshape(2, 6, 1, 8).unbind(1)
    )
    mid = x + gate_1 * block.attention(rms(x) * (1 + scale_1) + shift_1, phrases)
    hidden = block.up(rms(mid) * (1 + scale_2) + shift_2)
    expected = mid + gate_2 * block.down(nn.functional.gelu(hidden))
    torch.testing.assert_close(block(x, phrases, state), expected)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="hidden=12, heads=4"):
        NetworkSize(hidden=12)
    with pytest.raises(ValueError, match="must divide the pictures' 32 x 60 pixels, got 8"):
        PatchTransformer((1, 32, 60), NetworkSize(patch=8))


def test_pictures_need_not_be_square() -> None:
    x = (KEY / "wide").normal(2, 1, 8, 16)
    patches = to_patches(x, 4)
    assert patches.shape == (2, 8, 16)
    assert torch.equal(patches[:, 5], x[:, 0, 4:8, 4:8].flatten(1))
    assert torch.equal(to_pixels(patches, (1, 8, 16), 4), x)
