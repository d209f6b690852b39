"""A package that is also what it lists: `methods["vgrpo"]`, `list(tasks)`."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any


class Listed(ModuleType):
    """A module with the face of a mapping; it defines `names()` and `named(name)`."""

    def __getitem__(self, name: str) -> Any:
        return self.named(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()
