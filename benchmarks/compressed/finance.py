"""Stress tests of stocks from compressed diffusion against the real series:

    pip install skfolio pandas
    python benchmarks/compressed/finance.py [--tiny]
    python benchmarks/compressed/finance.py --returns monthly_stock_logret.csv

20 stocks of the S&P 500 from 1990 to 2022 (skfolio), paths of 64 days of log price. Trained on the
days before 2015. Arms: plain; principal components, which is what the paper's finance study does;
Gaussian measurements with cosines, in which prices are only compressible. Writes finance.jsonl and
finance.png. With --returns only the statistics of a monthly file are printed: that of the paper's
public repository gives the published numbers.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.compressed.study import (
    Arm,
    Effort,
    coefficients,
    measured,
    perceptron,
    plain,
    report,
    run_arm,
    write,
)
from scoreward.models.compressed import compression
from scoreward.recovery.decoders import Fista, LeastSquares
from scoreward.recovery.dimension import statistical_dimension
from scoreward.recovery.operators import explained, principal
from scoreward.recovery.portfolio import minimum_variance, risk_parity, summed

HERE, DAYS, STRIDE, SPLIT = Path(__file__).parent, 64, 4, "2015-01-01"
LEVELS = (0.01, 0.05, 0.1)
COMPONENTS, ROWS = 128, 400


def prices() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Daily log returns before and from SPLIT on, and the names."""
    import pandas

    found = find_spec("skfolio")
    if found is None or found.origin is None:
        raise SystemExit("this study needs the package skfolio (its data only: --no-deps will do)")
    file = Path(found.origin).parent / "datasets" / "data" / "sp500_dataset.csv.gz"
    table = pandas.read_csv(file, index_col=0, parse_dates=True)
    returns = np.log(table).diff().dropna()
    parts = returns[returns.index < SPLIT], returns[returns.index >= SPLIT]
    return parts[0].to_numpy(), parts[1].to_numpy(), list(table.columns)


def paths(returns: np.ndarray, stride: int) -> Tensor:
    """[n, stocks, days]: log price since the day before the window."""
    starts = range(0, len(returns) - DAYS + 1, stride)
    return torch.from_numpy(np.stack([returns[i : i + DAYS].cumsum(0).T for i in starts]))


def daily(path: Tensor) -> Tensor:
    """[n, stocks, days] of log returns of paths."""
    return torch.cat([path[..., :1], path.diff(dim=-1)], -1)


def stressed(path: Tensor) -> dict:
    """Quantiles of equal weights, daily volatility, and portfolios that only buy."""
    path = path.double()
    rows = daily(path).permute(0, 2, 1).flatten(0, 1)
    level = torch.tensor(LEVELS, dtype=torch.float64)
    covariance = torch.cov(rows.T) + 1e-12 * torch.eye(rows.shape[1], dtype=torch.float64)
    horizon = {str(h): path[:, :, h - 1].mean(1).quantile(level).tolist() for h in (5, 21, 63)}
    return {
        "quantiles": horizon,
        "volatility": float(rows.std()),
        "minimum_variance": minimum_variance(covariance).tolist(),
        "risk_parity": risk_parity(covariance).tolist(),
    }


