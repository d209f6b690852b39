"""GenEval's logic, case by case, on objects put where they are needed."""

import json
from pathlib import Path

import pytest

from scoreward.rewards.geneval import (
    Detection,
    Scene,
    confident,
    graded,
    read_metadata,
    relations,
    shared,
    strict,
)


def at(label: str, x: float, y: float, score: float = 0.9, size: float = 10) -> Detection:
    """A square around (x, y)."""
    half = size / 2
    return Detection(label, score, (x - half, y - half, x + half, y + half))


def red(found: Detection) -> str:
    return "red"


def by_place(found: Detection) -> str:
    """Red on the left, blue on the right."""
    return "red" if found.box[0] < 50 else "blue"


DOG, TWO = {"class": "dog", "count": 1}, {"class": "dog", "count": 2}
DOGS = [at("dog", 20, 50), at("dog", 80, 50), at("dog", 50, 20)]


def wanted(*include: dict, **more: object) -> Scene:
    return Scene.read({"include": list(include), **more})


@pytest.mark.parametrize(("count", "right", "credit"), [(1, 1, 1), (2, 1, 1), (3, 1, 1)])
def test_as_many_as_asked(count: int, right: bool, credit: float) -> None:
    asked = wanted({"class": "dog", "count": count})
    assert strict(DOGS[:count], asked, red) == right
    assert graded(DOGS[:count], asked, red) == credit


def test_too_few_and_too_many() -> None:
    assert not strict(DOGS[:1], wanted(TWO), red)
    assert graded(DOGS[:1], wanted(TWO), red) == 0.5
    assert strict(DOGS, wanted(TWO), red)  # more are right, as in GenEval
    assert graded(DOGS, wanted(TWO), red) == 0.5  # but not worth as much
    assert graded(DOGS, wanted(DOG), red) == 0  # 1 - 2 is no credit, and no debt
    assert not strict(DOGS, wanted(TWO, exclude=[{"class": "dog", "count": 3}]), red)
    assert strict(DOGS[:2], wanted(TWO, exclude=[{"class": "dog", "count": 3}]), red)
    assert not strict([], wanted(DOG), red)
    assert graded([], wanted(DOG), red) == 0


def test_other_kinds_do_not_count() -> None:
    both = wanted(DOG, {"class": "cat", "count": 1})
    assert not strict(DOGS[:1], both, red)
    assert graded(DOGS[:1], both, red) == 0.5
    assert strict([*DOGS[:1], at("cat", 1, 1)], both, red)
    assert both.kinds == ("dog", "cat")
    assert wanted(DOG, exclude=[{"class": "dog", "count": 2}]).kinds == ("dog",)


def test_colours_must_be_those_of_all_the_chosen() -> None:
    one_red, two_red = wanted({**DOG, "color": "red"}), wanted({**TWO, "color": "red"})
    assert strict(DOGS[:1], one_red, by_place)
    assert not strict(DOGS[1:2], one_red, by_place)
    assert graded(DOGS[1:2], one_red, by_place) == 0.5  # the dog is there, in blue
    assert not strict(DOGS[:2], two_red, by_place)
    assert graded(DOGS[:2], two_red, by_place) == 0.75  # count 1, colour 1/2
    assert graded(DOGS[:1], two_red, by_place) == 0.25  # count 1/2, colour not looked at
    surest = confident([at("dog", 80, 50, 0.5), at("dog", 20, 50, 0.9)], 0.3)
    assert strict(surest, one_red, by_place)  # the surest is the red one


