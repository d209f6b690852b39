"""Stress tests of stocks from compressed diffusion against the real series:

    pip install skfolio pandas
    python benchmarks/compressed/finance.py                # what is missing, table and figure
    python benchmarks/compressed/finance.py --arm cosines --seeds 3 4
    python benchmarks/compressed/finance.py --figure       # from what is there
    python benchmarks/compressed/finance.py --tiny         # seconds; numbers mean nothing
    python benchmarks/compressed/finance.py --returns monthly_stock_logret.csv

20 stocks of the S&P 500 from 1990 to 2022 (skfolio), paths of 126 days (six months) of log price.
Trained on the days before 2015. Arms: an MLP on paths; the same on daily returns, which are summed
afterwards and compress nothing; principal components, which is what the paper's finance study does;
Gaussian measurements with cosines, in which prices are only compressible. Every arm gets three
learning rates on the last fifth of the training years. Adds lines to finance.jsonl and leaves out
what is there already, then draws finance.png. With --returns only the statistics of a monthly file
are printed: that of the paper's public repository gives the published numbers.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.compressed.finance_figure import draw
from benchmarks.compressed.results import Results, append, done, interval, lines, table
from benchmarks.compressed.stress import (
    apart,
    bootstrap,
    module,
    monthly,
    stressed,
    summary,
    without_pairs,
)
from benchmarks.compressed.study import (
    Arm,
    Data,
    Distances,
    Effort,
    coefficients,
    costs,
    measured,
    perceptron,
    plain,
    trained,
)
from scoreward.models.compressed.decoders import Fista
from scoreward.models.compressed.dimension import recommended_rows, statistical_dimension
from scoreward.models.compressed.model import Compression, compression
from scoreward.models.compressed.operators import Operator, principal

HERE, DAYS, STRIDE, SPLIT = Path(__file__).parent, 126, 4, "2015-01-01"
ROWS = (400, 875, 1312, 2000)  # of which the loss by recovery alone is told
RATES = (5e-4, 1e-3, 2e-3)
REFERENCES = ("plain, paths", "plain, returns")
EFFORT = Effort(rounds=12, every=3)
Compress = Callable[[int], Compression]


@dataclass(frozen=True)
class Market:
    """Daily log returns [days, stocks] before and from SPLIT on, and paths of them as media."""

    before: Tensor
    after: Tensor
    names: list[str]

    @property
    def size(self) -> float:
        """Log price that a media value of 1 is; worse times than ever must fit into [0, 1]."""
        return 3 * float(paths(self.before).abs().max())

    def media(self, path: Tensor) -> Tensor:
        return (path / self.size + 0.5).float()

    def returns(self, media: Tensor) -> Tensor:
        """[n, days, stocks] of log returns; media with or without three equal channels."""
        path = (media[:, 0] if media.ndim == 4 else media).double() - 0.5
        first = torch.zeros_like(path[..., :1])
        return self.size * path.diff(dim=-1, prepend=first).transpose(1, 2)


def market() -> Market:
    pandas, found = module("pandas"), find_spec("skfolio")
    if found is None or found.origin is None:
        raise SystemExit("this study needs the package skfolio (its data only: --no-deps will do)")
    file = Path(found.origin).parent / "datasets" / "data" / "sp500_dataset.csv.gz"
    if not file.exists():
        raise SystemExit(f"this version of skfolio has no {file.name}; 1.12.2 has")
    prices = pandas.read_csv(file, index_col=0, parse_dates=True)
    returns = np.log(prices).diff().dropna()
    parts = returns[returns.index < SPLIT], returns[returns.index >= SPLIT]
    before, after = (torch.from_numpy(p.to_numpy().copy()) for p in parts)
    return Market(before, after, list(prices.columns))


def paths(returns: Tensor) -> Tensor:
    """[n, stocks, days]: log price since the day before the window."""
    return returns.unfold(0, DAYS, STRIDE).cumsum(-1)


def differences(data: Tensor) -> Compress:
    """Daily returns in place of paths: an operator that loses nothing, undone by summation."""
    stocks, days = data.shape[1:]
    step = torch.eye(days).double() - torch.diag(torch.ones(days - 1).double(), -1)
    whole = torch.kron(torch.eye(stocks).double(), step)
    centre = torch.full((stocks * days,), 0.5, dtype=torch.float64)

    def summed(matrix: Tensor, y: Tensor) -> Tensor:
        return y.unflatten(1, (stocks, days)).cumsum(-1).flatten(1)

    how = compression(data, Operator(whole, centre), "pixel", summed, (stocks, days))
    return lambda seed: how


def components(data: Tensor, share: float, scaled: bool) -> tuple[int, Compress]:
    """As many principal components as hold this share of the variance.

    Scaled to variance 1 each, noise is already a normal distribution of their covariance: a
    network that has learned nothing is a good one.
    """
    flat = data.flatten(1).double()
    spread = torch.linalg.svdvals(flat - flat.mean(0)).square()
    held = (spread / spread.sum()).cumsum(0)
    m = int((held < share).sum()) + 1
    operator = principal(flat, m)
    if scaled:
        deviation = operator(flat).std(0)
        operator = Operator(operator.matrix / deviation[:, None], operator.centre)
    inverse = torch.linalg.pinv(operator.matrix).T  # least squares, once for all samples

    def solved(matrix: Tensor, y: Tensor) -> Tensor:
        return y @ inverse.to(y)

    how = compression(data, operator, "pixel", solved, (m,))
    return m, lambda seed: how


def arms(train: Tensor) -> list[Arm]:
    """The recommended m of cosines is that of the rule for 99 % of the energy."""
    s, _, best = sparsity(train, "dct")
    made = [
        Arm(REFERENCES[0], plain(train), perceptron()),
        Arm(REFERENCES[1], differences(train), perceptron()),
    ]
    for share, scaled in ((0.99, False), (0.9, False), (0.99, True)):
        m, how = components(train, share, scaled)
        name = f"{m} {'scaled ' if scaled else ''}components, {100 * share:.0f} %"
        made.append(Arm(name, how, perceptron()))
    made.append(Arm(f"{best} measurements, cosines", cosines(train, best, s), perceptron()))
    return made


def cosines(train: Tensor, m: int, s: float) -> Compress:
    """m Gaussian measurements; the refit keeps a little more than s coefficients."""
    decoder = Fista(0.001, 100, keep=min(round(1.2 * s), m // 2))
    return measured(train, m, "dct", decoder, centred=True)


def sparsity(data: Tensor, basis: str) -> tuple[float, float, int]:
    """(s, D, the recommended m) for 99 % of the energy."""
    d = data[0].numel()
    s = coefficients(data[::20], measured(data, 16, basis, centred=True)(0), 0.99)
    return s, statistical_dimension(s, d).dimension, recommended_rows(s, d)


def about(stocks: Market, train: Tensor, test: Tensor) -> dict:
    """What the real series say, what chance does to that, and what is sparse in which basis."""
    days = stocks.returns(train).transpose(1, 2).float()
    count = {
        f"{kind}, {basis}": [round(v) for v in sparsity(data, basis)]
        for kind, data in (("paths", train), ("returns", days))
        for basis in ("dct", "db4", "haar")
    }
    real = {"before": stressed(stocks.before[None]), "after": stressed(stocks.after[None])}
    return {
        "kind": "about",
        "names": stocks.names,
        "sparse": count,
        "real": {name: without_pairs(found) for name, found in real.items()},
        "apart": apart(real["after"], real["before"]),
        "chance": bootstrap(stocks.before),
        "chance_after": {k: v for k, v in bootstrap(stocks.after).items() if k.isdigit()},
        "normal": normal(stocks, Data(train, test), 2048),
        "floor": in_log_price(Distances(train, test)(train, []), stocks.size),
        "halves": in_log_price(halves(train), stocks.size),
    }


def halves(train: Tensor) -> Mapping[str, float]:
    """Distance of one half of the windows to the other, taken at random."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    middle = len(order) // 2
    return Distances(train, train[order[:middle]])(train[order[middle:]], [])


