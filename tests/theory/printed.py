"""Numbers as they are printed in a table: equal means equal to the last digit shown."""

from typing import Any

import pytest
import torch
from torch import Tensor

F64 = torch.float64


def printed(*texts: str) -> Any:
    """Approx of a list of numbers, each to half a unit of its last printed digit."""
    return [pytest.approx(float(text), abs=_half_a_unit(text)) for text in texts]


def _half_a_unit(text: str) -> float:
    mantissa, _, exponent = text.lower().partition("e")
    digits = len(mantissa.partition(".")[2])
    return 0.501 * 10.0 ** (int(exponent or 0) - digits)


def real(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)
