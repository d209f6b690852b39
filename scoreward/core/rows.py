"""Frozen dataclasses of tensors that can be indexed, joined and moved along axis 0.

Whatever crosses from sampling to objectives to the trainer is a `Rows`: the trainer can shuffle and
split it without knowing what is inside. Fields are tensors, nested rows, or None.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar, cast, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from scoreward.core.device import placed

T = TypeVar("T", bound="Tensor | Rows | None")
S = TypeVar("S")


@dataclass(frozen=True)
class Rows:
    """Base class: subclass it as a frozen dataclass whose fields share their first axis."""

    def _map(self, change: Callable[[Any], Any]) -> Self:
        values = ((name, getattr(self, name)) for name in self.__dataclass_fields__)
        return type(self)(**{k: None if v is None else change(v) for k, v in values})

    def __len__(self) -> int:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if value is not None:
                return len(value)
        return 0

    def __getitem__(self, index: "Tensor | slice") -> Self:
        return self._map(lambda v: v[index])

    def to(self, device: "torch.device | str") -> Self:
        """All tensors on another device."""
        return self._map(lambda v: moved(v, device))

    def repeat(self, times: int) -> Self:
        """Each row `times` times in a row: a b → a a b b."""
        return self._map(lambda v: repeat_rows(v, times))

    def joined(self, parts: "Sequence[Self]") -> Self:
        """All parts, of which this is the first, one after the other."""
        names = self.__dataclass_fields__
        return type(self)(**{n: join([getattr(p, n) for p in parts]) for n in names})

    def split(self, size: int) -> Iterator[Self]:
        """Consecutive pieces of at most `size` rows."""
        for start in range(0, len(self), size):
            yield self[start : start + size]


@dataclass(frozen=True)
class Looked(Rows):
    """Rows that are looked up in a table when they are needed: many samples of few prompts.

    Indexing, repeating and joining move numbers, not rows of the table.
    """

    table: "Tensor | Rows"
    index: Int[Tensor, " rows"]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: "Tensor | slice") -> "Looked":
        return Looked(self.table, self.index[index])

    def to(self, device: "torch.device | str") -> "Looked":
        return Looked(moved(self.table, device), moved(self.index, device))

    def repeat(self, times: int) -> "Looked":
        return Looked(self.table, self.index.repeat_interleave(times))

    def joined(self, parts: "Sequence[Tensor | Rows]") -> Any:
        """Numbers where all look in one table, else the rows themselves."""
        same = [p for p in parts if isinstance(p, Looked) and p.table is self.table]
        if len(same) == len(parts):
            return Looked(self.table, torch.cat([p.index for p in same]))
        return join([whole(p) for p in parts])

    def rows(self) -> "Tensor | Rows":
        """The rows themselves."""
        return self.table[self.index]


@runtime_checkable
class NumberedRows(Protocol):
    """Rows that say which sample of the round each is of; what a trainer forms batches by."""

    @property
    def sample(self) -> Tensor: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: "Tensor | slice", /) -> Self: ...

    def joined(self, parts: "Sequence[Self]") -> Self: ...

    def split(self, size: int) -> Iterator[Self]: ...


def moved(value: "Tensor | Rows", device: "torch.device | str") -> Any:
    """A tensor or rows on another device."""
    return value.to(device) if isinstance(value, Rows) else placed(value, device)


def some(value: S, piece: "Tensor | slice") -> S:
    """Some rows of a tensor, of rows, or of whatever else is sliced along the batch."""
    return value if value is None else cast(S, cast(Any, value)[piece])


def whole(value: "Tensor | Rows | None") -> "Tensor | Rows | None":
    """Rows that are only looked up as themselves; anything else as it is."""
    return value.rows() if isinstance(value, Looked) else value


def repeat_rows(value: T, times: int) -> T:
    """Each row `times` times in a row, for a tensor, rows or None."""
    if value is None:
        return value
    if isinstance(value, Rows):
        return value.repeat(times)
    return cast(T, value.repeat_interleave(times, 0))


def join(parts: Sequence[T]) -> T:
    """The rows of all parts, one after the other; all parts are of one type."""
    first = parts[0]
    if first is None:
        return first
    if isinstance(first, Rows):
        return cast(T, first.joined(cast(list[Any], list(parts))))
    return cast(T, torch.cat(cast(list[Tensor], list(parts))))
