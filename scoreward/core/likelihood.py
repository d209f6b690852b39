"""What stands in for log p(x0 | prompt) when the exact value is out of reach.

Two stand-ins: the path log-probability of a stochastic rollout, and minus the denoising error of
the finished sample on a few (t, ε) pairs. Who shares pairs is decided by their addresses alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.chain import Transitions
from scoreward.core.denoiser import Cond, Denoiser
from scoreward.core.kernel import Kernel
from scoreward.core.keys import Key
from scoreward.core.prediction import Kind, Prediction, linear_form
from scoreward.core.process import Process
from scoreward.core.rows import Rows, repeat_rows

Times = Literal[
    "stratified",
    "grid",
    "distinct",
    "discrete",
    "discrete_wo_init",
    "discrete_with_init",
    "uniform",
    "logit_normal",
]
"""Rules that draw the times of pairs, see `draw_times`."""


def path_log_prob(
    rows: Transitions, denoiser: Denoiser, kernel: Kernel, cond: Cond
) -> Float[Tensor, " rows"]:
    """log p(x_s | x_t) of stored transitions under any policy, in nats.  [flow-grpo] (5)

    Summed over the event; published clip ranges assume means, which path objectives restore
    visibly.
    """
    return kernel(denoiser(rows.x, rows.t, cond), rows.s).log_prob(rows.next)


@dataclass(frozen=True)
class NoisySamples(Rows):
    """`count` noisy versions of each sample: times, noises and the states x_t = α x0 + σ ε."""

    t: Float[Tensor, "batch count"]
    eps: Float[Tensor, "batch count *shape"]
    x_t: Float[Tensor, "batch count *shape"]


def stratified_times(times: Sequence[float], count: int, key: Key) -> list[float]:
    """One time from each of `count` contiguous chunks of the sampler's grid.  [vgrpo] (Sec. 4.4)

    The grid's last time (clean data) carries no information and is left out. Chunks are those of
    `torch.tensor_split`: the first len mod count are one longer.
    """
    grid = torch.tensor(list(times[:-1]), dtype=torch.float64)
    if not 1 <= count <= len(grid):
        raise ValueError(
            f"cannot draw {count} strata from a grid of {len(grid)} steps; "
            "use between 1 and as many pairs as the sampler has steps"
        )
    chunks = torch.tensor_split(grid, count)
    picks = [(key / j).integers(len(c), 1).item() for j, c in enumerate(chunks)]
    return [float(c[int(i)]) for c, i in zip(chunks, picks, strict=True)]


def strata_edges(steps: int, count: int, fraction: float, first: int) -> list[int]:
    """⌊b + j (M − b)/J⌋, j = 0 … J: index strata of the first M = ⌊T f⌋ times.  [awm] (timesteps)

    An index of stratum j is at least its edge j and below edge j + 1; an empty stratum is its edge.
    """
    end = int(steps * fraction)
    if count < 1 or end <= first:
        raise ValueError(
            f"cannot draw {count} strata from times {first} to {end} of a grid of {steps} steps; "
            "use at least 1 pair, more steps, or a larger `fraction`"
        )
    return [(first * count + j * (end - first)) // count for j in range(count + 1)]


def discrete_times(
    times: Sequence[float], edges: Sequence[int], key: Key, before: tuple[int, ...] = ()
) -> list[float]:
    """The times at indices `before`, then one index of each stratum.  [awm] (timesteps)"""
    widths = [max(1, high - low) for low, high in pairwise(edges)]
    picks = [int((key / j).integers(width, 1)) for j, width in enumerate(widths)]
    return [times[i] for i in before] + [times[e + p] for e, p in zip(edges, picks, strict=False)]


def most_times(times: Sequence[float], order: Sequence[int], fraction: float) -> list[float]:
    """The first ⌊f T⌋ in an order of the grid's T times, or one.  [diffusion-nft] (timesteps)"""
    return [times[i] for i in order[: max(1, int(fraction * (len(times) - 1)))]]


def distinct_times(times: Sequence[float], count: int, key: Key) -> list[float]:
    """`count` different ones of these times, noisiest first.  [dgpo] (timesteps)"""
    if not 1 <= count <= len(times):
        raise ValueError(
            f"cannot draw {count} different times out of {len(times)}; use between 1 and as many "
            "pairs as there are times to choose from"
        )
    picks = key.permutation(len(times))[:count].sort().values
    return [times[i] for i in picks.tolist()]


