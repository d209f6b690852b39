"""What a stress test says of paths of stocks, and how much of it chance alone would change."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scoreward.models.compressed.portfolio import minimum_variance, risk_parity, summed

LEVELS = (0.01, 0.05, 0.1)
HORIZONS = (5, 21, 63, 126)  # trading days
PORTFOLIOS = ("minimum_variance", "risk_parity")
SPACING = {"daily": 1, "monthly": 21}  # days of the returns that a covariance is of


def sums(returns: Tensor, days: int) -> Tensor:
    """[n, stocks] of log returns over every window of so many days; returns: [n, days, stocks]."""
    return returns.unfold(1, days, 1).sum(-1).flatten(0, 1)


def stressed(returns: Tensor) -> dict:
    """Quantiles of equal weights, portfolios that only buy, and what days look like.

    Returns: [n, days, stocks], n paths, or one long one. Portfolios of monthly returns are those
    of sums over every 21 days.
    """
    days = returns.double()
    level = torch.tensor(LEVELS, dtype=torch.float64)
    even = days.mean(-1, keepdim=True)
    found: dict = {
        "quantiles": {str(h): _short(sums(even, h)[:, 0].quantile(level)) for h in HORIZONS}
    }
    for name, spacing in SPACING.items():
        covariance = torch.cov(sums(days, spacing).T)
        for portfolio, weights in zip(PORTFOLIOS, held(covariance)):
            found[f"{portfolio}_{name}"] = _short(weights)
    every, market = days.flatten(0, 1), even.flatten()
    related = torch.corrcoef(every.T)
    away = related[~torch.eye(len(related), dtype=torch.bool)]
    single = (every - every.mean(0)) / every.std(0)
    found["volatility"] = float(f"{every.std(0).mean():.5g}")
    found["market_volatility"] = float(f"{market.std():.5g}")
    found["worst_day"] = float(f"{market.quantile(0.01):.5g}")
    found["kurtosis"] = float(f"{single.pow(4).mean():.4g}")
    found["correlation"] = float(f"{away.mean():.4g}")
    found["pairs"] = _short(away)
    return found


def without_pairs(found: dict) -> dict:
    """What is written down: all but the correlations of every pair."""
    return {name: value for name, value in found.items() if name != "pairs"}


def held(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """(minimum variance, risk parity); a little is added to the diagonal, that it has a root."""
    sigma = covariance + 1e-9 * covariance.diagonal().mean() * torch.eye(len(covariance)).double()
    return minimum_variance(sigma), risk_parity(sigma, 1e-9)


def apart(found: dict, real: dict) -> dict[str, float]:
    """How far weights and correlations are from the real ones.

    Weights: Σ|w − w'|, between 0 and 2. Correlations: root mean square over pairs.
    """
    names = [f"{p}_{s}" for p in PORTFOLIOS for s in SPACING]
    far = {n: float(np.abs(np.subtract(found[n], real[n])).sum()) for n in names}
    gap = np.subtract(found["pairs"], real["pairs"])
    return {n: round(v, 4) for n, v in (far | {"correlation": np.sqrt((gap**2).mean())}).items()}


def bootstrap(returns: Tensor, block: int = 126, times: int = 200, seed: int = 0) -> dict:
    """95 % intervals of the series' own statistics, from blocks of days drawn with replacement.

    Blocks go round from the last day to the first. For weights and correlations it is the 95 %
    quantile of their distance to those of the series: what chance alone does.
    """
    rng, length = np.random.default_rng(seed), len(returns)
    real, drawn = stressed(returns[None]), []
    for _ in range(times):
        starts = rng.integers(0, length, -(-length // block))
        rows = ((starts[:, None] + np.arange(block)) % length).ravel()[:length]
        drawn.append(stressed(returns[rows][None]))
    spans = {
        h: np.quantile([r["quantiles"][h] for r in drawn], (0.025, 0.975), 0).round(4).T.tolist()
        for h in real["quantiles"]
    }
    scalars = ("volatility", "market_volatility", "worst_day", "kurtosis")
    for name in scalars:
        spans[name] = np.quantile([r[name] for r in drawn], (0.025, 0.975)).round(5).tolist()
    far = [apart(r, real) for r in drawn]
    spans |= {f"far_{n}": float(np.quantile([f[n] for f in far], 0.95).round(4)) for n in far[0]}
    return spans


def summary(about: dict, arms: dict[str, list[dict]]) -> str:
    """Markdown: every arm's stress test beside the real series."""
    head = ["", *(f"{h} days" for h in HORIZONS), "daily std, a stock", "equal weights"]
    head += ["worst 1 % day", "kurtosis", "correlations", "weights, daily", "weights, monthly"]
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    real, chance = about["real"], about["chance"]
    scalars = ("volatility", "market_volatility", "worst_day")
    for name, found in real.items():
        far = about["apart"] if name == "after" else dict.fromkeys(about["apart"])
        rows.append(_row(f"real, {name} 2015", [found], [far], scalars))
    spans = [" / ".join(f"{100 * a:.1f} … {100 * b:.1f}" for a, b in chance[str(h)])
             for h in HORIZONS]  # fmt: skip
    spans += [f"{100 * chance[n][0]:.2f} … {100 * chance[n][1]:.2f}" for n in scalars]
    spans += ["{:.0f} … {:.0f}".format(*chance["kurtosis"])]
    far = {n.removeprefix("far_"): v for n, v in chance.items() if n.startswith("far_")}
    rows.append("| " + " | ".join(["chance, 95 %", *spans, *_far([far])]) + " |")
    for arm, found in arms.items():
        rows.append(_row(arm, [f["stress"] for f in found], [f["apart"] for f in found], scalars))
    return "\n".join(rows)


