"""What the text encoders of a pipeline say of prompts, computed once and kept on disk.

Prompts are encoded once. The key of an entry is the content of the encoders, the settings and the
prompt, so that another model or another prompt never finds it.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from scoreward.core.rows import Rows, join
from scoreward.data.store import TensorStore
from scoreward.made_of import add_content


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
    extent: Int[Tensor, "batch 2"] | None = None  # rows and columns of its tokens
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
        found = {k: Text(**row) for k in first if (row := self.store.read(k)) is not None}
        missing = sorted(i for key, i in first.items() if key not in found)
        for start in range(0, len(missing), batch):
            places = missing[start : start + batch]
            made = make(places)
            for n, place in enumerate(places):
                found[keys[place]] = row = made[n : n + 1].to("cpu")
                parts = {name: value for name, value in vars(row).items() if value is not None}
                self.store.write(keys[place], parts)
        return join([found[key] for key in keys])
