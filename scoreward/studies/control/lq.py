"""The entropy-regularised linear-quadratic problem: environment, optimum and everything exact.

    dX = (A X + B a) dt + Σ_j (C_j X + D_j a) dW_j,
    r = −(½ xᵀM x + aᵀR x + ½ aᵀN a + Pᵀx + Qᵀa)

For a policy a ~ N(G x + h, Σ) value, occupation moments, gradient, improved policy and performance
difference are linear algebra. They all come from one function, `residual`: the quadratic
x ↦ E_π[L^a V + r − γ log π] − ρ V. Its zero is the value of π; its mean over the occupation law of
π is ρ times how much better π is than the policy that V belongs to. Derived by us.
"""

from dataclasses import dataclass
from math import e, pi

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.studies.control.sde import Environment


@dataclass(frozen=True, kw_only=True)
class LQ(Environment):
    """A linear-quadratic problem; matrices are float64, j noise terms act on everything."""

    A: Float[Tensor, "n n"]
    B: Float[Tensor, "n m"]
    C: Float[Tensor, "j n n"]
    D: Float[Tensor, "j n m"]
    M: Float[Tensor, "n n"]
    R: Float[Tensor, "m n"]
    N: Float[Tensor, "m m"]
    P: Float[Tensor, " n"]
    Q: Float[Tensor, " m"]
    start_mean: Float[Tensor, " n"]
    start_std: Float[Tensor, " n"]

    @property
    def sizes(self) -> tuple[int, int, int]:
        return len(self.A), self.B.shape[1], len(self.C)

    def drift(self, x: Tensor, a: Tensor, t: Tensor) -> Tensor:
        return _map(self.A, x) + _map(self.B, a)

    def diffusion(self, x: Tensor, a: Tensor, t: Tensor) -> Tensor:
        columns = [_map(C, x) + _map(D, a) for C, D in zip(self.C, self.D)]
        return torch.stack(columns, -1)

    def reward(self, x: Tensor, a: Tensor, t: Tensor) -> Tensor:
        on_x = x * (0.5 * _map(self.M, x) + self.P)
        on_a = a * (_map(self.R, x) + 0.5 * _map(self.N, a) + self.Q)
        return -on_x.sum(1) - on_a.sum(1)

    def start(self, count: int, key: Key) -> Tensor:
        noise = key.normal(count, len(self.A), dtype=torch.float64)
        return self.start_mean + self.start_std * noise

    def start_moments(self) -> tuple[Tensor, Tensor]:
        """E x [n] and E x xᵀ [n n] of the start law."""
        m = self.start_mean
        return m, torch.outer(m, m) + torch.diag(self.start_std**2)


def _map(matrix: Tensor, x: Tensor) -> Tensor:
    """matrix · x for each row; one number needs no matrix product."""
    return x * matrix[0, 0] if matrix.numel() == 1 else x @ matrix.T


def _kron(a: Tensor, b: Tensor) -> Tensor:
    return torch.kron(a.contiguous(), b.contiguous())  # views of a transpose are refused by torch


@dataclass(frozen=True)
class LinearGaussian:
    """The policy a ~ N(gain · x + intercept, covariance)."""

    gain: Float[Tensor, "m n"]
    intercept: Float[Tensor, " m"]
    covariance: Float[Tensor, "m m"]


@dataclass(frozen=True)
class Quadratic:
    """The function ½ xᵀK x + kᵀx + c."""

    K: Float[Tensor, "n n"]
    k: Float[Tensor, " n"]
    c: Float[Tensor, ""]

    def __call__(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, " batch"]:
        return 0.5 * (x * (x @ self.K)).sum(1) + x @ self.k + self.c

    def mean(self, moments: tuple[Tensor, Tensor]) -> Tensor:
        """Its expectation, from E x and E x xᵀ."""
        return 0.5 * (self.K * moments[1]).sum() + self.k @ moments[0] + self.c


