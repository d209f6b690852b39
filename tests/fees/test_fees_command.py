"""scoreward fees: what it prints, what JSON holds, and what it refuses in one sentence."""

import json
from pathlib import Path

import pytest

from scoreward.studies.fees.figure import FeeCurve, Panel, fees_figure, write_fees_figure
from tests.support.command_line import Cli, calling


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Cli:
    """Run `scoreward fees` in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return calling(capsys, "fees")


def record(cli: Cli, *words: str) -> dict:
    code, out, error = cli(*words, "--json")
    assert (code, error) == (0, "")
    return json.loads(out)


def test_who_is_in_who_pays_and_what_is_burnt_is_told(cli: Cli) -> None:
    """BSP(γ), B = 3, k = m = 2: both highest pay 2, the miner gets 2, 2 are burnt."""
    told = record(
        cli,
        "--mechanism",
        "bsp-gamma",
        "--block",
        "3",
        "--bids",
        "3",
        "2",
        "3",
        "2",
        "--stake",
        "1/4",
    )
    assert [row["included"] for row in told["bidders"]] == [True, True, True, False]
    assert [row["confirmed"] for row in told["bidders"]] == [True, False, True, False]
    assert [row["pays"] for row in told["bidders"]] == ["2", "0", "2", "0"]
    assert (told["revenue"], told["burn"]) == ("2", "2")
    gains = {(p["property"], p["accounting"]): p["gain"] for p in told["properties"]}
    assert gains == {
        ("UIC", "one-shot"): "0",
        ("MIC", "one-shot"): "0",
        ("c-SCP", "one-shot"): "0",
        ("MIC", "mixed"): "0",
        ("c-SCP", "mixed"): "9/4",
    }
    (broken,) = (p for p in told["properties"] if not p["holds"])
    assert broken["deviation"]["miner"] == ["3", "0"]
    assert "the miner and the user who values 3" in broken["deviation"]["sentence"]


def test_the_table_says_the_same_and_shows_the_deviation(cli: Cli) -> None:
    code, out, error = cli(
        "--mechanism", "bsp-gamma", "--block", "3", "--bids", "3", "3", "2", "2", "--stake", "1/4",
        "--accounting", "consistent",
    )  # fmt: skip
    assert (code, error) == (0, "")
    assert "miner's revenue 2, burnt 2 (expected)" in out
    assert "c-SCP, consistent: users value 3, 3, 0, 2 ticks;" in out
    assert "gain 3/2" in out
    assert "searched: 4 users, values of 0 to 3 ticks of 1" in out


def test_without_theta_the_best_valid_one_is_taken(cli: Cli) -> None:
    """B = 3, k = 2, x = 4/5, values up to 2: m = 1 and θ = 5/6."""
    told = record(cli, "--block", "3", "--bids", "2", "1", "1", "0")
    assert told["mechanism"] == {
        "name": "bsp-theta", "block": 3, "slots": 2, "confirmed": 1, "theta": "5/6",
    }  # fmt: skip
    assert told["theta_range"] == ["5/8", "5/6"]
    assert all(p["holds"] for p in told["properties"])
    assert sum(row["confirmed"] for row in told["bidders"]) == 1


@pytest.mark.parametrize(
    ("words", "confirmed"),
    [
        ((), "3"),  # x = 9/10, values up to 1: m/3.6 ≤ θ ≤ 1 and m = 3 is the most
        (("--theta", "3/5"), "2"),
        (("--theta", "1/3"), "1"),
        (("--accounting", "consistent"), "4"),
        (("--accounting", "consistent", "--colluders", "2"), "2"),
    ],
)
def test_as_many_as_possible_are_confirmed(
    cli: Cli, words: tuple[str, ...], confirmed: str
) -> None:
    common = ("--block", "5", "--bids", "1", "1", "0", "--stake", "9/10", "--no-check")
    assert str(record(cli, *common, *words)["mechanism"]["confirmed"]) == confirmed


def test_a_theta_outside_its_range_can_be_looked_at(cli: Cli) -> None:
    words = ("--block", "3", "--bids", "2", "1", "1", "0", "--confirmed", "1", "--theta", "0.624")
    told = record(cli, *words, "--outside")
    (broken,) = (p for p in told["properties"] if not p["holds"])
    assert (broken["property"], broken["accounting"], broken["gain"]) == ("c-SCP", "mixed", "1/625")
    _, _, error = cli(*words)
    assert "the payout rate θ is in [5/8, 5/6] for m = 1, k = 2" in error
    assert error.strip().endswith("got 78/125")


def test_the_lot_is_drawn_by_seed_and_its_size_is_m(cli: Cli) -> None:
    words = ("--block", "4", "--bids", "3", "3", "3", "1", "--no-check", "--confirmed", "1")
    hits = set()
    for seed in range(8):
        told = record(cli, *words, "--seed", str(seed))
        (hit,) = (i for i, row in enumerate(told["bidders"]) if row["confirmed"])
        hits.add(hit)
        assert [row["pays"] for row in told["bidders"]] == [
            "1" if i == hit else "0" for i in range(4)
        ]
        assert told["properties"] == []
    assert len(hits) > 1
    assert hits <= {0, 1, 2}


@pytest.mark.parametrize(
    ("words", "revenue", "burn", "holds"),
    [
        (("first-price",), "7", "0", [False, True, True]),
        (("second-price",), "2", "0", [True, False, False]),
        (("second-price-burnt",), "0", "2", [True, True, False]),
        (("eip-1559", "--base-fee", "1", "--tip", "1/2"), "1", "2", [False, True, False]),
    ],
)
def test_the_classical_mechanisms_show_what_each_lacks(
    cli: Cli, words: tuple[str, ...], revenue: str, burn: str, holds: list[bool]
) -> None:
    block = "3" if words[0].startswith("second") else "2"
    bids = ("--bids", "4", "3", "2") if block == "2" else ("--bids", "3", "3", "1", "1")
    told = record(cli, "--mechanism", *words, "--block", block, *bids, "--accounting", "one-shot")
    assert (told["revenue"], told["burn"]) == (revenue, burn)
    assert [p["holds"] for p in told["properties"]] == holds
    assert told["theta_range"] is None


def test_a_search_smaller_than_the_bids_says_so(cli: Cli) -> None:
    _, out, _ = cli("--mechanism", "first-price", "--block", "1", "--bids", "30", "--users", "2")
    assert "values of 0 to 11 ticks of 1; the highest bid is 30 ticks, see --top" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--bids", "3", "-1"), "bids are 0 or more, got -1"),
        (("--confirmed", "4"), "m of k = 3 slots are confirmed, 1 to 3, got m = 4"),
        (("--slots", "4"), "has 1 to 3 slots that can be confirmed, got k = 4"),
        (("--tick", "0"), "a tick above 0 expected, got 5 and 0"),
        (("--tick", "-1"), "a tick above 0 expected, got 5 and -1"),
        (("--tick", "2"), "bids are multiples of the tick 2, got 5"),
        (("--theta", "2"), "the payout rate θ is in [5/12, 5/9]"),
        (("--theta", "-1"), "the payout rate θ is in [5/12, 5/9], got -1"),
        (("--theta", "2", "--outside"), "the payout rate θ is in [0, 1] = [0, m/k']"),
        (("--stake", "2"), "share of stakes is above 0, at most 1, got 2"),
        (("--stake", "1/9"), "no payout rate θ is valid"),
        (("--gamma", "nan"), "`gamma` is a finite number like 3, 0.25 or 1/3, got 'nan'"),
        (("--accounting", "fair"), "`accounting` is one-shot, mixed, consistent, got 'fair'"),
        (("--mechanism", "lottery"), "unknown mechanism 'lottery'; it is bsp-theta, bsp-gamma"),
        (("--mechanism", "first-price", "--theta", "1"), "belong to bsp-theta, not to first-price"),
        (("--mechanism", "bsp-gamma", "--gamma", "1/4"), "confirms nobody; k = 3 slots need"),
        (("--mechanism", "bsp-gamma", "--confirmed", "0"), "belong to bsp-theta, not to bsp-gamma"),
        (("--mechanism", "first-price", "--theta", ""), "belong to bsp-theta, not to first-price"),
        (("--mechanism", "first-price", "--slots", "2"), "--slots belongs to bsp-theta and"),
        (("--tip", "1/2"), "--base-fee and --tip belong to eip-1559, not to bsp-theta"),
        (("--users", "0"), "a search 1 user or more, got --block 4 and --users 0"),
        (("--users", "300"), "300 users, 4 places and 6 values are more than the"),
        (("--block", "100000000"), "a block has at most 10000 places"),
        (("--block", "10000"), "10000 places and 7 levels of bids give more than the 3000000"),
        (("--bids", "1e400000000"), "`bids` is a number of at most 100 characters"),
        (("--block", "9", "--slots", "8", "--bids", "1", "--top", "40", "--stake", "1"), "places"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    cli: Cli, words: tuple[str, ...], sentence: str
) -> None:
    code, out, error = cli(*words)
    assert code != 0
    assert out == ""
    (line,) = error.strip().splitlines()
    assert sentence in line


def test_a_picture_has_its_curves_levels_and_shades(tmp_path: Path) -> None:
    panel = Panel(
        "welfare",
        "θ",
        [FeeCurve("a", [0.0, 1.0], [1.0, 2.0]), FeeCurve("level", [0.0], [3.0])],
        [("valid", 0.2, 0.4)],
    )
    axes = fees_figure([panel, Panel("b", "t", [FeeCurve("c", [1, 2], [1, 2])], log=True)]).axes
    assert [list(line.get_ydata()) for line in axes[0].lines] == [[1.0, 2.0], [3.0, 3.0]]
    assert [p.get_label() for p in axes[0].patches] == ["valid"]
    assert axes[1].get_xscale() == "log"
    write_fees_figure([panel], tmp_path / "a.png", "title")
    assert (tmp_path / "a.png").stat().st_size > 1000
    for make, sentence in (
        (lambda: fees_figure([]), "1 panel or more"),
        (lambda: FeeCurve("c", [1], []), "as many x as y"),
        (lambda: Panel("p", "x", []), "has no curves"),
        (lambda: write_fees_figure([panel], tmp_path / "a.txt"), "written to a .png, .svg or .pdf"),
    ):
        with pytest.raises(ValueError, match=sentence):
            make()
