"""What fewer bits than float32 ask of training: a scale of the loss, and a wider tolerance.

`denoiser.InPrecision` is where the bits are saved; here is what follows from it.
"""

from math import sqrt

import torch
from torch import nn

MARGIN = 16.0  # of the tolerance over what independent rounding errors give; ours
LEAST = 1e-4  # tolerance in float32, ours
TF32 = 2.0**-11  # its unit roundoff


def narrowest(network: nn.Module, autocast: torch.dtype | None) -> torch.dtype:
    """The coarsest kind of number that a network computes in."""
    kinds = {p.dtype for p in network.parameters() if p.is_floating_point()}
    kinds |= set() if autocast is None else {autocast}
    return max(kinds, key=lambda kind: torch.finfo(kind).eps)


def rounding_of(network: nn.Module, autocast: torch.dtype | None, device: torch.device) -> float:
    """Unit roundoff of a network: half the distance of 1 to the next number."""
    own = torch.finfo(narrowest(network, autocast)).eps / 2
    tf32 = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
    return max(own, TF32) if device.type == "cuda" and tf32 else own


def tolerance(rounding: float, guidance: float, elements: int, summed: bool = False) -> float:
    """How far the ratio may be from 1 before the first update, where kernels round differently.

    The log-ratio of a step is mean(z δ)/std: δ is the rounding error of the network's answer, which
    guidance w multiplies by up to 2w − 1, z the step's noise. Of independent errors the mean over n
    elements is 1/√n of one, their sum √n. Measured: about 3 roundoffs; the margin is 16.
    """
    one = MARGIN * rounding * max(1.0, abs(2 * guidance - 1))
    return max(LEAST, one * sqrt(elements) if summed else one / sqrt(elements))


def scaler_of(
    network: nn.Module, autocast: torch.dtype | None, device: torch.device
) -> torch.amp.GradScaler:
    """A scale of the loss if anything is computed in fp16, where small gradients are 0."""
    needed = any(p.dtype == torch.float16 for p in network.parameters())
    return torch.amp.GradScaler(device.type, enabled=needed or autocast == torch.float16)
