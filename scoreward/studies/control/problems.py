"""Linear-quadratic problems with names, used by tests, benchmarks and pages."""

from dataclasses import replace

import torch

from scoreward.studies.control.lq import LQ
from scoreward.studies.control.scalar_lq import Coefficients

L1 = Coefficients(A=-1, B=0, C=0, D=1, M=2, R=1, N=2, P=1, Q=2, discount=1, temperature=0.1)
L2 = Coefficients(
    A=-0.5, B=1, C=0.2, D=0.3, M=1, R=0.1, N=1, P=0.2, Q=-0.3, discount=0.8, temperature=0.2
)
L3 = Coefficients(A=0, B=1, C=0, D=0, M=1, R=0, N=1, P=0, Q=0, discount=1, temperature=0.1)
ERGODIC = replace(L1, discount=0.0)  # the benchmark of Jia and Zhou


def scalar(c: Coefficients, mean: float, std: float) -> LQ:
    """The environment of one scalar problem, started from N(mean, std²)."""
    row = [torch.as_tensor(v, dtype=torch.float64) for v in (c.A, c.B, c.C, c.D, c.M, c.R, c.N)]
    if any(v.numel() != 1 for v in row):
        raise ValueError("an environment is one problem; index the batch of coefficients first")
    A, B, C, D, M, R, N = (v.reshape(1, 1) for v in row)
    P, Q, start, spread = (
        torch.as_tensor(v, dtype=torch.float64).reshape(1) for v in (c.P, c.Q, mean, std)
    )
    return LQ(
        A=A,
        B=B,
        C=C[None],
        D=D[None],
        M=M,
        R=R,
        N=N,
        P=P,
        Q=Q,
        start_mean=start,
        start_std=spread,
        discount=float(c.discount),
        temperature=float(c.temperature),
    )


def l1() -> LQ:
    """L1 from E x = 0, E x² = 0.5; the best policy earns 0.5853528020."""
    return scalar(L1, 0.0, 0.5**0.5)


def l2() -> LQ:
    """L2 from E x = 1, E x² = 1.5."""
    return scalar(L2, 1.0, 0.5**0.5)


def l3() -> LQ:
    """L3 from E x = 1, E x² = 1.5: no noise in the state at all."""
    return scalar(L3, 1.0, 0.5**0.5)


def ergodic() -> LQ:
    """The ergodic benchmark from x = 0."""
    return scalar(ERGODIC, 0.0, 0.0)


def matrix() -> LQ:
    """Two states, two actions, one noise term, from N((0.5, −0.5), I)."""

    def tensor(*values: object) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64)

    return LQ(
        A=tensor([-0.5, 0.3], [0, -0.8]),
        B=tensor([1, 0], [0.2, 0.6]),
        C=tensor([[0.1, 0], [0, 0.2]]),
        D=tensor([[0.2, 0], [0, 0.1]]),
        M=tensor([1, 0.2], [0.2, 0.5]),
        R=tensor([0.1, 0], [0, 0.05]),
        N=tensor([1, 0], [0, 0.5]),
        P=tensor(0.1, -0.2),
        Q=tensor(0, 0.1),
        start_mean=tensor(0.5, -0.5),
        start_std=tensor(1, 1),
        discount=0.7,
        temperature=0.1,
    )
