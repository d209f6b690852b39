"""The rules of the last stage, by hand.  [rpo] (rules)"""

from dataclasses import replace
from pathlib import Path

import pytest

from scoreward.curation.finish import judged, selected
from scoreward.curation.manifest import Manifest
from scoreward.curation.records import Critique, Label, PairEntry
from scoreward.curation.rules import CLOSE, DISAGREE, NO_OP, REPLACED, VETO, WORSE, Rules
from scoreward.curation.run import DUPLICATE, ENOUGH, Ledger


def test_the_higher_reward_wins_or_the_pair_is_dropped() -> None:
    rules = Rules(gap=(0.3,))
    assert rules.label({"r": 0.3}, ["r"], []) == ("edited", "")
    assert rules.label({"r": -0.4}, ["r"], []) == ("original", "")
    assert rules.label({"r": 0.29}, ["r"], []) == ("", CLOSE)
    strict = replace(rules, mode="improve_only")
    assert strict.label({"r": -0.4}, ["r"], []) == ("", WORSE)
    assert strict.label({"r": 0.4}, ["r"], []) == ("edited", "")
    assert Rules(gap=(0.0,)).label({"r": 0.0}, ["r"], []) == ("", CLOSE)


@pytest.mark.parametrize(
    ("margins", "expected"),
    [
        ((1, 1, 1), ("edited", "")),
        ((1, 1, -5), ("edited", "")),
        ((-1, -1, 5), ("original", "")),
        ((1, 0, 0), ("", DISAGREE)),  # one of three is no majority
        ((1, -1, 0), ("", DISAGREE)),
        ((0.1, 0.1, 9), ("", DISAGREE)),  # two below their gap of 0.5 do not vote
        ((0.1, 0.1, 0.1), ("", CLOSE)),
    ],
)
def test_several_rewards_decide_by_majority(
    margins: tuple[float, ...], expected: tuple[Label, str]
) -> None:
    names = ["a", "b", "c"]
    assert Rules(gap=(0.5,)).label(dict(zip(names, margins)), names, []) == expected


def test_each_deciding_reward_has_its_own_gap() -> None:
    rules = Rules(gap=(0.1, 10.0))
    assert rules.label({"a": 0.2, "b": 5.0}, ["a", "b"], []) == ("", DISAGREE)
    assert rules.label({"a": 0.2, "b": 11.0}, ["a", "b"], []) == ("edited", "")


def test_audits_must_agree_as_often_as_said() -> None:
    rules = Rules(gap=(0.1,), agree=2)
    up = {"r": 1.0, "x": 0.01, "y": 0.02, "z": -3.0}
    assert rules.label(up, ["r"], ["x", "y", "z"]) == ("edited", "")
    assert rules.label({**up, "y": 0.0}, ["r"], ["x", "y", "z"]) == ("", VETO)
    down = {name: -value for name, value in up.items()}
    assert rules.label(down, ["r"], ["x", "y", "z"]) == ("original", "")


def test_an_edit_is_neither_nothing_nor_another_picture() -> None:
    rules = Rules()
    assert [rules.changed(s) for s in (1.0, 0.996, 0.995, 0.6, 0.59)] == [
        *(NO_OP, NO_OP, "", "", REPLACED)
    ]


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="3 audits must agree, but there are 2"):
        Rules(agree=3).check(1, 2)
    with pytest.raises(ValueError, match="2 gaps for 3 deciding rewards"):
        Rules(gap=(0.1, 0.2)).check(3, 0)
    with pytest.raises(ValueError, match="`top` is a share above 0 up to 1, got 0"):
        Rules(top=0.0)


def kept(
    i: int, margin: float = 1.0, prompt: str = "p", image: str = "", edited: str = ""
) -> PairEntry:
    label: Label = "edited" if margin > 0 else "original"
    return PairEntry(
        f"{i}", prompt, i, 0, {}, "kept", critique=Critique(()), margins={"r": margin},
        label=label,
        image=image or f"i{i}", edited=edited or f"e{i}",
    )  # fmt: skip


def test_pairs_of_a_prompt_and_pictures_are_limited(tmp_path: Path) -> None:
    ledger = Ledger(Manifest(tmp_path / "m"), per_prompt=2)
    tried = [kept(0), kept(1), kept(2), kept(3, prompt="q"), kept(4, prompt="r", image="i0")]
    tried += [kept(5, prompt="s", edited="e1"), kept(6, prompt="t")]
    ledger.admit(tried)
    reasons = [one.reason for one in ledger.manifest.entries.values()]
    assert reasons == ["", "", ENOUGH, "", DUPLICATE, DUPLICATE, ""]
    again = Ledger(Manifest(tmp_path / "m"), per_prompt=2)
    assert (again.stages, again.reasons, again.pictures) == (
        *(ledger.stages, ledger.reasons, ledger.pictures),
    )
    again.admit(tried)
    assert again.kept == ledger.kept == 4


def test_the_largest_gaps_are_written_in_order() -> None:
    entries = [kept(i, margin) for i, margin in enumerate((1.0, -4.0, 2.0, 3.0, 9.0))]
    assert [one.id for one in selected(entries, "r", 2, 0.5)] == ["1", "3"]  # of the first four
    assert [one.id for one in selected(entries, "r", 2, 1.0)] == ["0", "1"]


def test_a_judge_is_asked_about_the_winner() -> None:
    said = judged([kept(0, 2.0), kept(1, -3.0), kept(2, 0.0)], "r")
    assert (said["better"], said["equal"], said["worse"]) == (2, 1, 0)


def test_the_interval_of_a_judge_agrees_with_scipy() -> None:
    from scipy.stats import binomtest

    for hits, count in ((0, 7), (5, 7), (7, 7)):
        said = judged([kept(i, 1.0 if i < hits else 0.0) for i in range(count)], "r")
        found = binomtest(hits, count).proportion_ci(0.95, method="wilson")
        assert (said["low"], said["high"]) == pytest.approx((found.low, found.high), abs=1e-6)
        assert said["share"] == hits / count
    assert (judged([], "r")["low"], judged([], "r")["high"]) == (0.0, 1.0)