def residual(lq: LQ, policy: LinearGaussian, value: Quadratic) -> Quadratic:
    """E_{a∼π}[L^a V + r − γ log π] − ρ V as a function of x.  [ct-policy-opt] (advantage rate)"""
    G, h, cov = policy.gain, policy.intercept, policy.covariance
    drift, push = lq.A + lq.B @ G, lq.B @ h
    cross = lq.R.T @ G
    K = drift.T @ value.K + value.K @ drift - (lq.M + cross + cross.T + G.T @ lq.N @ G)
    k = drift.T @ value.k + value.K @ push
    k = k - (lq.R.T @ h + G.T @ (lq.N @ h + lq.Q) + lq.P)
    c = push @ value.k - (0.5 * h @ lq.N @ h + 0.5 * (lq.N * cov).sum() + lq.Q @ h)
    for C, D in zip(lq.C, lq.D):
        on_x, shift = C + D @ G, D @ h
        K, k = K + on_x.T @ value.K @ on_x, k + on_x.T @ value.K @ shift
        c = c + 0.5 * (shift @ value.K @ shift + (D.T @ value.K @ D * cov).sum())
    if lq.temperature > 0:
        c = c + lq.temperature * 0.5 * torch.logdet(2 * pi * e * cov)
    rho = lq.discount
    return Quadratic(K - rho * value.K, k - rho * value.k, c - rho * value.c)


def evaluate(lq: LQ, policy: LinearGaussian) -> Quadratic:
    """The value of a policy; ValueError where it is not finite.  [ct-policy-opt] (LQ evaluation)

    In the ergodic case K and k are those of the relative value and c is the average reward.
    """
    G, h, n = policy.gain, policy.intercept, len(lq.A)
    eye, drift = torch.eye(n, dtype=torch.float64), lq.A + lq.B @ G
    loops = [C + D @ G for C, D in zip(lq.C, lq.D)]
    operator = lq.discount * _kron(eye, eye) - _kron(drift.T, eye)
    operator = operator - _kron(eye, drift.T) - sum(_kron(s.T, s.T) for s in loops)
    if bool((torch.linalg.eigvals(operator).real <= 0).any()):
        raise ValueError(
            "the policy lets the state's second moment grow faster than the discount, so it has no "
            "finite value; take a gain that damps the state, or a larger discount"
        )
    zero = Quadratic(torch.zeros_like(lq.A), torch.zeros_like(h[:1]).expand(n), h.new_zeros(()))
    K = torch.linalg.solve(operator, residual(lq, policy, zero).K.flatten()).reshape(n, n)
    known = residual(lq, policy, Quadratic(K, zero.k, zero.c))
    k = torch.linalg.solve(lq.discount * eye - drift.T, known.k)
    c = residual(lq, policy, Quadratic(K, k, zero.c)).c
    return Quadratic(K, k, c if lq.ergodic else c / lq.discount)


def improve(lq: LQ, value: Quadratic) -> LinearGaussian:
    """The policy proportional to exp(q/γ); γ = 0 gives its mean.  [ct-policy-opt] (LQ optimum)"""
    bend, cross, tilt = lq.N, lq.B.T @ value.K - lq.R, lq.B.T @ value.k - lq.Q
    for C, D in zip(lq.C, lq.D):
        bend, cross = bend - D.T @ value.K @ D, cross + D.T @ value.K @ C
    if bool((torch.linalg.eigvalsh(bend) <= 0).any()):
        raise ValueError("the best action is unbounded: N − Σ DᵀKD is not positive definite")
    inverse = torch.linalg.inv(bend)
    return LinearGaussian(inverse @ cross, inverse @ tilt, lq.temperature * inverse)


def iterate(lq: LQ, policy: LinearGaussian, times: int) -> list[LinearGaussian]:
    """Exact policy iteration: evaluate, improve, `times` times."""
    policies = []
    for _ in range(times):
        policy = improve(lq, evaluate(lq, policy))
        policies.append(policy)
    return policies


