"""Optimal trading of stakes under proof of stake: the model.

[pos-trading] Tang and Yao, "Trading under the Proof-of-Stake Protocol: a Continuous-Time Control
Approach". N(t) stakes exist and an agent owns X(t) of them. New stakes are handed out in proportion
to what is owned, so the share X/N moves only when the agent trades, at a rate ν in [−ν̄, ν̄]. Stakes
pay utility while they are held and at the horizon; trades cost their price. Everything here is
written in the share, so N' never appears and any nondecreasing N will do.

Parameters are numbers, or tensors of one shape [*batch]: then times carry that shape too, or
[times, *batch]. All is computed in float64. Time is in years, say; rates and prices are per year
and per stake.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Number = float | Tensor
Function = Callable[[Tensor], Tensor]

PANELS, NODES = 4, 16  # of Gauss-Legendre quadrature; ours: 1e-13 on the problems of the tests
_X, _W = (torch.from_numpy(array) for array in np.polynomial.legendre.leggauss(NODES))
_AT = ((torch.arange(PANELS)[:, None] + (_X + 1) / 2) / PANELS).flatten()  # nodes in (0, 1)
_WEIGHT = (_W / (2 * PANELS)).repeat(PANELS)
_HUGE = 345.0  # log A beyond which N is constant to rounding
MOST = 50.0  # change of a logarithm that the quadrature follows to ten digits; ours
GRID = 2001  # points on which a user's function is checked; ours


def double(value: Number) -> Float[Tensor, "*batch"]:
    """In float64."""
    return torch.as_tensor(value, dtype=torch.float64)


def integrate(function: Function, start: Number, end: Number) -> Float[Tensor, "*batch"]:
    """∫ function over [start, end]; the function is asked once, for times [nodes, *batch]."""
    first, width = torch.broadcast_tensors(double(start), double(end) - double(start))
    ones = [1] * first.ndim
    values = function(first + width * _AT.reshape(-1, *ones))
    return width * (_WEIGHT.reshape(-1, *ones) * values).sum(0)


def require(fine: Tensor | bool, sentence: str) -> None:
    """Raises ValueError with the sentence, unless it is fine everywhere."""
    if not torch.as_tensor(fine).all():
        raise ValueError(sentence)


def _finite(**values: Number) -> None:
    for name, value in values.items():
        require(double(value).isfinite(), f"`{name}` must be a finite number, got {value}")


@runtime_checkable
class Issuance(Protocol):
    """How many stakes there are."""

    def total(self, t: Tensor) -> Tensor:
        """N(t), in stakes."""
        ...

    def bought(self, start: Tensor, end: Tensor) -> Tensor:
        """∫ du/N(u) over [start, end]: the share that trading at rate 1 adds."""
        ...


@dataclass(frozen=True)
class PowerIssuance:
    """N(t) = (A + t)^α with A = N(0)^(1/α).  [pos-trading] (issuance)

    α = 0 issues nothing; below, at and above 1 the issuance N' falls, is constant, and rises.
    """

    initial: Number  # N(0), in stakes
    alpha: Number = 1.0

    def __post_init__(self) -> None:
        _finite(total=self.initial, alpha=self.alpha)
        require(double(self.initial) > 0, f"N(0) must be positive, got {self.initial} stakes")
        require(
            double(self.alpha) >= 0,
            f"`alpha` must not be negative, got {self.alpha}: stakes are issued, never destroyed",
        )
        require(
            (self._log_scale() > -_HUGE) | (double(self.alpha) == 0),
            f"N(0) = {self.initial} is too small for alpha = {self.alpha}: count stakes in a "
            f"smaller unit, so that N(0) exceeds 1",
        )

    def _log_scale(self) -> Tensor:
        """log A; at most _HUGE, where N is as good as constant."""
        n, alpha = double(self.initial).log(), double(self.alpha)
        return torch.where(alpha == 0, _HUGE, n / torch.where(alpha == 0, 1.0, alpha)).clamp(
            max=_HUGE
        )

    def total(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*shape"]:
        grown = torch.log1p(double(t) * torch.exp(-self._log_scale()))
        return double(self.initial) * torch.exp(double(self.alpha) * grown)

    def bought(
        self, start: Float[Tensor, "*starts"], end: Float[Tensor, "*ends"]
    ) -> Float[Tensor, "*shape"]:
        """[(A + u)^(1−α)]/(1−α), or log(A + u) for α = 1, written so that neither is special."""
        scale = self._log_scale().exp()
        first = torch.log1p(double(start) / scale)
        ratio = torch.log1p(double(end) / scale) - first
        left = 1 - double(self.alpha)
        power = left * ratio
        mean = torch.where(
            power.abs() < 1e-12, 1 + power / 2, power.expm1() / torch.where(power == 0, 1.0, power)
        )
        return scale / double(self.initial) * (left * first).exp() * ratio * mean


@dataclass(frozen=True)
class OwnIssuance:
    """N(t) given by a function of a tensor of times; positive and nondecreasing on [0, horizon]."""

    function: Function
    horizon: float

    def __post_init__(self) -> None:
        n = _checked(self.function, self.horizon, "issuance")
        require(n > 0, f"the issuance must be positive; its least value is {n.min().item():.6g}")
        require(
            n.diff() >= -1e-12 * n.max(),
            "the issuance falls somewhere; N(t) must be nondecreasing",
        )

    def total(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return double(self.function(double(t)))

    def bought(
        self, start: Float[Tensor, "*starts"], end: Float[Tensor, "*ends"]
    ) -> Float[Tensor, "*shape"]:
        return integrate(lambda u: 1 / self.total(u), start, end)


def _checked(function: Function, end: float, what: str) -> Float[Tensor, "n"]:
    """The function on a grid of [0, end].  Raises ValueError if it is not finite there."""
    at = torch.linspace(0, end, GRID, dtype=torch.float64)
    try:
        values = function(at)
    except Exception as error:
        raise ValueError(
            f"the {what} could not be asked for a tensor ({type(error).__name__}: {error}); "
            "write it with torch functions"
        ) from error
    if not isinstance(values, Tensor) or values.shape != at.shape:
        kind = type(values).__name__
        got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else kind
        raise ValueError(
            f"the {what} must map a tensor to a tensor of the same shape, {tuple(at.shape)} here, "
            f"and returned {got}; write it with torch functions"
        )
    require(values.isfinite(), f"the {what} is not finite everywhere on [0, {end:g}]")
    return double(values.detach())


@runtime_checkable
class Price(Protocol):
    """The price of a stake, which the agent's trades do not move."""

    def mean(self, t: Tensor) -> Tensor:
        """E P(t), in money."""
        ...


