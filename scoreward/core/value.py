"""Critics: what a state is worth under a policy, learned from increments of paths.

e^(−βt) V(X_t) + ∫ e^(−βs) r ds is a martingale, so its increment
δ = e^(−β dt) V(x') − V(x) + r dt has mean zero given x. There are two consistent ways to learn V
from that: make δ orthogonal to test functions (the gradient of V: TD(0), or LSTD when V is linear),
or bring V close to realised returns (martingale loss). Making δ² small is neither: as dt → 0 it
flattens V, see `squared_td_error_trap`.

Everything is a rate: δ/dt estimates the advantage rate, and losses are divided by dt, so that they
mean the same for every step. With a temperature, r stands for r − γ log π.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Some = Float[Tensor, "*shape"]
"""Numbers of one shape, whichever: a row, or paths and steps."""

Rows = Float[Tensor, " rows"]


def increment(value: Some, later: Some, rate: Some, discount: float, dt: Some | float) -> Some:
    """δ = e^(−β dt) V(x') − V(x) + r dt.  [ct-policy-opt] (martingale)"""
    return _decay(discount, value, dt) * later - value + rate * dt


def advantage_rate(value: Some, later: Some, rate: Some, discount: float, dt: Some | float) -> Some:
    """q̂ = r + (e^(−β dt) V(x') − V(x)) / dt, the little q, per unit time.

    [ct-policy-opt] (advantage rate). One sample has standard deviation |σᵀ∇V| / √dt; what stays
    fixed as dt → 0 is the noise per simulated time.
    """
    return increment(value, later, rate, discount, dt) / dt


def q_increment(
    value: Some, later: Some, rate: Some, q: Some, discount: float, dt: Some | float
) -> Some:
    """δ_q = e^(−β dt) V(x') − V(x) + (r − q) dt, r without entropy.  [q-learning] (martingale)

    Its mean is zero given x *and* a when V and q are those of one policy; V and q are both updated
    along their own gradients times δ_q.
    """
    return increment(value, later, rate - q, discount, dt)


def q_excess(q: Rows, log_prob: Rows, temperature: float) -> Rows:
    """q − γ log π, which has mean zero over actions of π.  [q-learning] (normalisation)"""
    return q - temperature * log_prob


def orthogonality_loss(
    value: Rows, later: Rows, rate: Rows, discount: float, dt: Rows | float
) -> Float[Tensor, ""]:
    """A loss whose gradient is −mean(∇V(x) δ)/dt.  [ct-policy-opt] (TD orthogonality)

    Its value means nothing; it is zero-gradient where δ is orthogonal to ∇V.
    """
    delta = advantage_rate(value, later, rate, discount, dt).detach()
    return -(value * delta).mean()


def realised(
    rate: Float[Tensor, "steps paths"],
    later: Float[Tensor, "steps paths"],
    cut: Bool[Tensor, "steps paths"],
    discount: float,
    dt: float,
) -> Float[Tensor, "steps paths"]:
    """Discounted return from each step to the end of its piece of path, plus V at that end.

    A piece ends where `cut` says so, and with the last step; `later` is the value there (0, or the
    terminal reward, where the problem itself has ended).
    """
    decay = _decay(discount, rate, dt)
    total, result = later[-1], torch.empty_like(rate)
    for k in range(len(rate) - 1, -1, -1):
        total = torch.where(cut[k], later[k], total)
        total = rate[k] * dt + decay * total
        result[k] = total
    return result


def martingale_loss(value: Some, returns: Some) -> Float[Tensor, ""]:
    """½ mean (G − V(x))² over times and paths.  [ct-policy-opt] (martingale loss)

    Consistent because G is a return over many steps, not a value one step later.
    """
    return 0.5 * ((returns.detach() - value) ** 2).mean()


class Fit(NamedTuple):
    """Weights of a linear value, and the average reward (0 unless the problem is ergodic)."""

    weights: Tensor
    average: Tensor


def lstd_system(
    phi: Float[Tensor, "rows p"],
    later: Float[Tensor, "rows p"],
    rate: Rows,
    discount: float,
    dt: Rows | float,
) -> tuple[Float[Tensor, "p p"], Float[Tensor, " p"]]:
    """(H, y) of the equations H w = y that make δ orthogonal to all features.

    H = mean φ(x) (φ(x) − e^(−β dt) φ(x'))ᵀ / dt,  y = mean φ(x) r.  [ct-policy-opt] (LSTD)
    """
    step = torch.as_tensor(dt).to(phi).expand(len(phi))[:, None]
    fall = (phi - _decay(discount, phi, step) * later) / step
    return phi.T @ fall / len(phi), phi.T @ rate / len(phi)


def solve_lstd(
    system: Float[Tensor, "p p"],
    right: Float[Tensor, " p"],
    mean: Float[Tensor, " p"],
    ergodic: bool,
    ridge: float = 1e-9,
) -> Fit:
    """Weights with H w = y; `mean` is the mean of φ, and φ₀ must be the constant 1.

    In the ergodic case a constant is worth nothing, and its weight stands for the average reward ȳ
    instead: mean φ (r − ȳ) takes the place of mean φ r.
    """
    if ergodic:
        system = torch.cat([mean[:, None], system[:, 1:]], 1)
    system = system + ridge * torch.eye(len(system)).to(system)
    weights = torch.linalg.solve(system, right)
    if not ergodic:
        return Fit(weights, weights.new_zeros(()))
    return Fit(torch.cat([weights.new_zeros(1), weights[1:]]), weights[0])


def squared_td_error_trap(
    phi: Float[Tensor, "rows p"],
    later: Float[Tensor, "rows p"],
    rate: Rows,
    discount: float,
    dt: float,
) -> Float[Tensor, " p"]:
    """Weights that minimise mean δ²: wrong, and here only to show it.  [ct-policy-opt] (TD trap)

    δ² is about |σᵀ∇V|² dt, the quadratic variation, so as dt → 0 the minimiser is a flat V.
    """
    change = _decay(discount, phi, dt) * later - phi
    return torch.linalg.solve(change.T @ change, -change.T @ (rate * dt))


def _decay(discount: float, like: Tensor, dt: "Tensor | float") -> Tensor:
    return (-discount * torch.as_tensor(dt).to(like)).exp()
