"""Rows are cut, joined, repeated and moved together, whatever they hold."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from scoreward.core.rows import Looked, Rows, join, repeat_rows, whole


@dataclass(frozen=True)
class Inner(Rows):
    value: Tensor
    extra: Tensor | None


@dataclass(frozen=True)
class Outer(Rows):
    nothing: Tensor | None
    inner: Inner
    number: Tensor


def rows(count: int = 5) -> Outer:
    index = torch.arange(count)
    return Outer(None, Inner(index[:, None] * torch.ones(2), None), index)


def test_rows_are_counted_by_their_first_field_that_is_there() -> None:
    assert len(rows(5)) == len(rows(5).inner) == 5
    assert len(Inner(torch.zeros(0, 2), None)) == 0


def test_an_index_picks_the_same_rows_from_every_field() -> None:
    picked = rows()[torch.tensor([3, 0, 3])]
    assert picked.nothing is None
    assert picked.inner.extra is None
    assert picked.number.tolist() == picked.inner.value[:, 1].tolist() == [3, 0, 3]


def test_a_split_covers_all_rows_once_in_order() -> None:
    pieces = list(rows(5).split(2))
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    back = join(pieces)
    assert torch.equal(back.number, rows().number)
    assert torch.equal(back.inner.value, rows().inner.value)
    assert back.nothing is None


def test_repeated_rows_stay_beside_each_other() -> None:
    """a b → a a b b: what belongs to a sample's pairs stays together."""
    repeated = rows(2).repeat(2)
    assert repeated.number.tolist() == repeated.inner.value[:, 0].tolist() == [0, 0, 1, 1]
    assert repeat_rows(torch.tensor([4, 5]), 3).tolist() == [4, 4, 4, 5, 5, 5]
    assert repeat_rows(None, 3) is None
    assert repeat_rows(rows(2), 2).number.tolist() == [0, 0, 1, 1]


def test_join_keeps_the_order_of_the_parts() -> None:
    assert join([torch.tensor([1, 2]), torch.tensor([0])]).tolist() == [1, 2, 0]
    assert join([None, None]) is None


def test_rows_move_with_everything_in_them() -> None:
    moved = rows().to("meta")
    assert moved.number.is_meta
    assert moved.inner.value.is_meta
    assert moved.nothing is None


def test_rows_cannot_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        rows().number = torch.zeros(5)  # pyright: ignore[reportAttributeAccessIssue]


def test_looked_up_rows_are_the_rows() -> None:
    table, index = torch.arange(6.0).reshape(3, 2), torch.tensor([2, 0, 0, 1])
    looked = Looked(table, index)
    assert len(looked) == 4
    assert torch.equal(looked.rows(), table[index])  # pyright: ignore
    assert torch.equal(looked[1:].repeat(2).rows(), table[index[1:].repeat_interleave(2)])  # pyright: ignore
    assert torch.equal(whole(looked[torch.tensor([3])]), table[[1]])  # pyright: ignore
    assert looked[1:].table is table  # numbers move, the table does not
    assert whole(None) is None
    assert whole(table) is table


def test_joining_looked_up_rows_keeps_one_table() -> None:
    table = torch.arange(6.0).reshape(3, 2)
    one, two = Looked(table, torch.tensor([0, 1])), Looked(table, torch.tensor([2]))
    both = join([one, two])
    assert both.table is table
    assert both.index.tolist() == [0, 1, 2]
    other = Looked(table + 10, torch.tensor([2]))
    assert torch.equal(join([one, other]), torch.cat([table[:2], table[2:] + 10]))  # pyright: ignore
