"""The command `stake`: the best way to trade stakes under proof of stake."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import tyro

from scoreward.commands.talk import console
from scoreward.core.keys import Key
from scoreward.own import own
from scoreward.studies.stake import paths
from scoreward.studies.stake.adaptive import adaptive_path, adaptive_value, drawn
from scoreward.studies.stake.figure import StakePicture, write_stake_figure
from scoreward.studies.stake.optimum import solve
from scoreward.studies.stake.proof_of_stake import (
    Function,
    GeometricPrice,
    Issuance,
    OwnIssuance,
    OwnPrice,
    PowerIssuance,
    Price,
    StakeProblem,
    Utility,
    linear,
    power,
    square,
)

UTILITIES = "linear, quadratic, power or FILE.py:FUNCTION"


@dataclass(frozen=True)
class StakeOptions:
    """The best way to trade stakes under proof of stake: when to buy, hold and sell.

    Time, stakes and money are in whatever units you choose; rates are per unit time. Functions of
    your own map a tensor to a tensor.
    """

    stakes: float = 2.0  # x, owned at time 0
    total: float = 10.0  # N(0), all stakes at time 0
    alpha: float = 1.0  # of N(t) = (A + t)^alpha; 0 issues no stakes, 1 as many at all times
    issuance: str = "power"  # or FILE.py:FUNCTION, N(t) of your own, nondecreasing
    price: float = 0.8  # P(0), of one stake
    growth: float = 0.1  # of the mean price
    volatility: float = 0.0  # of a geometric Brownian price
    mean_price: str | None = None  # FILE.py:FUNCTION, E P(t) of your own instead
    utility: str = "linear"  # u(x): linear, quadratic, power or FILE.py:FUNCTION, nondecreasing
    exponent: float | None = None  # of the power utility
    running: float = 0.08  # utility running * u(X) per unit time while held
    terminal: float = 0.9  # utility terminal * u(X) at the horizon
    rate: float = 0.2  # stakes bought or sold per unit time at most
    horizon: float = 5.0  # T
    discount: float = 0.1  # the agent's rate of discount
    interest: float = 0.0  # on the cash account, at most the discount
    adaptive: bool = False  # follow the realised price instead of its mean
    seed: int = 0  # of the price path that is drawn with --adaptive
    out: Path | None = Path("stake.png")  # the picture; None for none
    json: bool = False  # print {"value", "regime", "switch_times"} and nothing else


@dataclass(frozen=True)
class StakeResult:
    """What is printed and drawn."""

    value: float
    regime: str
    switch_times: list[float]
    path: paths.Path
    phases: list[tuple[str, float]]
    note: str


def stake(words: list[str]) -> int:
    """scoreward stake [options]"""
    options = tyro.cli(StakeOptions, args=words, prog="scoreward stake")
    problem = StakeProblem(
        _issuance(options), _price(options), options.rate, options.horizon, options.discount
    )
    utility = Utility(options.running, options.terminal, _utility(options))
    problem.check_stakes(options.stakes)
    answer = (_adaptive if options.adaptive else _blind)(options, problem, utility)
    if options.out is not None:
        write_stake_figure(_picture(answer, problem), options.out)
    if options.json:
        told = {
            "value": answer.value,
            "regime": answer.regime,
            "switch_times": answer.switch_times,
        }
        print(json.dumps(told))
        return 0
    _tell(answer)
    if options.out is not None:
        console.print(f"picture: {options.out}", highlight=False)
    return 0


def _function(name: str, what: str) -> Function:
    found: Any = own(name, "function")
    if not callable(found):
        raise ValueError(f"{name!r} names no function for the {what}; write FILE.py:FUNCTION")
    return cast(Function, found)


def _issuance(options: StakeOptions) -> Issuance:
    if options.issuance == "power":
        return PowerIssuance(options.total, options.alpha)
    if ".py:" not in options.issuance:
        raise ValueError(f"unknown issuance {options.issuance!r}; it is power or FILE.py:FUNCTION")
    return OwnIssuance(_function(options.issuance, "issuance"), options.horizon)


def _price(options: StakeOptions) -> Price:
    if options.mean_price is None:
        return GeometricPrice(options.price, options.growth, options.volatility)
    if options.adaptive or options.volatility:
        raise ValueError(
            "--mean-price gives the mean only; --adaptive and --volatility need --price"
        )
    return OwnPrice(_function(options.mean_price, "price"), options.horizon)


def _utility(options: StakeOptions) -> Function:
    if (options.exponent is None) == (options.utility == "power"):
        raise ValueError(
            "--utility power and --exponent belong together, got "
            f"--utility {options.utility} and --exponent {options.exponent}"
        )
    if options.exponent is not None:
        return power(options.exponent)
    named: dict[str, Function] = {"linear": linear, "quadratic": square}
    if options.utility in named:
        return named[options.utility]
    if ".py:" not in options.utility:
        raise ValueError(f"unknown utility {options.utility!r}; it is {UTILITIES}")
    return _function(options.utility, "utility")


def _blind(options: StakeOptions, problem: StakeProblem, utility: Utility) -> StakeResult:
    """Without looking at the realised price."""
    plan = solve(problem, utility, options.stakes)
    path = paths.follow(problem, utility, plan, options.interest)
    note = "" if plan.exact else "from a grid of 2000 times, not from a closed form"
    if options.volatility:
        note = "for trades that know the mean price only; --adaptive follows the realised one"
    return StakeResult(plan.value, plan.regime, plan.switch_times, path, plan.phases, note)


def _adaptive(options: StakeOptions, problem: StakeProblem, utility: Utility) -> StakeResult:
    """Following the realised price; when it switches depends on the path."""
    if utility.shape is not linear:
        raise ValueError("--adaptive needs --utility linear: only then is the best rule known")
    if not options.volatility:
        raise ValueError("--adaptive needs a price that moves: set --volatility above 0")
    value = float(adaptive_value(problem, utility, options.stakes))
    key = Key((options.seed,)) / "price"
    seen, plan = drawn(problem, utility, options.stakes, key)
    path = adaptive_path(problem, utility, seen, plan, options.interest)
    note = (
        "buy while the price is below what keeping a stake is worth, sell while it is above; the "
        f"path drawn (seed {options.seed}) switches {len(plan.switch_times)} times and pays "
        f"{plan.value:.6g}, the value is the mean over paths"
    )
    return StakeResult(value, "price-adaptive", [], path, plan.phases, note)


def _tell(answer: StakeResult) -> None:
    path = answer.path
    value = f"{answer.value:.8f}" if abs(answer.value) < 1e6 else f"{answer.value:.8e}"
    lines = [f"strategy: {answer.regime}", f"value: {value}, seen from time 0"]
    for word, time in zip(answer.regime.split("-then-")[1:], answer.switch_times):
        at = int(torch.searchsorted(path.t, time - 1e-9).clamp(max=len(path.t) - 1))
        lines.append(f"{word} from t = {time:.8f} on, owning {float(path.stakes[at]):.6f} stakes")
    lines.append(
        f"at the horizon: {float(path.stakes[-1]):.6f} stakes, cash {float(path.cash[-1]):.6f}"
    )
    lines += [answer.note] if answer.note else []
    for line in lines:
        console.print(line, highlight=False)


def _picture(answer: StakeResult, problem: StakeProblem) -> StakePicture:
    path = answer.path
    curves: dict[str, Any] = {
        name: getattr(path, name).tolist()
        for name in ("t", "stakes", "cash", "value", "kept", "price")
    }
    title = f"{answer.regime}, value {answer.value:.6g}"
    most = problem.issuance.total(path.t).tolist()
    return StakePicture(**curves, phases=answer.phases, title=title, most=most)
