"""Matrices of which `make test` tries a part; `make long` tries the rest."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def mostly_long(cases: Iterable[Any], few: Collection[Any]) -> list[Any]:
    """All cases as parameters; those that are not among the few are marked as long."""
    cases = list(cases)
    missing = [case for case in few if case not in cases]
    if missing:
        raise ValueError(f"{missing} are none of the cases")
    return [one if one in few else long(one) for one in cases]


def long(*values: Any) -> Any:
    """One case that is marked as long; of several values if there are several parameters."""
    return pytest.param(*values, marks=pytest.mark.long)
