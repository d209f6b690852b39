"""Rows on disk are written once, whole, and are the same numbers when they are read."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scoreward.data.disk_rows import kept

ROWS = torch.linspace(-3, 3, 5 * 6).reshape(5, 2, 3)


def refused() -> Iterator[Tensor]:
    raise AssertionError("rows are computed once")
    yield torch.zeros(1)


def test_rows_are_what_was_written_in_any_order(tmp_path: Path) -> None:
    rows = kept(tmp_path / "rows.npy", ROWS, 5)
    assert (len(rows), rows.shape, rows.ndim) == (5, ROWS.shape, 3)
    assert torch.equal(rows[[4, 0, 4]], ROWS[[4, 0, 4]])
    assert torch.equal(rows[torch.tensor([1])], ROWS[[1]])
    assert torch.equal(rows.some([3, 1]).some([1])[[0]], ROWS[[1]])
    assert rows[[]].shape == (0, 2, 3)


def test_bytes_are_pixels_between_minus_one_and_one() -> None:
    pixels = torch.tensor([[0, 255, 128]], dtype=torch.uint8)
    assert torch.equal(kept(None, pixels, 1)[[0]], pixels.float() / 127.5 - 1)


def test_rows_are_found_again_and_not_computed_twice(tmp_path: Path) -> None:
    kept(tmp_path / "rows.npy", ROWS, 5)
    assert torch.equal(kept(tmp_path / "rows.npy", refused(), 5)[range(5)], ROWS)


@pytest.mark.parametrize("size", [0, 3, 60, -1])
def test_what_a_crash_cut_off_is_written_again(size: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    kept(path, ROWS, 5)
    path.write_bytes(path.read_bytes()[:size])
    assert torch.equal(kept(path, ROWS + 1, 5)[range(5)], ROWS + 1)


def test_rows_that_cannot_be_kept_leave_no_file(tmp_path: Path) -> None:
    for rows, count, said in (
        (ROWS[:4], 5, "4 pictures came, expected 5"),
        ([ROWS[0], ROWS[0] / 0], 2, "picture 1 is read as numbers that are not finite"),
        ([ROWS[0], ROWS[0, :1]], 2, r"picture 1 has the shape \(1, 3\), not \(2, 3\)"),
    ):
        with pytest.raises(ValueError, match=said):
            kept(tmp_path / "bad.npy", rows, count)
        assert not list(tmp_path.iterdir())
