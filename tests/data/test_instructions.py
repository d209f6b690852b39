"""Checkers against answers written by hand, sanity against gaming, splits without overlap."""

import pytest

from scoreward.data import instructions as data


def task(*names: str, topic: str = "sea") -> data.Exercise:
    named = {c.name: c for c in data.CONSTRAINTS}
    return data.Exercise("prompt", topic, tuple(named[n] for n in names))


GOOD = {
    "one sentence": "The sea is wide and cold.",
    "two sentences": "The sea is wide. It is also cold!",
    "at most 12 words": "The sea is wide, and it is cold.",
    "at least 20 words": "The sea is wide and cold and full of fish that swim where no boat has "
    "ever been before us all.",
    "no commas": "The sea is wide and cold.",
    "exclaim": "The sea is so wide!",
    "digit": "The sea has 5 names.",
    "because": "I like the sea because it is wide.",
    "beautiful": "A sea can be beautiful, too.",
    "like": "The sea sounds like a crowd.",
    "the": "The sea is wide.",
    "simple": "The sea is wide and blue.",
    "numbered": "1. Sand\n2. Salt\n3. Waves",
}
BAD = {
    "one sentence": "The sea is wide. It is cold.",
    "two sentences": "The sea is wide.",
    "at most 12 words": "The sea is wide and cold and full of fish that swim where no boat is.",
    "at least 20 words": "The sea is wide.",
    "no commas": "The sea is wide, and cold.",
    "exclaim": "The sea is so wide.",
    "digit": "The sea has five names.",
    "because": "I like the sea, since it is wide.",
    "beautiful": "A sea can be lovely, too.",
    "like": "The sea sounds as a crowd.",
    "the": "A sea is wide.",
    "simple": "The sea is an extraordinarily multitudinous phenomenon.",
    "numbered": "1. Sand\n3. Salt\n3. Waves",
}


@pytest.mark.parametrize("name", [c.name for c in data.CONSTRAINTS])
def test_a_checker_tells_a_good_answer_from_a_bad_one(name: str) -> None:
    asked = task(name)
    assert asked.strict(GOOD[name])
    assert asked.score(GOOD[name]) == 1
    assert not asked.strict(BAD[name])
    assert asked.score(BAD[name]) < 1


def test_degrees_fall_with_the_distance() -> None:
    """Seven words too many of twelve lose 7/12; two sentences too many lose all."""
    far = "The sea is a wide and cold and old thing that no one has seen the end of yet."
    assert len(data.words(far)) == 19
    assert task("at most 12 words").score(far) == pytest.approx(1 - 7 / 12)
    assert task("one sentence").score("The sea is wide. Yes.") == 0.5
    assert task("one sentence").score("The sea is wide. Yes. No.") == 0
    assert task("no commas").score("The sea, wide, is cold.") == pytest.approx(1 / 3)
    assert task("numbered").score("1. Sand\n2. Salt") == pytest.approx(2 / 3)
    assert task("numbered").score("1. a\n2. b\n3. c\n4. d") == pytest.approx(2 / 3)


def test_two_constraints_are_averaged_and_both_required() -> None:
    both = task("one sentence", "no commas")
    assert both.score("The sea, it is wide.") == pytest.approx((1 + 2 / 3) / 2)
    assert not both.strict("The sea, it is wide.")
    assert both.strict("The sea is wide.")


@pytest.mark.parametrize(
    "gamed",
    [
        "",
        "The sea is wide and cold",  # cut short
        "It is wide and cold.",  # not on the topic
        "Sea!",  # too little
        "The sea 🌊🌊🌊🌊🌊🌊🌊🌊🌊🌊🌊🌊🌊🌊🌊🌊🌊.",
        "The sea the sea the sea the sea the sea the sea.",
    ],
)
def test_gaming_a_constraint_is_not_sane(gamed: str) -> None:
    """Each has no comma, and is worth nothing."""
    asked = task("no commas")
    assert "," not in gamed
    assert not asked.sane(gamed)
    assert asked.score(gamed) == 0
    assert not asked.strict(gamed)


def test_topics_are_met_in_singular_and_plural() -> None:
    assert data.mentions("One bird sings.", "birds")
    assert data.mentions("All Cats sleep.", "cat")
    assert not data.mentions("A dog sleeps.", "cat")


def test_sums_ask_for_their_result() -> None:
    """Solved here from the prompt's own numbers; the last number counts."""
    sums = [t for t in data.tasks() if not t.topic]
    assert len(sums) > 100
    for t in sums:
        first, second = (int(w) for w in data.words(t.prompt) if w.isdigit())
        value = first - second if " - " in t.prompt else first + second
        assert t.strict(f"{first} and {second} make {value}.")
        assert not t.strict(f"{value + 1}")
        assert not t.strict(f"{value} or {value + 1}")


def test_splits_share_no_topic_with_the_same_constraints() -> None:
    seen: dict[tuple[str, ...], str] = {}
    for t in data.tasks():
        address = (t.topic or t.prompt, *(c.name for c in t.constraints))
        assert seen.setdefault(address, t.split) == t.split
    sizes = {name: len(data.split(name)) for name in ("train", "validation", "test")}
    assert sum(sizes.values()) == len(data.tasks()) == len({t.prompt for t in data.tasks()})
    assert sizes["test"] >= 500
    assert sizes["train"] >= 600
    for name in sizes:
        assert {c.name for t in data.split(name) for c in t.constraints} >= set(GOOD)


def test_prompts_are_short_enough_for_a_small_model() -> None:
    assert max(len(data.words(t.prompt)) for t in data.tasks()) <= 24


def test_unknown_names_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="expected the split train, validation or test"):
        data.split("dev")
    with pytest.raises(ValueError, match="no task has the prompt"):
        data.task_of("Hello")


def test_a_task_is_found_in_a_rendered_chat() -> None:
    """Also where its prompt begins like another's."""
    every = [t for t in data.tasks() if len(t.constraints) > 1][:3]
    for t in (*every, *data.split("test")[:20]):
        assert data.task_within(f"<|im_start|>user\n{t.prompt}<|im_end|>\n") is t
    with pytest.raises(ValueError, match="no task's prompt stands in"):
        data.task_within("Hello")
