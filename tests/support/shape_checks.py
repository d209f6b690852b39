"""The checker of shapes and types that the tests switch on for every function of the library."""

from collections.abc import Callable
from typing import Any, Self, get_args

from beartype import BeartypeConf, beartype

CHECK = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a fine float


def typechecked(function: Callable[..., Any]) -> Callable[..., Any]:
    """beartype, one function at a time; `Self` would need the class, so it is let through."""
    hints = getattr(function, "__annotations__", {})
    if any(_mentions_self(hint) for hint in hints.values()):
        kept = {name: Any if _mentions_self(hint) else hint for name, hint in hints.items()}
        function.__annotations__ = kept
    return CHECK(function)


def _mentions_self(hint: object) -> bool:
    return hint is Self or any(_mentions_self(part) for part in get_args(hint))
