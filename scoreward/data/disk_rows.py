"""Tensors that are written once, row by row, and of which rows are read when they are asked for."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scoreward.data.store import written_whole


@dataclass(frozen=True)
class DiskRows:
    """A tensor [rows, …] in a NumPy file.  Bytes are pixels, and are read as numbers in [−1, 1]."""

    path: Path
    start: int  # of the numbers in the file
    row: tuple[int, ...]  # the shape of a row
    dtype: str
    index: Sequence[int]  # the rows of the file that there are, in their order

    def __len__(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.index), *self.row))

    @property
    def ndim(self) -> int:
        return 1 + len(self.row)

    def __getitem__(self, rows: Any) -> Tensor:
        """Some rows, by their numbers, read now."""
        kind = np.dtype(self.dtype)
        size = int(np.prod(self.row)) * kind.itemsize
        found = []
        with self.path.open("rb") as file:
            for i in rows.tolist() if isinstance(rows, Tensor) else rows:
                file.seek(self.start + self.index[i] * size)
                found.append(np.frombuffer(file.read(size), kind))
        whole = np.concatenate(found) if found else np.zeros(0, kind)
        numbers = torch.from_numpy(whole.copy()).reshape(-1, *self.row)
        return numbers.float() / 127.5 - 1 if kind == np.uint8 else numbers

    def some(self, rows: Sequence[int]) -> "DiskRows":
        """Some rows, not read yet."""
        return replace(self, index=[self.index[i] for i in rows])


def kept(path: Path | None, rows: Iterable[Tensor], count: int) -> DiskRows:
    """What is in a file; if it is not there whole, `rows` are written to it one after another.

    Without a path they are kept until the program ends. Raises ValueError for rows that are not
    finite, not of one shape, or not so many.
    """
    path = path or Path(tempfile.mkdtemp(dir=_passing().name)) / "rows.npy"
    if found := _opened(path, count):
        return found
    with written_whole(path) as aside, aside.open("wb") as file:
        shape, written = None, 0
        for number, row in enumerate(rows):
            if not torch.isfinite(row).all():
                raise ValueError(f"picture {number} is read as numbers that are not finite")
            if shape is None:
                shape, dtype = tuple(row.shape), row.numpy().dtype
                head = {"descr": dtype.str, "fortran_order": False, "shape": (count, *shape)}
                np.lib.format.write_array_header_1_0(file, head)
            if tuple(row.shape) != shape:
                raise ValueError(f"picture {number} has the shape {tuple(row.shape)}, not {shape}")
            file.write(row.contiguous().numpy().tobytes())
            written += 1
        if written != count:
            raise ValueError(f"{written} pictures came, expected {count}; has their file changed?")
    if found := _opened(path, count):
        return found
    raise ValueError(f"{path} was changed while it was written; begin again")


def _opened(path: Path, count: int) -> DiskRows | None:
    """A file of so many rows; None for what is not there, or was cut off by a crash."""
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            whole = file.tell() + int(np.prod(shape)) * dtype.itemsize == path.stat().st_size
            made = DiskRows(path, file.tell(), tuple(shape[1:]), dtype.str, range(count))
    except (OSError, ValueError):
        return None
    return made if whole and shape[0] == count else None


@cache
def _passing() -> tempfile.TemporaryDirectory[str]:
    """A folder that is gone when the program ends."""
    return tempfile.TemporaryDirectory(prefix="scoreward")
