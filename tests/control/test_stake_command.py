"""scoreward stake: what it prints, what it draws, and what it refuses in one sentence."""

import json
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from scoreward.studies.stake.figure import StakePicture, stake_figure, write_stake_figure
from tests.control.stake_cases import CASES, Case
from tests.support.command_line import Cli, calling


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Cli:
    """Run `scoreward stake` in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return calling(capsys, "stake")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is saved, with its curves."""
    figures: list[Figure] = []
    save = matplotlib.figure.Figure.savefig

    def keep(self: Figure, *words: object, **options: object) -> None:
        figures.append(self)
        save(self, *words, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", keep)
    return figures


def words_of(case: Case) -> list[str]:
    numbers = {
        "alpha": case.alpha,
        "running": case.running,
        "terminal": case.terminal,
        "price": case.price,
        "growth": case.growth,
        "stakes": case.x,
        "rate": case.rate,
    }
    words = [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
    return words + (["--utility", "quadratic"] if case.convex else [])


@pytest.mark.parametrize("name", ["L1", "L3", "L6", "L9", "C2", "C4"])
def test_json_is_the_value_the_regime_and_the_switch_times_and_nothing_else(
    cli: Cli, name: str, tmp_path: Path
) -> None:
    case = CASES[name]
    code, out, error = cli(*words_of(case), "--json", "--out", "None")
    told = json.loads(out)
    assert (code, error, list(told)) == (0, "", ["value", "regime", "switch_times"])
    assert told["value"] == pytest.approx(case.value, abs=1e-8)
    assert told["regime"] == case.regime
    assert told["switch_times"] == pytest.approx(case.switches, abs=2e-5)
    assert not list(tmp_path.iterdir())


def test_the_strategy_is_told_with_its_switch(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli()
    assert code == 0
    assert out.splitlines() == [
        "strategy: buy-then-sell",
        "value: 2.57325643, seen from time 0",
        "sell from t = 2.54812699 on, owning 3.079276 stakes",
        f"at the horizon: 3.145523 stakes, cash {cash_at_the_end():.6f}",
        "picture: stake.png",
    ]
    with Image.open(tmp_path / "stake.png") as picture:
        assert picture.size[0] > 900
        assert len(picture.convert("RGB").getcolors(10**6) or []) > 50


def cash_at_the_end() -> float:
    """L1 without interest: −∫ν P dt with P = 0.8 e^(0.1 t), by hand."""
    grown = lambda t: 8 * np.exp(0.1 * t)  # noqa: E731
    turn = 2.54812699
    return -0.2 * (grown(turn) - grown(0)) + 0.2 * (grown(5) - grown(turn))


def labelled(axes: Axes, label: str) -> np.ndarray:
    """The curve that the legend calls so."""
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return np.asarray(line.get_ydata())


def first(axes: Axes) -> tuple[np.ndarray, np.ndarray]:
    """The times and values of the first curve."""
    return np.asarray(axes.lines[0].get_xdata()), np.asarray(axes.lines[0].get_ydata())


def test_the_picture_shows_the_solution(cli: Cli, drawn: list[Figure]) -> None:
    """The curves are read back from the figure and compared with formulas written out by hand."""
    assert cli("--interest", "0.03")[0] == 0
    (figure,) = drawn
    stakes, cash, value, marginal = figure.axes
    t, owned = first(stakes)
    turn = 2.54812699
    log = lambda a, b: np.log((10 + np.asarray(b)) / (10 + np.asarray(a)))  # noqa: E731
    moved = np.where(t < turn, log(0, t), log(0, turn) - log(turn, t))
    np.testing.assert_allclose(owned, (10 + t) * (0.2 + 0.2 * moved), atol=1e-7)

    grown = lambda a, b: 0.8 * (np.exp(0.07 * b) - np.exp(0.07 * a)) / 0.07  # noqa: E731
    spent = np.where(t < turn, grown(0, t), grown(0, turn) - grown(turn, t))
    account = -0.2 * np.exp(0.03 * t) * spent
    np.testing.assert_allclose(first(cash)[1], account, atol=1e-7)

    _, to_go = first(value)
    assert to_go[0] == pytest.approx(2.57325643, abs=1e-8)
    assert to_go[-1] == pytest.approx(np.exp(-0.5) * 0.9 * owned[-1], abs=1e-9)
    kept, price = (labelled(marginal, name) for name in ("keeping it is worth", "it trades at"))
    np.testing.assert_allclose(price, 0.8, atol=1e-12)
    assert (kept[0], kept[-1]) == pytest.approx((1.20575507, 0.54587759), abs=1e-8)
    assert np.interp(turn, t, kept) == pytest.approx(0.8, abs=1e-6)
    for axes in figure.axes:  # every chart has a line at the switch
        starts = [np.asarray(line.get_xdata())[0] for line in axes.lines[1:]]
        assert any(start == pytest.approx(turn, abs=1e-8) for start in starts)
        assert axes.get_title(loc="left")
    legend = stakes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["buy", "sell"]
    assert "buy-then-sell, value 2.57326" in figure.get_suptitle()


def test_the_same_numbers_give_the_same_picture(cli: Cli, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        assert cli("--out", name)[0] == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_issuance_price_and_utility_can_be_functions_of_ones_own(cli: Cli, tmp_path: Path) -> None:
    """The ones of C4, written as functions."""
    lines = [
        "import torch",
        "issue = lambda t: 10 + t",
        "price = lambda t: 0.8 * (0.2 * t).exp()",
    ]
    (tmp_path / "mine.py").write_text("\n".join([*lines, "def square(x): return x**2"]))
    own = ["--issuance", "mine.py:issue", "--mean-price", "mine.py:price"]
    own += ["--utility", "mine.py:square", "--running", "0.03", "--terminal", "0.1"]
    code, out, _ = cli(*own, "--json")
    assert code == 0
    assert json.loads(out)["value"] == pytest.approx(1.69425448, abs=1e-8)
    assert json.loads(out)["switch_times"] == pytest.approx([1.07663903], abs=1e-7)


def test_power_utility_of_exponent_one_is_linear(cli: Cli) -> None:
    _, out, _ = cli("--utility", "power", "--exponent", "1", "--json", "--out", "None")
    assert json.loads(out)["value"] == pytest.approx(2.57325643, abs=1e-8)


def test_following_the_price_is_worth_more_and_its_picture_shows_one_path(
    cli: Cli, drawn: list[Figure]
) -> None:
    _, out, _ = cli("--volatility", "0.5", "--adaptive", "--json", "--seed", "3")
    told = json.loads(out)
    assert told["value"] == pytest.approx(2.89825876, abs=1e-8)
    assert (told["regime"], told["switch_times"]) == ("price-adaptive", [])
    names = ("keeping it is worth", "it trades at")
    kept, price = (labelled(drawn[0].axes[3], name) for name in names)
    t, owned = first(drawn[0].axes[0])
    share = np.diff(owned / (10 + t))
    assert np.std(np.diff(np.log(price))) == pytest.approx(0.5 * np.sqrt(5 / 1000), rel=0.15)
    np.testing.assert_array_equal(share > 0, price[:-1] <= kept[:-1])  # buys where it is cheap
    code, out, _ = cli("--volatility", "0.5", "--adaptive", "--out", "None")
    assert code == 0
    assert "switches" in out
    assert "the value is the mean over paths" in out


def test_volatility_without_looking_changes_nothing_and_says_so(cli: Cli) -> None:
    _, out, _ = cli("--volatility", "0.5", "--out", "None")
    assert "value: 2.57325643" in out
    assert "--adaptive follows the realised one" in out


def test_an_answer_from_a_grid_says_so(cli: Cli) -> None:
    _, out, _ = cli("--stakes", "9.9", "--alpha", "0.5", "--price", "0.3", "--out", "None")
    assert "strategy: buy-then-hold" in out
    assert "from a grid of 2000 times" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--horizon", "-1"], "`horizon` must be positive, got -1.0"),
        (["--horizon", "0"], "`horizon` must be positive, got 0.0"),
        (["--horizon", "inf"], "`horizon` must be a finite number, got inf"),
        (["--stakes", "11"], "`stakes` must not exceed N(0) = 10, all there are, got 11.0"),
        (["--stakes", "-1"], "`stakes` must not be negative, got -1.0"),
        (["--stakes", "nan"], "`stakes` must be a finite number, got nan"),
        (["--total", "0"], "N(0) must be positive, got 0.0 stakes"),
        (["--alpha", "-1"], "`alpha` must not be negative, got -1.0: stakes are issued"),
        (["--running", "-0.1"], "`running` utility must not be negative, got -0.1"),
        (["--terminal", "-0.1"], "`terminal` utility must not be negative, got -0.1"),
        (["--discount", "-0.1"], "`discount` must not be negative, got -0.1"),
        (["--interest", "0.2"], "`interest` must be between 0 and the discount 0.1, got 0.2"),
        (["--rate", "0"], "`rate` must be positive, got 0.0"),
        (["--rate", "1e9"], "at a rate of 1e+09 a tenth of all stakes changes hands within a cell"),
        (["--horizon", "1e6"], "the discount factor changes by more than a factor of exp(50) unti"),
        (["--growth", "100"], "the mean price changes by more than a factor of exp(50) until the"),
        (["--alpha", "500"], "the number of stakes changes by more than a factor of exp(50) until"),
        (["--volatility", "50", "--adaptive"], "with a volatility of 50.0 nearly all prices are 0"),
        (["--price", "0"], "the price must be positive, got 0.0"),
        (["--volatility", "-1"], "`volatility` must not be negative, got -1.0"),
        (["--adaptive"], "--adaptive needs a price that moves: set --volatility above 0"),
        (
            ["--adaptive", "--volatility", "1", "--utility", "quadratic"],
            "--adaptive needs --utility linear: only then is the best rule known",
        ),
        (
            ["--adaptive", "--volatility", "1", "--stakes", "0.1"],
            "the price-adaptive rule has a closed form only if the stakes cannot run out",
        ),
        (["--utility", "cubic"], "unknown utility 'cubic'; it is linear, quadratic, power or FILE"),
        (["--utility", "power"], "--utility power and --exponent belong together, got --utility p"),
        (["--exponent", "2"], "--utility power and --exponent belong together, got --utility lin"),
        (["--utility", "power", "--exponent", "-1"], "the exponent of a utility must be positive"),
        (["--issuance", "linear"], "unknown issuance 'linear'; it is power or FILE.py:FUNCTION"),
        (["--issuance", "no.py:n"], "there is no file 'no.py'; a function is written FILE.py:FUNC"),
        (
            ["--issuance", "mine.py:nothing"],
            "'mine.py:nothing' names no function for the issuance; write",
        ),
        (["--issuance", "mine.py:falls"], "the issuance falls somewhere; N(t) must be nondecr"),
        (["--issuance", "mine.py:scalar"], "the issuance could not be asked for a tensor (ValueE"),
        (["--utility", "mine.py:shrinks"], "the utility falls somewhere on [0, 15]; it must be"),
        (["--mean-price", "mine.py:shrinks"], "the price must be positive; its least value is -1"),
        (
            ["--mean-price", "mine.py:flat", "--adaptive"],
            "--mean-price gives the mean only; --adaptive and --volatility need --price",
        ),
        (["--out", "stake.docx"], "a picture is written to a .png, .svg or .pdf file, got 'stake"),
        (["--out", "no/stake.png"], "[Errno 2] No such file or directory: 'no/stake.png'"),
    ],
)
def test_bad_input_is_refused_in_one_sentence_and_writes_nothing(
    cli: Cli, tmp_path: Path, words: list[str], sentence: str
) -> None:
    own = ["import math", "shrinks = lambda t: 4 - t", "scalar = lambda t: math.exp(t)"]
    own += ["falls = lambda t: 6 - t", "flat = lambda t: 0 * t + 1"]
    (tmp_path / "mine.py").write_text("\n".join(own))
    code, out, error = cli(*words)
    (line,) = error.strip().splitlines()
    assert code == 2
    assert line.startswith(f"scoreward: {sentence}")
    assert "picture:" not in out
    assert {path.name for path in tmp_path.iterdir()} <= {"mine.py", "__pycache__"}


PICTURE = StakePicture([0, 1], [1, 2], [0, -1], [3, 2], [1, 1], [0, 2], [("buy", 0.0)], "title")


def test_a_picture_is_checked_and_knows_its_formats(tmp_path: Path) -> None:
    fields = vars(PICTURE)
    with pytest.raises(ValueError, match="of 2 times needs as many values of `cash`, got 1"):
        StakePicture(**{**fields, "cash": [0]})
    with pytest.raises(ValueError, match=r"phases are buy, sell, hold, .* got \['wait'\]"):
        StakePicture(**{**fields, "phases": [("wait", 0.0)]})
    with pytest.raises(ValueError, match="got none"):
        StakePicture(**{**fields, "phases": []})
    for suffix in ("png", "svg", "pdf"):
        write_stake_figure(PICTURE, tmp_path / f"a.{suffix}")
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()


def test_many_phases_get_no_lines_and_all_stakes_are_drawn_only_when_near() -> None:
    fields = vars(PICTURE)
    phases = [(("buy", "sell")[i % 2], i / 20) for i in range(20)]
    busy = stake_figure(StakePicture(**{**fields, "phases": phases}))
    assert len(busy.axes[0].lines) == 1
    assert len(busy.axes[0].patches) == 20
    near = stake_figure(StakePicture(**{**fields, "most": [3.0, 3.0]}))
    far = stake_figure(StakePicture(**{**fields, "most": [30.0, 30.0]}))
    assert [len(figure.axes[0].lines) for figure in (near, far)] == [2, 1]
