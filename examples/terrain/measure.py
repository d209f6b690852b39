"""Two measurements of the untouched model that the recipe and its page rest on."""

import torch
from torch import Tensor

from examples.terrain.model import consistency, decode, one_step, terrain_model
from examples.terrain.rewards import height_spread, mean_slope, roughness
from scoreward.core.chain import Sampler, draw
from scoreward.core.keys import Key, normal_each
from scoreward.models.base import Model


def drawn(model: Model, sampler: Sampler, name: str, difficulty: float, count: int) -> Tensor:
    """Media of `count` fields, four at a time."""
    keys, parts = [Key((name, i)) for i in range(count)], []
    for start in range(0, count, 4):
        some = keys[start : start + 4]
        x = normal_each((key / "start" for key in some), model.shape)
        cond = torch.full((len(some),), difficulty)
        parts.append(decode(draw(sampler, model.denoiser, x, some, cond)))
    return torch.cat(parts)


def floors(count: int = 32) -> str:
    """Median std of the heights for each difficulty: `FLOORS` of the recipe."""
    model, lines = terrain_model(), []
    for difficulty in (0.6, 0.7, 0.8, 0.9, 1.0):
        media = drawn(model, one_step(), "floors", difficulty, count)
        spread = height_spread(media, [""] * count).sort().values
        middle = float(spread[count // 2 - 1] + spread[count // 2]) / 2
        lines.append(f"{difficulty}: {middle:.3f} m, mean {float(spread.mean()):.3f} m")
    return "\n".join(lines)


def steps(count: int = 6) -> str:
    """Slope and roughness at difficulty 0.8 with one step and with consistency chains."""
    model, lines = terrain_model(), []
    for noises in ((), (60.0,), (40.0,), (20.0,), (5.0,), (1.0,), (10.0, 2.0, 0.5)):
        sampler = consistency(*noises) if noises else one_step()
        media = drawn(model, sampler, "steps", 0.8, count)
        slope, rough = (float(f(media, [""] * count).mean()) for f in (mean_slope, roughness))
        lines.append(f"again from σ = {noises}: {slope:.1f} degrees, roughness {rough:.3f} m")
    return "\n".join(lines)