def _row(name: str, found: list[dict], far: list[dict], scalars: tuple[str, ...]) -> str:
    cells = [name]
    for h in HORIZONS:
        mean = np.mean([f["quantiles"][str(h)] for f in found], 0)
        cells.append(" / ".join(f"{100 * q:.1f}" for q in mean))
    cells += [f"{100 * np.mean([f[n] for f in found]):.2f}" for n in scalars]
    cells += [f"{np.mean([f['kurtosis'] for f in found]):.1f}", *_far(far)]
    return "| " + " | ".join(cells) + " |"


def _far(far: list[dict]) -> list[str]:
    """Errors of correlations and of weights, minimum variance / risk parity."""
    if far[0]["correlation"] is None:
        return ["", "", ""]
    mean = {n: np.mean([f[n] for f in far]) for n in far[0]}
    pairs = [
        f"{mean[f'minimum_variance_{s}']:.2f} / {mean[f'risk_parity_{s}']:.2f}"
        for s in ("daily", "monthly")
    ]
    return [f"{mean['correlation']:.3f}", *pairs]


def monthly(file: Path) -> list[str]:
    """The statistics of a file of monthly log returns, dates first, in words."""
    table = read(file)
    names, returns = list(table.columns), torch.from_numpy(table.to_numpy(float))
    level, said = torch.tensor(LEVELS, dtype=torch.float64), []
    for name, w in zip(
        ("equal weights", "minimum variance", "risk parity"),
        (torch.full((len(names),), 1 / len(names)).double(), *portfolios(returns, file)),
    ):
        half = summed((returns @ w)[:, None], 6)[:, 0]
        said.append(f"{name}: " + ", ".join(f"{t} {100 * v:.3f}" for t, v in zip(names, w)))
        quantiles = ", ".join(f"{q:.6f}" for q in half.quantile(level))
        said.append(
            f"  six months: mean {half.mean():.6f}, std {half.std(correction=0):.6f}, "
            f"1/5/10 % {quantiles}"
        )
    return said


def portfolios(returns: Tensor, file: Path) -> tuple[Tensor, Tensor]:
    covariance = torch.cov(returns.T)
    try:
        return minimum_variance(covariance), risk_parity(covariance)
    except ValueError as error:
        raise SystemExit(f"{file}: {error}") from error


def read(file: Path) -> Any:
    """A table of numbers with dates in its first column; SystemExit with a sentence if not."""
    pandas = module("pandas")
    try:
        table = pandas.read_csv(file, index_col=0)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise SystemExit(f"cannot read monthly returns from {file}: {error}") from error
    expected = "expected a CSV file with dates first and a column of log returns for each asset"
    words = [str(c) for c in table.columns if not pandas.api.types.is_numeric_dtype(table[c])]
    if words:
        raise SystemExit(f"{file} has no numbers in column {', '.join(words)}; {expected}")
    if table.shape[1] < 2 or len(table) < 6:
        raise SystemExit(f"{file} has {len(table)} rows and {table.shape[1]} assets; {expected}, "
                         "at least two of them and six months")  # fmt: skip
    if not np.isfinite(table.to_numpy(float)).all():
        raise SystemExit(f"{file} has gaps or infinite values; fill them or leave these rows out")
    return table


def module(package: str) -> Any:
    """The module, or a sentence."""
    try:
        return import_module(package)
    except ImportError as error:
        raise SystemExit(
            f"this study needs the package {package}: pip install {package}"
        ) from error


def _short(values: Tensor | Sequence[float], digits: int = 4) -> list[float]:
    return [round(float(v), digits) for v in values]