def in_log_price(values: Mapping[str, float], size: float) -> dict:
    """Distances of media as those of log prices."""
    scale = {"frechet": size**2, "sliced": size}
    return {k: float(f"{scale[k] * v:.4g}") for k, v in values.items()}


def run(arm: Arm, stocks: Market, data: Data, effort: Effort, seed: int) -> dict:
    """A line: distances to the training years along the updates, at the end to the later ones."""
    if "cosines" in arm.name:  # whose recovery takes longer than everything else
        effort = replace(effort, every=effort.rounds, samples=effort.samples // 2)
    line, samples = trained(arm, Data(data.train, data.train), effort, seed)
    grey = samples[:, 0]
    for name, scale in (("frechet", stocks.size**2), ("sliced", stocks.size)):
        line[name] = [float(f"{scale * v:.4g}") for v in line[name]]
    lost = recovery(arm.how(seed), stocks, data)
    line["decoding_psnr"], line["recovered_volatility"] = lost["noise"], lost["volatility"]
    line["after"] = in_log_price(Distances(data.train, data.test)(grey, []), stocks.size)
    line["nearest"] = [round(v, 3) for v in nearest(grey, data)]
    return line | judged(stocks, stocks.returns(grey))


def recovery(how: Compression, stocks: Market, data: Data) -> dict[str, float]:
    """What compression alone does to later real paths, with no network.

    Signal to noise in dB, and the share of the daily standard deviation that is left.
    """
    real = data.test[:: max(1, len(data.test) // 24)]
    with torch.no_grad():
        again = how.decode(how.encode(real))
    left = (again - real).square().sum() / (real - data.train.mean(0)).square().sum()
    share = stocks.returns(again).std() / stocks.returns(real).std()
    noise = -10 * float(left.clamp(min=1e-12).log10())
    return {"noise": round(noise, 2), "volatility": round(float(share), 3)}


def normal(stocks: Market, data: Data, count: int) -> dict:
    """What no network needs to be trained for: a normal distribution of the paths' covariance."""
    flat = data.train.flatten(1).double()
    draw = torch.randn(count, len(flat), generator=torch.Generator().manual_seed(0)).double()
    found = flat.mean(0) + draw @ (flat - flat.mean(0)) / (len(flat) - 1) ** 0.5
    media = found.float().unflatten(1, data.train.shape[1:])
    parts = {"before": data.train, "after": data.test}
    far = {
        n: in_log_price(Distances(data.train, x)(media, []), stocks.size) for n, x in parts.items()
    }
    return judged(stocks, stocks.returns(media)) | far


def judged(stocks: Market, returns: Tensor) -> dict:
    """The stress test of samples, and how far it is from that of the training years."""
    found = stressed(returns)
    return {"apart": apart(found, stressed(stocks.before[None])), "stress": without_pairs(found)}


def nearest(samples: Tensor, data: Data) -> tuple[float, float]:
    """Median distance to the nearest training path over that of later real paths; and its spread.

    Far below 1 would mean copies.
    """
    train = data.train.flatten(1)
    ours = torch.cdist(samples.flatten(1), train).min(1).values
    theirs = torch.cdist(data.test.flatten(1), train).min(1).values
    return float(ours.median() / theirs.median()), float(ours.min() / theirs.min())


def tried(path: Path, arm: Arm) -> dict[float, float]:
    """Learning rate → sliced distance to the years left out."""
    found = (r for r in lines(path) if r["kind"] == "rate" and r["arm"] == arm.name)
    return {r["lr"]: r["sliced"] for r in found}


def rated(path: Path, arm: Arm) -> Arm:
    """With the best of the rates that were tried."""
    found = tried(path, arm)
    return replace(arm, lr=min(found, key=lambda lr: found[lr])) if found else arm


def tuned(path: Path, arm: Arm, stocks: Market, train: Tensor, effort: Effort) -> None:
    """Short runs at every rate; windows that reach into the years left out are not learned."""
    part = Data(train, train).validating()
    part = Data(part.train[: -(DAYS // STRIDE)], part.test)
    samples = 64 if "cosines" in arm.name else 256
    few = replace(effort, rounds=min(5, effort.rounds), every=100, samples=samples)
    for lr in set(RATES) - set(tried(path, arm)):
        line, _ = trained(replace(arm, lr=lr), part, few, 100)
        found = in_log_price({n: line[n][-1] for n in ("frechet", "sliced")}, stocks.size)
        append(path, {"kind": "rate", "arm": arm.name, "lr": lr} | found)
        print(f"{arm.name}  lr {lr:g}  {found}", flush=True)


def study(path: Path, stocks: Market, options: argparse.Namespace) -> None:
    """What is not there yet: rates, then costs, then runs."""
    effort = Effort.tiny() if options.tiny else EFFORT
    train, test = (stocks.media(paths(r)) for r in (stocks.before, stocks.after))
    every = arms(train)
    some = [arm for arm in every if options.arm in arm.name]
    if not path.exists():
        append(path, about(stocks, train, test))
    if not any(r["kind"] == "recovery" for r in lines(path)):
        s = sparsity(train, "dct")[0]
        for m in ROWS:
            found = recovery(cosines(train, m, s)(0), stocks, Data(train, test))
            append(path, {"kind": "recovery", "m": m} | found)
    for arm in some:
        tuned(path, arm, stocks, train, effort)
    every = [rated(path, arm) for arm in every]
    if not options.no_costs and not {a.name for a in every} <= set(Results(path).cost):
        for line in costs(every, Data(train, train), effort):
            append(path, line)
    for seed in options.seeds:
        for arm in every:
            if arm.name in [a.name for a in some] and (arm.name, seed) not in done(path):
                line = run(arm, stocks, Data(train, test), effort, seed)
                append(path, line)
                print(f"{arm.name} {seed}: {line['sliced'][-1]} {line['after']}", flush=True)


def tell(results: Results) -> str:
    """The tables: cost and quality, then the stress test, then what else the lines say."""
    cost = table(results, [r for r in REFERENCES if r in results.runs])
    after = ["| | Fréchet to 2015-22 | sliced W2 | daily std that recovery leaves | nearest |"]
    after.append("|---|---|---|---|---|")
    for arm, runs in results.runs.items():
        cells = [interval([r["after"][n] for r in runs]) for n in ("frechet", "sliced")]
        cells.append(f"{100 * np.mean([r['recovered_volatility'] for r in runs]):.0f} %")
        cells.append(f"{np.mean([r['nearest'][0] for r in runs]):.2f}")
        after.append("| " + " | ".join([arm, *cells]) + " |")
    normal = results.about["normal"]
    cells = [f"{normal['after'][n]:.3g}" for n in ("frechet", "sliced")]
    after.append("| " + " | ".join(["normal distribution, no training", *cells, "", ""]) + " |")
    stress = summary(results.about, {"normal distribution, no training": [normal], **results.runs})
    words = cost.replace("PSNR of recovery", "signal to noise of recovery")
    return "\n\n".join([words, "\n".join(after), stress])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--arm", default="", help="only arms with this in their name")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--no-costs", action="store_true", help="leave timings to another call")
    parser.add_argument("--figure", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--returns", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.returns:
        print("\n".join(monthly(options.returns)))
        return
    name = "finance_tiny" if options.tiny else "finance"
    if options.tiny:
        options.seeds = [0]
    path = HERE / f"{name}.jsonl"
    if not options.figure:
        study(path, market(), options)
    elif not path.exists():
        raise SystemExit(f"there is no {path.name} to draw; run without --figure first")
    results = Results(path)
    if set(results.runs) <= set(results.cost):
        print(tell(results))
        for r in lines(path):
            if r["kind"] == "recovery":
                print(f"{r['m']} measurements, cosines, recovery alone: {r['noise']} dB, "
                      f"{100 * r['volatility']:.0f} % of the daily std")  # fmt: skip
        draw(HERE / f"{name}.png", results, REFERENCES)


if __name__ == "__main__":
    main()
