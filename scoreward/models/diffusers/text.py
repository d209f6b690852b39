"""What the text encoders of a pipeline say of prompts, computed once and kept on disk.

Prompts are encoded once. The key of an entry is the content of the encoders, the settings and the
prompt, so that another model or another prompt never finds it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, cast

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from scoreward.core.rows import Rows, join
from scoreward.data.store import TensorStore
from scoreward.made_of import add_content


@dataclass(frozen=True)
class Extent(Rows):
    """Rows and columns of pictures' tokens, and which there may be: known without asking a device.

    A chain whose pictures have one shape waits for nobody.
    """

    sides: Int[Tensor, "batch 2"]
    known: frozenset[tuple[int, int]]

    @classmethod
    def of(cls, sides: Int[Tensor, "batch 2"]) -> "Extent":
        """Of sides that are on the CPU."""
        return cls(sides, frozenset((rows, columns) for rows, columns in sides.tolist()))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, sides=change(self.sides))

    def joined(self, parts: Sequence[Rows]) -> Self:
        """All rows; of the shapes those that any part may have."""
        every = cast(Sequence[Extent], parts)
        known = self.known.union(*(part.known for part in every))
        return replace(self, sides=torch.cat([part.sides for part in every]), known=known)


@dataclass(frozen=True)
class Text(Rows):
    """One row a prompt; `image` is the picture that an editing model is to change, as tokens.

    It keeps its own shape, `extent`, so rows may have fewer tokens than there is room for. `away_`
    is what guidance leads away from, where a prompt says so: its negative prompt.
    """

    states: Float[Tensor, "batch tokens dim"]
    pooled: Float[Tensor, "batch wide"] | None = None
    mask: Int[Tensor, "batch tokens"] | None = None  # 1 where a token counts
    image: Shaped[Tensor, "batch places deep"] | None = None
    extent: Extent | None = None  # of the tokens of `image`
    away_states: Float[Tensor, "batch tokens dim"] | None = None
    away_pooled: Float[Tensor, "batch wide"] | None = None
    away_mask: Int[Tensor, "batch tokens"] | None = None

    def shortened(self) -> "Text":
        """Without the columns that no row uses."""
        if self.mask is None:
            return self
        longest = max(1, int(self.mask.sum(1).max()))
        return replace(self, states=self.states[:, :longest], mask=self.mask[:, :longest])

    def cast(self, dtype: torch.dtype) -> "Text":
        """States and pictures in the precision of the network; the mask stays."""
        pooled, image = (None if v is None else v.to(dtype) for v in (self.pooled, self.image))
        return replace(self, states=self.states.to(dtype), pooled=pooled, image=image)


def padded(rows: Sequence[Float[Tensor, "_ dim"]], tokens: int) -> Text:
    """States of different lengths as one block, longer ones cut, with their mask."""
    cut = [row[:tokens] for row in rows]
    states = torch.stack([F.pad(row, (0, 0, 0, tokens - len(row))) for row in cut])
    lengths = torch.tensor([len(row) for row in cut], device=states.device)
    mask = (torch.arange(tokens, device=states.device) < lengths[:, None]).long()
    return Text(states, mask=mask)


def fingerprint(folder: Path, parts: Sequence[str]) -> str:
    """A hash of what the sub-folders hold: small files whole, weights by size and three samples."""
    digest = hashlib.sha256()
    for part in sorted(parts):
        for path in sorted((folder / part).rglob("*")):
            if path.is_file():
                digest.update(f"{path.relative_to(folder)} {path.stat().st_size}".encode())
                add_content(digest, path)
    return digest.hexdigest()[:32]


@dataclass(frozen=True)
class Remembered:
    """Rows by key: made once, kept in a store, read as often as wanted."""

    store: TensorStore

    def __call__(
        self, keys: Sequence[str], make: Callable[[list[int]], Text], batch: int = 16
    ) -> Text:
        """Rows of all keys; `make` is asked for the positions of those that are not there yet."""
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        found = {k: _of(row) for k in first if (row := self.store.read(k)) is not None}
        missing = sorted(i for key, i in first.items() if key not in found)
        for start in range(0, len(missing), batch):
            places = missing[start : start + batch]
            made = make(places)
            for n, place in enumerate(places):
                found[keys[place]] = row = made[n : n + 1].to("cpu")
                self.store.write(keys[place], _parts(row))
        return join([found[key] for key in keys])


def _parts(row: Text) -> dict[str, Tensor]:
    """What is kept of a row."""
    parts = {name: value for name, value in vars(row).items() if isinstance(value, Tensor)}
    return parts if row.extent is None else {**parts, "extent": row.extent.sides}


def _of(parts: Mapping[str, Tensor]) -> Text:
    """A row from what was kept of it."""
    others = {name: value for name, value in parts.items() if name != "extent"}
    sides = parts.get("extent")
    return Text(**others, extent=None if sides is None else Extent.of(sides))
