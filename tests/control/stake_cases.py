"""Stake-trading problems with known answers: T = 5, β = 0.1, N(0) = 10, P(t) = P₀ e^(μt).

The numbers were computed to eight digits by another program, and checked there by a linear program
and by dynamic programming.
"""

from dataclasses import dataclass

from scoreward.studies.stake.proof_of_stake import (
    GeometricPrice,
    PowerIssuance,
    StakeProblem,
    Utility,
    linear,
    square,
)


@dataclass(frozen=True)
class Case:
    name: str
    alpha: float
    running: float
    terminal: float
    price: float
    growth: float
    x: float
    switches: tuple[float, ...]
    regime: str
    value: float
    last: float | None = None  # X(T)
    psi: tuple[float, float] | None = None  # Ψ(0), Ψ(T)
    rate: float = 0.2
    convex: bool = False

    @property
    def problem(self) -> StakeProblem:
        issuance = PowerIssuance(10.0, self.alpha)
        return StakeProblem(issuance, GeometricPrice(self.price, self.growth), self.rate)

    @property
    def utility(self) -> Utility:
        return Utility(self.running, self.terminal, square if self.convex else linear)


_B, _S, _BS, _SB = "buy", "sell", "buy-then-sell", "sell-then-buy"
_TOP = (1.20575507, 0.54587759)

LINEAR = [
    Case("L1", 1, 0.08, 0.9, 0.8, 0.1, 2, (2.54812699,), _BS, 2.57325643, 3.145523, _TOP),
    Case("L2", 1, 0.08, 0.9, 0.5, 0.1, 2, (), _B, 2.74050148, 4.216395, _TOP),
    Case("L3", 1, 0.08, 0.9, 1.5, 0.1, 2, (), _S, 3.08251880, 1.783605, _TOP),
    Case(
        "L4", 0.5, 0.08, 0.9, 0.65, 0.13, 2, (2.39069421,), _BS, 1.86444697, 2.011299,
        (0.87771345, 0.54587759),
    ),
    Case("L5", 1, 0.08, 0.9, 1.2, 0, 2, (0.07232950,), _BS, 2.52692812, 1.826846, _TOP),
    Case(
        "L6", 1, 0.02, 0.2, 0.8, 0.1, 0.4, (1.08194987,), _BS, 0.48660809, 0.0,
        (0.27869387, 0.12130613),
    ),
    Case(
        "L7", 2, 0.08, 0.9, 1.5, 0.1, 2, (2.22064500,), _BS, 10.11250657, 14.219928,
        (4.63816662, 0.54587759),
    ),
    Case(
        "L8", 0, 0.2, 0.9, 1.0, 0.1, 2, (1.82011369,), _BS, 2.87641844, 1.728045,
        (1.33281627, 0.54587759),
    ),
    Case(
        "L9", 0, 0, 0.9, 0.8, -0.1, 2, (1.91107,), _SB, 1.22289379, 2.23557,
        (0.54587759, 0.54587759),
    ),
]  # fmt: skip

CONVEX = [
    Case("C1", 1, 0.02, 0.15, 1.2, 0.1, 2, (), _S, 1.78419084, convex=True),
    Case("C2", 1, 0, 0.30, 1.0, 0.1, 2, (), _B, 2.23486872, convex=True),
    Case("C3", 1, 0, 0.25, 1.1, 0.1, 2, (), _B, 2.27547059, rate=0.4, convex=True),
    Case("C4", 1, 0.03, 0.10, 0.8, 0.2, 2, (1.07663903,), _BS, 1.69425448, convex=True),
]

CASES = {case.name: case for case in [*LINEAR, *CONVEX]}