def test_positions_are_relative_to_an_earlier_clause() -> None:
    asked = wanted(DOG, {"class": "cat", "count": 1, "position": ["right of", 0]})
    dog, right, left = at("dog", 50, 50), at("cat", 80, 50), at("cat", 20, 50)
    assert strict([dog, right], asked, red)
    assert graded([dog, right], asked, red) == 1
    assert not strict([dog, left], asked, red)
    assert graded([dog, left], asked, red) == pytest.approx(2 / 3)
    assert not strict([right], asked, red)  # nothing to be right of
    assert graded([right], asked, red) == pytest.approx(1 / 3)
    blue_dog = wanted({**DOG, "color": "blue"}, {"class": "cat", "position": ["right of", 0]})
    assert not strict([dog, right], blue_dog, red)  # the target failed, so the position fails
    assert graded([dog, right], blue_dog, red) == 0.5


def test_every_pair_must_stand_as_asked() -> None:
    asked = wanted(TWO, {"class": "cat", "position": ["below", 0]})
    dogs = [at("dog", 30, 30), at("dog", 34, 60)]
    assert strict([*dogs, at("cat", 32, 90)], asked, red)
    assert not strict([*dogs, at("cat", 32, 45)], asked, red)  # below one, above the other


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (80, 50, {"right of"}),
        (20, 50, {"left of"}),
        (50, 20, {"above"}),
        (50, 80, {"below"}),
        (80, 80, {"right of", "below"}),
        (51.5, 50, set()),  # within a tenth of the two sizes
        (50, 50, set()),
        (52.5, 50, set()),  # apart, but by less than half of the distance
        (55, 50, {"right of"}),
        (75, 60, {"right of"}),
    ],
)
def test_relations(x: float, y: float, expected: set[str]) -> None:
    assert relations(at("a", x, y), at("b", 50, 50)) == expected


def test_overlap_and_doubles() -> None:
    a, b = at("dog", 50, 50, 0.9), at("dog", 52, 50, 0.8)
    assert shared(a.box, b.box) == pytest.approx(80 / 120)
    assert shared(a.box, a.box) == 1
    assert shared(a.box, at("dog", 90, 50).box) == 0
    assert shared((0, 0, 0, 0), (0, 0, 0, 0)) == 0
    assert confident([b, a], 0.3, overlap=0.5) == [a]
    assert confident([b, a], 0.3, overlap=0.7) == [a, b]
    assert confident([b, a], 0.3) == [a, b]
    other = at("cat", 50, 50, 0.85)
    assert confident([b, a, other], 0.3, overlap=0.5) == [a, other]
    assert confident([b, a], 0.8) == [a]
    assert confident([a] * 20, 0.3, most=16) == [a] * 16


@pytest.mark.parametrize(
    "clause",
    [
        {"count": 1},
        {"class": "dog", "count": 0},
        {"class": "dog", "count": 1.5},
        {"class": "dog", "color": "mauve"},
        {"class": "dog", "position": ["left of", 0]},  # itself
        {"class": "dog", "colour": "red"},
    ],
)
def test_clauses_that_are_not_genevals_are_refused(clause: dict) -> None:
    with pytest.raises(ValueError, match="is not GenEval's; expected a class"):
        wanted(clause)


def test_positions_of_unknown_names_are_refused() -> None:
    for position in (["near", 0], ["left of", 1], ["left of"]):
        with pytest.raises(ValueError, match="is not GenEval's"):
            wanted(DOG, {"class": "cat", "position": position})
    with pytest.raises(ValueError, match="includes no object"):
        Scene.read({"include": []})


def test_metadata_files_are_read_line_by_line(tmp_path: Path) -> None:
    rows = [
        {"tag": "counting", "include": [TWO], "exclude": [{**DOG, "count": 3}], "prompt": "2 dogs"},
        {"tag": "colors", "include": [{**DOG, "color": "red"}], "prompt": "a red dog"},
    ]
    file = tmp_path / "evaluation_metadata.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    known = read_metadata(file)
    assert list(known) == ["2 dogs", "a red dog"]
    assert known["2 dogs"].tag == "counting"
    assert known["2 dogs"].exclude[0].count == 3
    assert known["a red dog"].include[0].color == "red"
    with pytest.raises(FileNotFoundError, match=r"there is no file .*GenEval's metadata"):
        read_metadata(tmp_path / "none.jsonl")
