"""Further along the way from the first model to the aligned one, without training.

[expo] Model Extrapolation Expedites Alignment, arXiv 2404.16792
"""

from collections.abc import Mapping

from torch import Tensor

ADAPTER = (".lora_A.", ".lora_B.")


def extrapolated(
    base: Mapping[str, Tensor], aligned: Mapping[str, Tensor], amount: float
) -> dict[str, Tensor]:
    """(1 + a) · aligned − a · base, weight by weight.  [expo] (extrapolation)

    a = 0 is the aligned model, a = −1 the base, between them lies a mixture. A LoRA's change is a
    product, so of adapters (whose base is zero) only the second factor B is scaled: (1 + a) B A.
    """
    if base.keys() != aligned.keys():
        odd = sorted(base.keys() ^ aligned.keys())
        raise ValueError(
            f"{len(odd)} weights are in one model only, {odd[0]!r} first; extrapolate two sets of "
            f"weights with the same names"
        )
    return {name: _one(name, base[name], aligned[name], amount) for name in aligned}


def _one(name: str, base: Tensor, aligned: Tensor, amount: float) -> Tensor:
    if ADAPTER[0] in name:
        return aligned.clone()
    if ADAPTER[1] in name and bool(base.any()):
        raise ValueError(f"the base's adapter {name!r} is not zero; merge adapters first")
    wide = (1 + amount) * aligned.double() - amount * base.double()
    return wide.to(aligned.dtype)