@dataclass(frozen=True)
class GeometricPrice:
    """P(t) = P₀ exp(μt + σB(t) − σ²t/2), of mean P₀ exp(μt); without volatility it is that."""

    initial: Number  # P₀, in money
    growth: Number = 0.0  # μ, per unit time
    volatility: Number = 0.0  # σ, per square root of unit time

    def __post_init__(self) -> None:
        _finite(price=self.initial, growth=self.growth, volatility=self.volatility)
        require(double(self.initial) > 0, f"the price must be positive, got {self.initial}")
        require(
            double(self.volatility) >= 0,
            f"`volatility` must not be negative, got {self.volatility}",
        )

    def mean(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*shape"]:
        return double(self.initial) * torch.exp(double(self.growth) * double(t))


@dataclass(frozen=True)
class OwnPrice:
    """E P(t) given by a function of a tensor of times; positive on [0, horizon]."""

    function: Function
    horizon: float

    def __post_init__(self) -> None:
        p = _checked(self.function, self.horizon, "price")
        require(p > 0, f"the price must be positive; its least value is {p.min().item():.6g}")

    def mean(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return double(self.function(double(t)))


@dataclass(frozen=True)
class StakeProblem:
    """Who trades what, how fast, for how long."""

    issuance: Issuance
    price: Price
    rate: Number = 0.2  # ν̄, stakes bought or sold per unit time at most; as in the tests
    horizon: Number = 5.0  # T, in units of time
    discount: Number = 0.1  # β, per unit time

    def __post_init__(self) -> None:
        _finite(rate=self.rate, horizon=self.horizon, discount=self.discount)
        require(double(self.rate) > 0, f"`rate` must be positive, got {self.rate}")
        require(double(self.horizon) > 0, f"`horizon` must be positive, got {self.horizon}")
        require(double(self.discount) >= 0, f"`discount` must not be negative, got {self.discount}")
        start, end = self.zero(), self.zero() + double(self.horizon)
        grown = {
            "discount factor": double(self.discount) * double(self.horizon),
            "mean price": (self.price.mean(end) / self.price.mean(start)).log(),
            "number of stakes": (self.issuance.total(end) / self.issuance.total(start)).log(),
        }
        for name, change in grown.items():
            require(
                change.abs() <= MOST,
                f"the {name} changes by more than a factor of exp({MOST:g}) until the horizon "
                f"{self.horizon}, which cannot be resolved; shorten `horizon` or check the rates",
            )

    def valuation(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*shape"]:
        """p(t) = exp(−βt) E P(t), what a stake costs seen from time 0.  [pos-trading] (valuation)

        Constant for a risk-neutral agent (martingale), rising for a risk-seeking one
        (sub-martingale), falling for a risk-averse one (super-martingale).
        """
        return torch.exp(-double(self.discount) * double(t)) * self.price.mean(t)

    def zero(self, *others: Number) -> Float[Tensor, "*batch"]:
        """Time 0, in the shape that the parameters of the problem, and others, have together."""
        parts = [self.rate, self.horizon, self.discount, *others]
        start = double(0.0)
        parts += [self.issuance.total(start), self.price.mean(start)]
        shape = torch.broadcast_shapes(*(double(part).shape for part in parts))
        return torch.zeros(shape, dtype=torch.float64)

    def weight(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*shape"]:
        """exp(−βt) N(t)."""
        return torch.exp(-double(self.discount) * double(t)) * self.issuance.total(t)

    def rising(self) -> bool:
        """Whether p never falls, as in the cases with at most one switch."""
        steps = torch.linspace(0, 1, GRID, dtype=torch.float64)
        ones = [1] * self.zero().ndim
        p = self.valuation(steps.reshape(-1, *ones) * double(self.horizon))
        return bool((p.diff(dim=0) >= -1e-12 * p.abs().max()).all())

    def check_stakes(self, x: Number) -> None:
        """Raises ValueError unless 0 ≤ x ≤ N(0)."""
        _finite(stakes=x)
        total = self.issuance.total(double(0.0))
        require(double(x) >= 0, f"`stakes` must not be negative, got {x}")
        require(
            double(x) <= total,
            f"`stakes` must not exceed N(0) = {total.max().item():g}, all there are, got {x}",
        )


def linear(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Utility x."""
    return x


def square(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Utility x²."""
    return x.square()


def power(exponent: float) -> Function:
    """Utility x^exponent.  Raises ValueError unless the exponent is positive and finite."""
    if not 0 < exponent < float("inf"):
        raise ValueError(f"the exponent of a utility must be positive, got {exponent}")
    return lambda x: x.pow(exponent)


@dataclass(frozen=True)
class Utility:
    """ℓ(x) = running · u(x) per unit time while held, and h(x) = terminal · u(x) at the horizon."""

    running: Number = 0.0  # ℓ, money per unit time and unit of u
    terminal: Number = 0.0  # h, money per unit of u
    shape: Function = linear  # u, nondecreasing

    def __post_init__(self) -> None:
        _finite(running=self.running, terminal=self.terminal)
        for name, value in (("running", self.running), ("terminal", self.terminal)):
            require(double(value) >= 0, f"`{name}` utility must not be negative, got {value}")

    def slope(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """u'(x), by differentiating u.  Raises ValueError if torch cannot."""
        with torch.enable_grad():
            at = x.detach().clone().requires_grad_()
            total = self.shape(at).sum()
            if not total.requires_grad:
                raise ValueError(
                    "the utility has no derivative that torch can see; write it with torch "
                    "functions of its argument"
                )
            (found,) = torch.autograd.grad(total, at)
        return found

    def check_shape(self, largest: float) -> None:
        """Raises ValueError unless u is finite and nondecreasing on [0, largest]."""
        u = _checked(self.shape, largest, "utility")
        require(
            u.diff() >= -1e-12 * u.abs().max(),
            f"the utility falls somewhere on [0, {largest:g}]; it must be nondecreasing",
        )

    def smooth(self, largest: float) -> bool:
        """Whether u on a grid of [0, largest] is the integral of its slope: no jumps.

        The first cells are held to less, because a root is steep there.
        """
        at = torch.linspace(0, largest, GRID, dtype=torch.float64)
        rises = self.shape(at).diff()
        missing = (rises - self.slope((at[1:] + at[:-1]) / 2) * at.diff()).abs() / rises.sum()
        return bool((missing[10:] < 1e-4).all() and (missing[:10] < 2e-2).all())
