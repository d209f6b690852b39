"""Held out is a promise: disjoint, never empty by accident, told in words, one salt per use."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreward.curation.stages import Plan
from scoreward.curation.work import agenda
from scoreward.data.holding import FEW, Held, cut, plain, share_of, unseen
from scoreward.data.preferences.records import ImagePair, TextPair
from scoreward.data.preferences.sorting import divided, parted
from scoreward.data.prompts import PromptsError, listed, read
from tests.preferences.conftest import picture

WORDS = st.lists(st.sampled_from(["a cat", "A cat", " a  cat", "a dog", "x", "y", "Z"]), min_size=1)


@given(WORDS, st.floats(0.0, 0.99), st.sampled_from(["", "pairs split"]))
def test_what_is_held_out_is_never_trained_on(texts: list[str], share: float, use: str) -> None:
    made = cut(texts, share, use)
    inside, outside = ({plain(texts[i]) for i in side} for side in (made.kept, made.away))
    assert sorted([*made.kept, *made.away]) == list(range(len(texts)))
    assert not inside & outside
    assert inside
    assert bool(outside) == (share > 0 and made.of > 1)
    assert (made.held, made.of) == (len(outside), len(inside | outside))


def test_texts_that_are_added_move_no_other_one() -> None:
    few, many = [f"prompt {i}" for i in range(100)], [f"prompt {i}" for i in range(300)]
    one, other = (cut(texts, 0.2) for texts in (few, many))
    assert {few[i] for i in one.away} == {many[i] for i in other.away} & set(few)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_every_use_cuts_what_another_has_left_by_the_same_share(share: float) -> None:
    """2000 prompts, three cuts: each holds out its share of what it is given, ± 5 deviations."""
    texts = [f"prompt {i}" for i in range(2000)]
    for use in ("curation", "pairs split", ""):
        made, before = cut(texts, share, use), len(texts)
        assert abs(made.held - share * before) < 5 * (before * share * (1 - share)) ** 0.5
        texts = [texts[i] for i in made.kept]
    again = cut(texts, share, "")
    assert again.held == 1  # what happens without a salt of one's own


def test_curation_then_split_then_training_leave_something_to_measure_on() -> None:
    plan = agenda([f"prompt {i}" for i in range(1000)], Plan(attempts=1, held_out=0.1))
    kept = [item.prompt for batch in plan.batches for item in batch]
    pairs = [TextPair(p, "yes", "no") for p in kept]
    first = parted(pairs, 0.1, "pairs split")
    second = divided([pairs[i] for i in first.kept], 0.1)
    assert min(len(plan.held_out), first.held, second.held) > 50


def test_built_in_lists_are_cut_as_they_always_were() -> None:
    """Committed results were measured on these."""
    for name in ("animals", "signs"):
        held = read(name).held_out
        assert held == [p for p in listed(name) if share_of(p) < 0.1]
        assert held


PROMPTS = {  # of docs/bring_your_own.md in number: none falls into the tenth by its hash
    count: [f"a thing number {i}" for i in range(400) if share_of(f"a thing number {i}") >= 0.1]
    for count in (2, 3, 10)
}


@pytest.mark.parametrize("count", PROMPTS)
def test_a_short_list_holds_out_its_smallest_hash(count: int, tmp_path: Path) -> None:
    texts = PROMPTS[count][:count]
    (tmp_path / "p.txt").write_text("\n".join(texts))
    both = read(str(tmp_path / "p.txt"))
    assert both.held_out == [min(texts, key=share_of)]
    assert sorted(both.train + both.held_out) == sorted(texts)
    assert both.measured == both.held_out


def test_one_prompt_is_trained_on_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a red fox\nA  red fox\n")
    both = read(str(tmp_path / "p.txt"))
    assert both.held_out == []
    assert both.measured == both.train == ["a red fox", "A  red fox"]
    assert both.cut.count("prompts").sentence == (
        "Nothing is held out of 1 prompts: what is measured is measured on training prompts, and "
        "says nothing of others."
    )
    with pytest.raises(PromptsError, match="no prompt left to train on with a share of 1 held"):
        read("animals", 1.0)


def test_a_share_of_nothing_holds_out_nothing() -> None:
    both = read("animals", 0.0)
    assert (both.held_out, both.train) == ([], listed("animals"))


def test_a_picture_is_on_one_side_whatever_it_is_called() -> None:
    red, green, blue, grey = (picture(level) for level in (10, 90, 160, 240))
    pairs = [
        ImagePair("one", red, green),
        ImagePair("two", green.copy(), blue),
        ImagePair("three", grey, picture(30)),
        ImagePair("One ", picture(50), picture(70)),
    ]
    for share in (0.01, 0.3, 0.6, 0.99):
        made = parted(pairs, share)
        assert (made.held, made.of) == (1, 2)
        assert {2} in (set(made.kept), set(made.away))


def test_prompts_that_all_share_a_picture_cannot_be_parted() -> None:
    red, green, blue = (picture(level) for level in (10, 90, 160))
    pairs = [ImagePair("one", red, green), ImagePair("two", green, blue)]
    assert parted(pairs, 0.5).held == 0


def test_sizes_are_told_and_few_are_a_warning() -> None:
    many, few = Held("prompts", FEW, 100, FEW), Held("prompts", 20, 200, 4)
    assert many.sentence == "16 of 100 prompts are held out."
    assert not many.few
    assert few.few
    assert few.sentence == (
        "20 of 200 prompts are held out, and 4 of them measured on: too few to tell much, for a "
        "mean over 4 has a standard error of 0.50 of the spread between prompts."
    )
    mixed = Held("prompts", 30, 100, 30, trained=5)
    assert mixed.few
    assert "5 more that are measured on are trained on as well" in mixed.sentence
    assert mixed.told["sentence"] == mixed.sentence


def test_what_was_trained_on_is_left_out_in_any_spelling() -> None:
    assert unseen(["a cat", "A  Dog", "a bird"], ["a dog", "x"]) == ["a cat", "a bird"]


def test_one_text_in_two_spellings_of_unicode_is_one() -> None:
    """An accent is one letter, or a letter and a mark; they look the same."""
    assert plain("caf\u00e9  Noir") == plain("cafe\u0301 noir")
    assert unseen(["cafe\u0301"], ["caf\u00e9"]) == []


def test_the_hash_of_a_text_is_pinned_from_outside() -> None:
    """The first 32 bits of SHA-256, by which committed results were held out, and of the salt."""
    for text, use, hashed in (("a cat", "", "a cat"), ("a cat", "split", "split\0a cat")):
        first = hashlib.sha256(hashed.encode()).hexdigest()[:8]
        assert share_of(text, use) == int(first, 16) / 2**32


@given(WORDS, st.floats(0.05, 0.95))
def test_the_order_of_texts_moves_none(texts: list[str], share: float) -> None:
    there, back = cut(texts, share), cut(texts[::-1], share)
    assert {texts[i] for i in there.away} == {texts[::-1][i] for i in back.away}


def test_no_more_are_measured_than_are_held_out() -> None:
    made = cut([f"prompt {i}" for i in range(50)], 0.1)
    assert made.count("prompts").measured == made.held > 1
    assert made.count("prompts", 1).measured == 1
    assert made.count("prompts", 1000).measured == made.held


def test_what_a_later_record_joins_is_joined_throughout() -> None:
    """The fourth says that the first is the second, which the third was already."""
    made = cut(list("vwxyz"), 0.5, marks=[["a"], ["b"], ["b"], ["a", "b"], ["c"]])
    assert (made.held, made.of) == (1, 2)
    assert {4} in (set(made.kept), set(made.away))


def test_what_is_held_out_and_not_measured_on_is_said() -> None:
    """Its standard error was asked for, and is that of no number."""
    said = Held("pictures", held=3, of=24, measured=0).sentence
    assert said == "3 of 24 pictures are held out, and none of them measured on."