def arms(train: Tensor) -> list[Arm]:
    whole = plain(train)
    made = [Arm("plain", whole, perceptron(whole.latent, 384))]
    operator = principal(train.flatten(1), min(COMPONENTS, len(train) - 1))
    how = compression(train, operator, "pixel", LeastSquares(), (operator.rows,))
    made.append(Arm(f"principal components, m = {operator.rows}", how, perceptron(how.latent, 192)))
    how = measured(train, ROWS, "dct", Fista(0.01, 200, keep=ROWS // 4), centred=True)
    made.append(Arm(f"cosines, m = {ROWS}", how, perceptron(how.latent, 192)))
    return made


def tell(name: str, r: dict) -> None:
    values = "  ".join(
        f"{h} days {' / '.join(f'{100 * q:.1f}' for q in qs)} %" for h, qs in r["quantiles"].items()
    )
    print(f"{name}: 1 / 5 / 10 % quantiles {values}; daily std {100 * r['volatility']:.2f} %")


def draw(name: str, lines: list[dict], names: list[str]) -> None:
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    axes = figure.subplots(1, 3)
    place = np.arange(len(LEVELS) * 3)
    width = 0.8 / len(lines)
    for i, r in enumerate(lines):
        values = [100 * q for qs in r["stress"]["quantiles"].values() for q in qs]
        axes[0].bar(place + i * width, values, width, label=r["arm"])
        for ax, kind in zip(axes[1:], ("minimum_variance", "risk_parity")):
            ax.plot(100 * np.array(r["stress"][kind]), "o-", ms=3, lw=0.8, label=r["arm"])
    labels = [f"{100 * q:.0f} %\n{h} d" for h in (5, 21, 63) for q in LEVELS]
    axes[0].set_xticks(place + 0.3, labels, fontsize=6)
    axes[0].set_title("quantiles of equal weights, %", fontsize=8)
    axes[0].legend(frameon=False, fontsize=6)
    for ax, title in zip(axes[1:], ("minimum variance, weight %", "risk parity, weight %")):
        ax.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        ax.set_title(title, fontsize=8)
    figure.savefig(HERE / f"{name}.png", dpi=110)


def monthly(file: Path) -> None:
    """The statistics of a file of monthly log returns, dates first."""
    import pandas

    table = pandas.read_csv(file, index_col=0)
    returns = torch.from_numpy(table.to_numpy(float))
    covariance, level = torch.cov(returns.T), torch.tensor(LEVELS, dtype=torch.float64)
    for name, w in (
        ("equal weights", torch.full((returns.shape[1],), 1 / returns.shape[1]).double()),
        ("minimum variance", minimum_variance(covariance)),
        ("risk parity", risk_parity(covariance)),
    ):
        half = summed((returns @ w)[:, None], 6)[:, 0]
        print(f"{name}: " + ", ".join(f"{t} {100 * v:.3f}" for t, v in zip(table.columns, w)))
        quantiles = ", ".join(f"{q:.6f}" for q in half.quantile(level))
        print(f"  six months: mean {half.mean():.6f}, std {half.std(correction=0):.6f}, "
              f"1/5/10 % {quantiles}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--returns", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.returns:
        monthly(options.returns)
        return
    before, after, names = prices()
    old, new = paths(before, STRIDE), paths(after, STRIDE)
    size = 3 * float(old.abs().max())  # media are in [0, 1], and worse days than ever must fit

    def media(path: Tensor) -> Tensor:
        return (path / size + 0.5).float()

    train, test = media(old), media(new)
    effort = Effort.tiny() if options.tiny else Effort(samples=1024)
    name = "finance_tiny" if options.tiny else "finance"
    s = coefficients(train[::20], measured(train, 16, "dct", centred=True), 0.99)
    print(f"{s:.0f} cosines of {train[0].numel()} hold 99 %, so D is "
          f"{statistical_dimension(s, train[0].numel()).dimension:.0f}; {COMPONENTS} components "
          f"hold {100 * explained(train.flatten(1), COMPONENTS).sum():.1f} %")  # fmt: skip
    lines = [{"arm": n, "stress": stressed(p)} for n, p in (("before 2015", old), ("after", new))]
    for arm in arms(train):
        line, samples = run_arm(arm, train, test, effort)
        found = {"stress": stressed((samples[:, 0].double() - 0.5) * size)}  # one of three channels
        lines.append(line | found)
        write(HERE / f"{name}.jsonl", lines)
    report(lines[2:])
    for r in lines:
        tell(r["arm"], r["stress"])
    draw(name, lines, names)


if __name__ == "__main__":
    main()
