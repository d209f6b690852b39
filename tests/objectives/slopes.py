"""Finite differences of a network's parameters, the oracle of gradients."""

from collections.abc import Callable

import torch
from torch import Tensor


def differences(value: Callable[[], Tensor], module: torch.nn.Module) -> Tensor:
    """Central differences of a number in all parameters."""
    (mean,) = module.parameters()
    result, step = torch.zeros_like(mean), 1e-6
    with torch.no_grad():
        for index in range(mean.numel()):
            sides = []
            for sign in (1, -1):
                mean.view(-1)[index] += sign * step
                sides.append(value())
                mean.view(-1)[index] -= sign * step
            result.view(-1)[index] = (sides[0] - sides[1]) / (2 * step)
    return result
