"""The network seen through its process: (x_t, t, cond) → Prediction.

Any callable of that signature is a denoiser. Guidance, counting and caching are wrappers with the
same signature, so they compose with every sampler and objective.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scoreward.core.prediction import Kind, Prediction
from scoreward.core.process import Process
from scoreward.core.rows import Rows, join, some, whole

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Asked_contra = TypeVar("Asked_contra", contravariant=True)
Answer_co = TypeVar("Answer_co", covariant=True)


@runtime_checkable
class NetworkReading(Protocol[Asked_contra, Answer_co]):
    """A network asked with one set of weights; the first axis of all it is given is the batch.

    A denoiser is asked (x_t, t, cond), a language model (tokens, mask, what else to say).
    """

    def __call__(self, x: Tensor, at: Tensor, asked: Asked_contra, /) -> Answer_co: ...


@runtime_checkable
class Joined(Protocol):
    """An answer that can be put together from the answers to parts of a batch."""

    def joined(self, parts: Sequence[Self], /) -> Self: ...


JoinedT = TypeVar("JoinedT", bound=Joined)

Cond = Tensor | Rows | None
"""What the network is conditioned on; the first axis is the batch."""


@runtime_checkable
class Denoiser(Protocol):
    """(x_t, t, cond) → what the network says about x_t.  Any callable will do.

    `x_t` is [batch, …], `t` one time per sample in [0, 1], `cond` one row per sample.

    >>> import torch
    >>> import scoreward as sw
    >>> def zero(x_t, t, cond):  # all data are 0, so x_t is noise alone
    ...     return sw.Prediction.of("x0", torch.zeros_like(x_t), x_t, t, sw.RectifiedFlow())
    >>> zero(torch.ones(2, 3), torch.tensor([0.5, 1.0]), None).eps
    tensor([[2., 2., 2.],
            [1., 1., 1.]])
    """

    def __call__(self, x_t: Tensor, t: Tensor, cond: Cond, /) -> Prediction: ...


@dataclass(frozen=True)
class NetworkDenoiser:
    """A network whose output is of one `kind`, read in float32 whatever it computes in."""

    network: nn.Module
    process: Process
    kind: Kind = "velocity"

    def __call__(
        self, x_t: Float[Tensor, "batch *shape"], t: Float[Tensor, " batch"], cond: Cond
    ) -> Prediction:
        if not len(x_t):  # not every network knows what to make of nothing
            return Prediction(x_t, t, x_t, x_t, self.process)
        output = self.network(x_t, t, whole(cond)).to(x_t.dtype)
        return Prediction.of(self.kind, output, x_t, t, self.process)


@dataclass(frozen=True)
class Guided:
    """Classifier-free guidance: ε̂ = ε_∅ + w (ε_c − ε_∅); one call of twice the batch.  [cfg] (6)

    `scale` is w of the convention in which 1 is no guidance (the paper's 1 + w). All
    parameterisations are linear in one another at fixed x_t, so guiding ε guides them all.
    """

    denoiser: Denoiser
    scale: float
    null: Callable[[Cond], Cond]

    def __call__(
        self, x_t: Float[Tensor, "batch *shape"], t: Float[Tensor, " batch"], cond: Cond
    ) -> Prediction:
        given = whole(cond)
        both = join([given, self.null(given)])
        pair = self.denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), both)
        x0, eps = (
            unconditional + self.scale * (conditional - unconditional)
            for conditional, unconditional in (pair.x0.chunk(2), pair.eps.chunk(2))
        )
        return Prediction(x_t, t, x0, eps, pair.process)


@dataclass(frozen=True)
class InBatches(Generic[Asked, JoinedT]):
    """Asks for at most `size` rows at once, which bounds memory; for answers without gradients."""

    reading: NetworkReading[Asked, JoinedT]
    size: int

    def __call__(self, x: Tensor, at: Tensor, asked: Asked, /) -> JoinedT:
        if len(x) <= self.size:
            return self.reading(x, at, asked)
        pieces = [slice(i, i + self.size) for i in range(0, len(x), self.size)]
        parts = [self.reading(x[p], at[p], some(asked, p)) for p in pieces]
        return parts[0].joined(parts)


PRECISIONS: Mapping[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Names of what a network may compute in under autocast; "no" is the dtype of its weights."""


@dataclass(frozen=True)
class InPrecision(Generic[Asked, Answer]):
    """Asks the network with autocast to `dtype`; None leaves it as it is.

    The only place that opens autocast: around the network and nothing else, so densities, rewards
    and losses keep float32. Autocast's memory of cast weights is off, for the next call may read
    other weights.
    """

    reading: NetworkReading[Asked, Answer]
    dtype: torch.dtype | None

    def __call__(self, x: Tensor, at: Tensor, asked: Asked, /) -> Answer:
        if self.dtype is None:
            return self.reading(x, at, asked)
        with torch.autocast(x.device.type, self.dtype, cache_enabled=False):
            return self.reading(x, at, asked)


@dataclass
class Counted:
    """Counts network evaluations, one per sample and call, as it passes them on."""

    denoiser: Denoiser
    count: int = field(default=0)

    def __call__(
        self, x_t: Float[Tensor, "batch *shape"], t: Float[Tensor, " batch"], cond: Cond
    ) -> Prediction:
        self.count += len(x_t)
        return self.denoiser(x_t, t, cond)


@dataclass(frozen=True)
class Switched:
    """One denoiser down to time `at`, another below it.  [mix-grpo] (hybrid inference)

    Early steps with a tuned model and late ones with the model it started from undo what reward
    hacking does to details. The paper tunes the first 80 % of the steps: `at` is the time after
    them.
    """

    early: Denoiser
    late: Denoiser
    at: float

    def __call__(
        self, x_t: Float[Tensor, "batch *shape"], t: Float[Tensor, " batch"], cond: Cond
    ) -> Prediction:
        return (self.early if float(t.max()) > self.at else self.late)(x_t, t, cond)