def draw_times(
    times: Sequence[float], count: int, key: Key, rule: Times, fraction: float = 0.99
) -> list[float]:
    """The times of one set of pairs.

    `stratified`: one of each chunk of the grid. `grid`: a random share `fraction` of the grid,
    whatever `count`, [diffusion-nft] (timesteps). `distinct`: `count` different ones of the first
    `fraction` of the grid, every choice alike, [dgpo] (timesteps). `discrete`: one of each stratum
    of the first `fraction` of the grid; `discrete_wo_init`: the same without the first time;
    `discrete_with_init`: the first time and strata of the others, [awm] (timesteps). `uniform`:
    strata of [0.2, 1]; `logit_normal`: strata of a standard normal through a sigmoid, at least
    0.01; both continuous, [awm] (timesteps). Clean data, the grid's last time, is never drawn.
    """
    steps = len(times) - 1
    match rule:
        case "stratified":
            return stratified_times(times, count, key)
        case "grid":
            return most_times(times, (key / "order").permutation(steps).tolist(), fraction)
        case "distinct":
            return distinct_times(times[: int(fraction * steps)], count, key)
        case "discrete":
            return discrete_times(times, strata_edges(steps, count, fraction, 0), key)
        case "discrete_wo_init":
            return discrete_times(times, strata_edges(steps, count, fraction, 1), key)
        case "discrete_with_init":
            rest = strata_edges(steps, count - 1, fraction, 1) if count > 1 else [0]
            return discrete_times(times, rest, key, before=(0,))
        case "uniform" | "logit_normal":
            level = (torch.arange(count, dtype=torch.float64) + (key / "u").uniform(count)) / count
            if rule == "uniform":
                return (0.2 + 0.8 * level).tolist()
            return torch.special.ndtri(level.clamp(1e-6)).sigmoid().clamp(min=0.01).tolist()


def draw_pairs(
    x0: Float[Tensor, "batch *shape"],
    keys: Sequence[Key],
    count: int,
    times: Sequence[float],
    process: Process,
    rule: Times = "stratified",
    time_keys: Sequence[Key] | None = None,
    fraction: float = 0.99,
) -> NoisySamples:
    """Pairs for every sample; samples with equal keys share their pairs.  [vgrpo] (Sec. 4.4)

    With `time_keys`, who shares times is told apart from who shares noise.
    """
    made: dict[tuple[Key, Key], tuple[Tensor, Tensor]] = {}
    places = list(zip(time_keys or keys, keys, strict=True))
    for when, key in places:
        if (when, key) not in made:
            drawn = draw_times(times, count, when / "t", rule, fraction)
            t = torch.tensor(drawn, dtype=x0.dtype)
            made[when, key] = t, (key / "eps").normal(len(t), *x0.shape[1:], dtype=x0.dtype)
    t = torch.stack([made[place][0] for place in places]).to(x0.device)
    eps = torch.stack([made[place][1] for place in places]).to(x0.device)
    return NoisySamples(t, eps, noised(process, x0, t, eps))


def noised(
    process: Process,
    x0: Float[Tensor, "batch *shape"],
    t: Float[Tensor, "batch count"],
    eps: Float[Tensor, "batch count *shape"],
) -> Float[Tensor, "batch count *shape"]:
    """x_t = α x0 + σ ε for every pair.  [flow-matching] (forward process)"""
    time = t.reshape(*t.shape, *[1] * (x0.ndim - 1))
    return process.alpha(time) * x0[:, None] + process.sigma(time) * eps


def predict(denoiser: Denoiser, pairs: NoisySamples, cond: Cond) -> Prediction:
    """The denoiser on all pairs as one flat batch of batch·count evaluations."""
    count = pairs.t.shape[1]
    return denoiser(pairs.x_t.flatten(0, 1), pairs.t.flatten(), repeat_rows(cond, count))


def predict_as(
    denoiser: Denoiser, pairs: NoisySamples, cond: Cond, kind: Kind
) -> Float[Tensor, "batch count *shape"]:
    """The denoiser's answer on the pairs, read as `kind`."""
    return predict(denoiser, pairs, cond).as_(kind).reshape(pairs.x_t.shape)


def targets(
    process: Process, x0: Float[Tensor, "batch *shape"], pairs: NoisySamples, kind: Kind
) -> Float[Tensor, "batch count *shape"]:
    """What a perfect denoiser that knew x0 would answer on the pairs, read as `kind`."""
    a, b = linear_form(kind, process, pairs.t.reshape(*pairs.t.shape, *[1] * (x0.ndim - 1)))
    return a * x0[:, None] + b * pairs.eps


def squared_error(
    pred: Float[Tensor, "batch count *shape"], target: Float[Tensor, "batch count *shape"]
) -> Float[Tensor, "batch count"]:
    """Mean over dimensions of (pred − target)²."""
    return (pred - target).flatten(2).square().mean(2)


def self_normalised_error(
    pred: Float[Tensor, "batch count *shape"],
    target: Float[Tensor, "batch count *shape"],
    floor: float = 1e-5,
) -> Float[Tensor, "batch count"]:
    """mean(e²) / sg(mean|e|): squared error over its own detached magnitude.  [vgrpo] (14)

    The published equation sums the numerator; the clip ranges belong to the mean. `floor` keeps 0/0
    away; it is that of every public code that divides so: [diffusion-nft], [epg] and [crd].
    """
    error = (pred - target).flatten(2)
    return error.square().mean(2) / error.detach().abs().mean(2).clamp(min=floor)
