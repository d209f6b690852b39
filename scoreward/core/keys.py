"""Random numbers with addresses: a draw depends on what it is for and on nothing else.

`Key((seed,)) / "round" / 3 / "prompt" / 8 / "sample" / 2` names a stream. Results therefore do not
depend on the batch size, the number of processes or the order of calls, resuming needs no generator
state, and sharing noise inside a group is a choice of address.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Key:
    """An address; `key / part` is a longer one. Parts are ints, strings or floats.

    >>> import scoreward as sw
    >>> key = sw.Key(("mine",)) / "round" / 3
    >>> bool((key.normal(2) == key.normal(2)).all())  # the same numbers whenever it is asked
    True
    """

    path: tuple[object, ...]

    def __truediv__(self, part: object) -> "Key":
        return Key((*self.path, part))

    def generator(self) -> torch.Generator:
        """A CPU generator, so that every device sees the same numbers."""
        digest = hashlib.blake2b(repr(self.path).encode(), digest_size=8).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard normal numbers of this address."""
        return torch.randn(shape, generator=self.generator(), dtype=dtype)

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Numbers in [0, 1) of this address."""
        return torch.rand(shape, generator=self.generator(), dtype=dtype)

    def permutation(self, n: int) -> Tensor:
        """A random order of 0 … n − 1."""
        return torch.randperm(n, generator=self.generator())

    def integers(self, high: int, *shape: int) -> Tensor:
        """Integers in [0, high)."""
        return torch.randint(high, shape, generator=self.generator())


def shuffled(key: Key, places: Iterable[int], total: int) -> list[int]:
    """The items at these places of an endless list: all `total` of them, in a new order each time.

    The order of epoch e is that of `key / e`, so a place has its item whoever asks, in any order.
    """
    wanted = list(places)
    order = {e: (key / e).permutation(total) for e in {p // total for p in wanted}}
    return [int(order[p // total][p % total]) for p in wanted]


def normal_each(
    keys: Iterable[Key], shape: tuple[int, ...], dtype: torch.dtype = torch.float32
) -> Tensor:
    """One draw per key, stacked: the noise of a batch whose samples have addresses."""
    return torch.stack([key.normal(*shape, dtype=dtype) for key in keys])
