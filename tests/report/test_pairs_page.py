"""The page of a preference file: its sentences, its bars, its marks, and how it looks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreward.records.reading import read_run
from scoreward.report.pairs import (
    PairCard,
    Pane,
    cautions,
    headline,
    histogram,
    marked,
    rows,
    told,
    write_pairs_page,
)
from scoreward.report.run import tables
from scoreward.report.run.page import render
from tests.report.conftest import FakeRun
from tests.report.test_report_browser import DARK, look

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)
NUMBERS: dict[str, Any] = {
    "kind": "TextPair", "records": 1200, "prompts": 1, "most_of_one_prompt": 1200, "ties": 3,
    "skipped": 1, "reasons": {"chosen is empty": 1}, "first": ["row 7 of a: chosen is empty"],
    "sources": {"people": 1200}, "longer_won": 0.71, "equally_long": 0.1,
    "gap": {"mean": 1.0, "median": 1.0, "low": -1.0, "high": 4.0, "below_zero": 2},
    "words": [{"mean": 10.0, "median": 9.5, "low": 1, "high": 40}] * 2,
}  # fmt: skip


def test_the_headline_and_what_to_know_first() -> None:
    assert headline(told(NUMBERS)) == "1,200 pairs for 1 prompt"
    assert cautions(told(NUMBERS)) == [
        "1 row cannot be used and is left out.",
        "The longer completion won 71 % of the pairs, so length alone predicts much of the "
        "preference; normalise by length, or compare with length controlled.",
        "In 2 pairs the winner has the lower score: whoever preferred did not go by this score.",
    ]
    clean = NUMBERS | {"skipped": 0, "longer_won": 0.65, "gap": NUMBERS["gap"] | {"below_zero": 0}}
    assert cautions(told(clean)) == []


def test_the_numbers_have_names() -> None:
    lines = dict(rows(told(NUMBERS)))
    assert lines["Preferred by"] == "people (1,200)"
    assert lines["Score gap"] == "mean 1, median 1, −1 to 4"
    assert lines["Winner's words"] == "mean 10, median 9.500, 1 to 40"
    assert lines["The longer one won"] == "71 %, and 10 % are equally long"


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_every_value_is_in_one_bar_and_no_bar_has_both_signs(values: list) -> None:
    bars = histogram(values)
    assert sum(bar.count for bar in bars) == len(values)
    assert max(bar.height for bar in bars) == 100
    slack = 1e-9 * max(1.0, max(map(abs, values)))
    assert bars[0].low <= min(values) + slack
    assert bars[-1].high >= max(values) - slack
    if len(bars) > 1 and min(values) < 0 < max(values):
        assert not any(bar.low < -slack and bar.high > slack for bar in bars)


def test_bars_of_known_values() -> None:
    assert [(b.low, b.high, b.count) for b in histogram([2.0, 2.0])] == [(2.0, 2.0, 2)]
    bars = histogram([0.0, 0.5, 24.0])
    assert [b.count for b in bars] == [2] + [0] * 22 + [1]
    assert histogram([]) == []
    assert sum(b.count for b in histogram([-1.7e308, 1.7e308])) == 2


@given(st.text("ab .", max_size=30), st.text("ab .", max_size=30))
def test_marked_pieces_are_the_texts(one: str, other: str) -> None:
    """Nothing is lost or added, and what is not marked is the same on both sides."""
    left, right = marked([Pane("a", text=one), Pane("b", text=other)])
    assert ("".join(t for t, _ in left), "".join(t for t, _ in right)) == (one, other)
    same = ["".join(t for t, differs in side if not differs) for side in (left, right)]
    assert same[0] == same[1]


def test_very_long_texts_are_shown_without_marks() -> None:
    text = "word " * 3000
    assert marked([Pane("a", text=text), Pane("b", text=text + "x")])[1] == [(text + "x", False)]


def page(folder: Path) -> Path:
    long = "https://example.org/" + "a" * 300
    cards = [
        PairCard([("user", "How many legs?\n" + long)], [
            Pane("chosen", "right", 1e9, text="Twenty-four legs. " * 40),
            Pane("rejected", "wrong", -0.001, text=long),
        ], "id · people"),
        PairCard([("", "a <b>portrait</b>")], [
            Pane("winner", "right", 1.0, PIXEL), Pane("loser", "wrong", 0.5, PIXEL)
        ]),
    ]  # fmt: skip
    gaps = [i / 7 - 1 for i in range(40)]
    return write_pairs_page(folder / "pairs.html", "a_rather_long_name" * 6, NUMBERS, gaps, cards)


def test_the_page_says_what_was_left_out_and_escapes_texts(tmp_path: Path) -> None:
    text = page(tmp_path).read_text()
    assert "a &lt;b&gt;portrait&lt;/b&gt;" in text
    assert "<th>chosen is empty</th><td>1 row</td>" in text
    assert "All of them" in text
    assert "row 7 of a: chosen is empty" in text
    assert text.count("<i class=") == len(histogram([i / 7 - 1 for i in range(40)]))


@pytest.mark.browser
def test_the_page_is_silent_and_fits_phone_and_desk(chromium: str, tmp_path: Path) -> None:
    written = page(tmp_path)
    frames = "".join(
        f'<iframe src="{written.as_uri()}" style="width:{width}px;height:900px;border:0" onload="'
        "const page = this.contentDocument;"
        "for (const one of page.querySelectorAll('details')) one.open = true;"
        f"console.log('{width}', page.documentElement.scrollWidth)\"></iframe>"
        for width in (360, 768, 1200)
    )
    framed = tmp_path / "frames.html"
    framed.write_text(frames)
    seen = look(chromium, framed, tmp_path, (1400, 1000))
    assert sorted(line.split('"')[1] for line in seen.console) == [
        "1200 1200",
        "360 360",
        "768 768",
    ]
    assert seen.requests == []
    dark = look(chromium, written, tmp_path, (1000, 1600), DARK)
    assert dark.console == []
    pixels = np.asarray(dark.picture).reshape(-1, 3)
    assert pixels[0].max() < 60
    assert len(np.unique(pixels, axis=0)) > 50


def test_a_run_tells_what_it_was_trained_on(fake_run: FakeRun) -> None:
    used = {"source": "pairs.parquet", "used": 1200, "ties": 4, "skipped": 3,
            "reasons": {"chosen is empty": 2, "prompt is missing": 1}, "first": []}  # fmt: skip
    run = read_run(fake_run(about={"data": used}))
    assert tables.facts(run)[-4:-1] == [
        ("Data", "pairs.parquet, 1,200 records"),
        ("Ties left out", "4"),
        ("Rows skipped", "3: chosen is empty (2), prompt is missing (1)"),
    ]
    assert "3: chosen is empty (2), prompt is missing (1)" in render(run)
    assert "Rows skipped" not in render(read_run(fake_run("plain")))