def optimum(lq: LQ, iterations: int = 50) -> tuple[Quadratic, LinearGaussian]:
    """Optimal value and policy, by policy iteration from doing nothing (quadratic convergence).

    Doing nothing must have a finite value. [ct-policy-opt] (LQ optimum)
    """
    n, m, _ = lq.sizes
    none = torch.zeros(m, n, dtype=torch.float64)
    policy = LinearGaussian(none, none[:, 0], torch.eye(m, dtype=torch.float64))
    for _ in range(iterations):
        last, policy = policy, improve(lq, evaluate(lq, policy))
        if torch.allclose(policy.gain, last.gain, rtol=0, atol=1e-14):
            break
    return evaluate(lq, policy), policy


def moments(lq: LQ, policy: LinearGaussian) -> tuple[Tensor, Tensor]:
    """E x and E x xᵀ under the occupation law; ergodic: the stationary law.

    [ct-policy-opt] (occupation moments)
    """
    G, h, cov, rho, n = policy.gain, policy.intercept, policy.covariance, lq.discount, len(lq.A)
    eye, drift, push = torch.eye(n, dtype=torch.float64), lq.A + lq.B @ G, lq.B @ h
    start, start_square = lq.start_moments()
    mean = torch.linalg.solve(rho * eye - drift, rho * start + push)
    added = rho * start_square + torch.outer(push, mean) + torch.outer(mean, push)
    operator = rho * _kron(eye, eye) - _kron(drift, eye) - _kron(eye, drift)
    for C, D in zip(lq.C, lq.D):
        on_x, shift = C + D @ G, D @ h
        line = torch.outer(on_x @ mean, shift)
        added = added + line + line.T + torch.outer(shift, shift) + D @ cov @ D.T
        operator = operator - _kron(on_x, on_x)
    return mean, torch.linalg.solve(operator, added.flatten()).reshape(n, n)


def objective(lq: LQ, policy: LinearGaussian) -> Tensor:
    """η(π): the mean value at the start, or the average reward of the ergodic problem."""
    value = evaluate(lq, policy)
    return value.c if lq.ergodic else value.mean(lq.start_moments())


def difference(lq: LQ, new: LinearGaussian, old: LinearGaussian) -> Tensor:
    """η(new) − η(old), by the occupation law of `new`.  [ct-policy-opt] (performance difference)"""
    return lq.mass * _gain(lq, new, old).mean(moments(lq, new))


def local_difference(lq: LQ, new: LinearGaussian, old: LinearGaussian) -> Tensor:
    """The same with the occupation law of `old`.  [ct-policy-opt] (local approximation)"""
    return lq.mass * _gain(lq, new, old).mean(moments(lq, old))


def _gain(lq: LQ, new: LinearGaussian, old: LinearGaussian) -> Quadratic:
    """E_{a∼new}[q(x, a; old) − γ log new]; an average reward is subtracted like ρV."""
    value = evaluate(lq, old)
    gain = residual(lq, new, value)
    return Quadratic(gain.K, gain.k, gain.c - value.c) if lq.ergodic else gain


def gradient(lq: LQ, policy: LinearGaussian) -> LinearGaussian:
    """∇η by gain, intercept and covariance.  [ct-policy-opt] (LQ gradient)"""
    G, h, value = policy.gain, policy.intercept, evaluate(lq, policy)
    by_x = lq.B.T @ value.K - lq.R - lq.N @ G
    constant = lq.B.T @ value.k - lq.N @ h - lq.Q
    by_cov = -0.5 * lq.N
    for C, D in zip(lq.C, lq.D):
        by_x = by_x + D.T @ value.K @ (C + D @ G)
        constant = constant + D.T @ value.K @ D @ h
        by_cov = by_cov + 0.5 * D.T @ value.K @ D
    if lq.temperature > 0:
        by_cov = by_cov + 0.5 * lq.temperature * torch.linalg.inv(policy.covariance)
    mean, square = moments(lq, policy)
    return LinearGaussian(
        lq.mass * (by_x @ square + torch.outer(constant, mean)),
        lq.mass * (by_x @ mean + constant),
        lq.mass * by_cov,
    )
