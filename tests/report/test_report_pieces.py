"""Charts, pictures and tables, each by itself."""

import base64
import re
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path

from PIL import Image

from scoreward.records.fields import Json
from scoreward.records.reading import read_run
from scoreward.report.figures import Level, Line, chart, spread
from scoreward.report.run.curves import training
from scoreward.report.run.samples import cut, failures, read_sheets, through_training
from scoreward.report.run.tables import attributes, checks, differences, flat, parts, spent
from tests.report.conftest import FakeRun

CURVE = Line("rise 0.5", [0.0, 1.0, 2.0], [0.1, None, 0.5])


def picture(uri: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(uri.split(",")[1])))


def test_a_chart_has_the_colours_of_the_page_and_no_others() -> None:
    svg = chart("rise", [CURVE], "round", [Level("limit", 0.3)])
    assert "var(--judge)" in svg
    assert not re.search(r"#[0-9a-fA-F]{6}", svg)


def test_a_chart_is_small_and_its_text_is_text() -> None:
    svg = chart("rise", [CURVE], "round")
    assert "rise 0.5</text>" in svg
    assert len(svg) < 8000


def test_the_text_of_a_chart_is_neither_markup_nor_formula() -> None:
    svg = chart('a"><b>', [Line("<b>$x^2$", [0.0, 1.0], [0.0, 1.0])], "round")
    assert "&lt;b&gt;$x^2$</text>" in svg
    assert "<b>" not in svg


def test_two_charts_share_no_ids() -> None:
    both = [set(re.findall(r'id="([^"]*)"', chart(n, [CURVE], "round"))) for n in ("one", "two")]
    assert not both[0] & both[1]
    assert all(both)


def test_a_chart_without_points_is_nothing() -> None:
    assert chart("none", [Line("empty", [], []), Line("gaps", [0.0], [None])], "round") == ""


def test_labels_are_pushed_apart_in_their_order() -> None:
    places = spread([0.5, 0.51, 0.1, 0.505], 0.1)
    ordered = sorted(places)
    assert all(b - a > 0.099 for a, b in pairwise(ordered))
    assert [places.index(p) for p in ordered] == [2, 0, 3, 1]
    assert places[2] == 0.1


def test_a_tile_has_the_pixels_of_its_place_in_the_sheet(fake_run: FakeRun) -> None:
    path = fake_run(rounds=2) / "samples" / "000002_ode.png"
    uris = cut(path, tile=(16, 16), columns=8, notes=[])
    assert len(uris) == 32
    expected = Image.open(path).crop((32, 16, 48, 32))
    assert picture(uris[8 + 2]).tobytes() == expected.tobytes()


def test_large_pictures_are_shrunk(tmp_path: Path) -> None:
    Image.new("RGB", (1024, 512), (9, 90, 9)).save(tmp_path / "sheet.png")
    assert picture(cut(tmp_path / "sheet.png", (512, 512), 2, [])[1]).size == (256, 256)


def test_before_during_after_are_the_first_middle_and_last_round(fake_run: FakeRun) -> None:
    cards = through_training(read_sheets(read_run(fake_run(rounds=80))))
    assert [tile.label for tile in cards[0].tiles] == ["before", "round 40", "round 80"]
    assert len(cards) == 32


def test_failures_are_wrong_shown_once_and_led_by_the_most_rewarded(fake_run: FakeRun) -> None:
    sheets = read_sheets(read_run(fake_run(hacked=True)))
    groups = failures(sheets)
    shown = [card.tiles[-1] for *_, cards in groups for card in cards]
    assert all(tile.right is False for tile in shown)
    assert len({tile.uri for tile in shown}) == len(shown)
    wrong = [i for i, right in enumerate(sheets.right[80]) if not right]
    best = max(wrong, key=lambda i: sheets.scores[80]["reward"][i] or 0.0)
    assert groups[0][2][0].tiles[-1].uri == sheets.pictures[80][best]


def test_a_reward_no_better_than_the_judge_is_not_called_content(fake_run: FakeRun) -> None:
    sheets = read_sheets(read_run(fake_run(hacked=True)))
    assert "more content" in failures(sheets)[0][0]
    agreed = {r: {**s, "judge": s["reward"]} for r, s in sheets.scores.items()}
    titles = [title for title, *_ in failures(replace(sheets, scores=agreed))]
    assert not any("more content" in title for title in titles)
    assert titles


def test_pictures_that_turned_wrong_are_called_lost(fake_run: FakeRun) -> None:
    found = failures(read_sheets(read_run(fake_run(hacked=True))))
    (lost,) = [cards for title, _, cards in found if title == "Lost in training"]
    assert all(card.tiles[0].right for card in lost)


def test_the_health_panel_puts_the_worst_first_and_lets_it_speak(fake_run: FakeRun) -> None:
    rows = checks(read_run(fake_run(rounds=80)))
    assert rows[0].label == "Groups without variance"
    assert rows[0].message.startswith("Three groups in eight")
    assert rows[0].when == "2 times, last in round 60"
    assert [(m.left, m.width) for m in rows[0].marks] == [(50.0, 12.5), (62.5, 12.5)]
    assert all(row.level == "ok" and not row.marks for row in rows[1:])


def test_attributes_are_compared_between_first_and_last_evaluation(fake_run: FakeRun) -> None:
    rows = {row.name: row for row in attributes(read_run(fake_run(rounds=20)), "ode")}
    assert len(rows) == 7
    assert rows["hair"].change == "+0.060"
    assert rows["hair"].better is None  # nothing is kept per picture, so nothing is claimed


def test_shares_add_up_to_the_whole() -> None:
    rows = parts({"forward": 3.0, "backward": 1.0, "broken": float("nan")})
    assert [r.label for r in rows] == ["Forward passes", "Backward passes"]
    assert [r.share for r in rows] == [75.0, 25.0]
    assert parts({"forward": 0.0}) == []


def test_evaluations_are_split_by_kind(fake_run: FakeRun) -> None:
    rows = spent(read_run(fake_run(rounds=80)))
    assert [r.text for r in rows] == ["51,200", "20,480", "40,960"]


def test_settings_are_flat_and_their_differences_found(fake_run: FakeRun) -> None:
    settings: Json = {"a": {"b": 1, "c": None}, "d": {}}
    assert list(flat(settings)) == [("a.b", "1"), ("a.c", "none"), ("d", "{}")]
    mine, other = read_run(fake_run(rounds=2)), read_run(fake_run("other", hacked=True, rounds=2))
    assert differences(mine, other) == [("objective.anchor", "0.1", "0.0")]


def test_a_setting_of_a_thousand_prompts_is_cut() -> None:
    prompts: list[Json] = ["a short prompt"] * 1000
    ((_, text),) = flat({"prompts": prompts})
    assert len(text) < 500
    assert text.endswith("all of them in run.json)")


def test_the_three_ratios_share_one_training_curve(fake_run: FakeRun) -> None:
    figures = {figure.title: str(figure.svg) for figure in training(read_run(fake_run(rounds=4)))}
    assert {"ratio", "clip", "loss", "gradient/norm"} <= set(figures)
    assert all(f"{name} 1.000</text>" in figures["ratio"] for name in ("min", "mean", "max"))
