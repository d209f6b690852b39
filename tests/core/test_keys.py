"""Random numbers depend on their address and on nothing else."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scoreward.core.keys import Key, normal_each, shuffled
from tests.core.laws import F64

PARTS = st.one_of(st.integers(-5, 5), st.text(max_size=3), st.floats(-2, 2).filter(lambda x: x % 1))


def test_an_address_always_gives_the_same_numbers() -> None:
    key = Key((7,)) / "round" / 3
    first = key.normal(4, 2)
    torch.manual_seed(99)
    (key / "other").normal(100)
    assert torch.equal(Key((7, "round", 3)).normal(4, 2), first)


@given(a=st.lists(PARTS, max_size=4), b=st.lists(PARTS, max_size=4))
def test_different_addresses_give_different_numbers(a: list[object], b: list[object]) -> None:
    same = torch.equal(Key(tuple(a)).normal(3), Key(tuple(b)).normal(3))
    assert same == (tuple(map(repr, a)) == tuple(map(repr, b)))


def test_parts_do_not_run_into_one_another() -> None:
    assert Key(("ab", "c")).normal(1) != Key(("a", "bc")).normal(1)
    assert Key((1, 23)).normal(1) != Key((12, 3)).normal(1)
    assert Key((1,)).normal(1) != Key(("1",)).normal(1)


def test_drawing_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    key = Key((1,))
    for draw in (key.normal, key.uniform):
        draw(3)
    key.permutation(5)
    key.integers(9, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_normal_numbers_are_standard_normal() -> None:
    """Over many addresses: mean within 5 standard errors, variance likewise (1 in 1e6)."""
    x = torch.stack([(Key((0,)) / i).normal(50, dtype=F64) for i in range(400)]).flatten()
    n = len(x)
    assert x.mean().abs() < 5 / n**0.5
    assert (x.var() - 1).abs() < 5 * (2 / n) ** 0.5


def test_uniform_numbers_and_integers_fill_their_range() -> None:
    u = Key((0,)).uniform(20_000, dtype=F64)
    assert u.min() >= 0
    assert u.max() < 1
    assert (u.mean() - 0.5).abs() < 5 * (1 / 12 / 20_000) ** 0.5
    counts = torch.bincount(Key((0,)).integers(5, 20_000), minlength=5)
    assert len(counts) == 5
    assert (counts / 20_000 - 0.2).abs().max() < 5 * (0.16 / 20_000) ** 0.5


def test_a_permutation_holds_every_index_once() -> None:
    order = Key((4,)).permutation(50)
    assert torch.equal(order.sort().values, torch.arange(50))
    assert not torch.equal(order, torch.arange(50))


def test_numbers_have_the_type_asked_for() -> None:
    key = Key((0,))
    assert key.normal(1).dtype == key.uniform(1).dtype == torch.float32
    assert key.normal(1, dtype=F64).dtype == key.uniform(1, dtype=F64).dtype == F64


def test_a_batch_of_draws_is_its_draws_in_any_order() -> None:
    keys = [Key((3,)) / i for i in range(5)]
    batch = normal_each(keys, (2, 3))
    assert torch.equal(batch[4], keys[4].normal(2, 3))
    assert torch.equal(normal_each(keys[::-1], (2, 3)), batch.flip(0))


@pytest.mark.slow
def test_another_process_sees_the_same_numbers() -> None:
    """Python salts hash() anew in every process, so it must be no part of an address."""
    code = (
        "from scoreward.core.keys import Key; print((Key((7,)) / 'round' / 3).normal(4).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str((Key((7,)) / "round" / 3).normal(4).tolist())


def test_neighbouring_addresses_are_uncorrelated() -> None:
    """5,000 pairs within an address and across two: 5.5 standard errors, below 1 in 1e7."""
    x = normal_each((Key((1,)) / i for i in range(5000)), (2,), F64)
    for product in (x[:, 0] * x[:, 1], x[1:, 0] * x[:-1, 0]):
        assert product.mean().abs() < 5.5 * product.std() / len(product) ** 0.5


def test_an_endless_list_goes_through_everything_in_a_new_order_each_time() -> None:
    key = Key(("order", 3))
    whole = shuffled(key, range(21), 7)
    epochs = [whole[i : i + 7] for i in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert shuffled(key, [20, 3, 9], 7) == [whole[20], whole[3], whole[9]]
    assert shuffled(key / "other", range(21), 7) != whole
