"""The built-in preferences: labels are the checkers', splits are clean, length decides nothing."""

import gzip
import json
from importlib.resources import files

import numpy as np
import pytest

from scoreward.core.keys import Key
from scoreward.data import instructions
from scoreward.data.preferences import builtin
from scoreward.data.preferences.records import TextGroup

GROUPS = [
    TextGroup("p", ("a", "b", "c", "d"), (0.9, 0.5, 0.1, 0.7), "one"),
    TextGroup("q", ("a", "b"), (0.5, 0.45), "tie"),
    TextGroup("r", ("a",), (1.0,), "single"),
    TextGroup("s", (), (), "none"),
]


def task(prompt: object) -> instructions.Exercise:
    (message,) = prompt  # pyright: ignore
    return instructions.task_of(message["content"])


@pytest.mark.parametrize("split", ["train", "validation"])
def test_stored_scores_are_those_of_the_checkers(split: str) -> None:
    groups = builtin.instruction_groups(split)
    for group in groups:
        asked = task(group.prompt)
        assert asked.split == split
        found = [asked.score(text) for text in group.completions]
        assert found == pytest.approx(list(group.rewards), abs=1e-6)
    assert len({g.id for g in groups}) == len({g.prompt[0]["content"] for g in groups})  # pyright: ignore


def test_stored_verdicts_are_the_judge_s() -> None:
    packed = files("scoreward") / "assets" / "instructions" / "groups.jsonl.gz"
    rows = [json.loads(x) for x in gzip.decompress(packed.read_bytes()).decode().splitlines()]
    for row in rows:
        asked = instructions.task_of(row["prompt"])
        assert row["strict"] == [asked.strict(text) for text in row["completions"]]
        assert len(row["completions"]) + row["unfinished"] <= 6
    assert len(packed.read_bytes()) < 400_000


def test_every_pair_has_a_better_winner_and_no_tie_is_kept() -> None:
    pairs = builtin.instruction_pairs()
    assert len(pairs) > 200
    for pair in pairs:
        assert task(pair.prompt).score(pair.chosen) > task(pair.prompt).score(pair.rejected) + 0.1
    assert len({p.id for p in pairs}) == len(pairs)


def test_length_alone_does_not_decide() -> None:
    """The longer answer wins about as often as it loses: no more than 60 % either way."""
    pairs = [*builtin.instruction_pairs(), *builtin.instruction_pairs("validation")]
    gap = [len(instructions.words(p.chosen)) - len(instructions.words(p.rejected)) for p in pairs]
    longer = np.mean([g > 0 for g in gap if g])
    assert 0.4 < longer < 0.6
    assert abs(np.mean(gap)) < 2


def test_best_against_worst_leaves_out_ties_and_lonely_answers() -> None:
    (pair,) = builtin.best_pairs(GROUPS)
    assert (pair.chosen, pair.rejected, pair.score_w, pair.score_l) == ("a", "c", 0.9, 0.1)
    assert pair.id == "one-0-2"


def test_all_pairs_above_a_gap_have_winners_first() -> None:
    found = [(p.chosen, p.rejected) for p in builtin.all_pairs(GROUPS, gap=0.25)]
    assert found == [("a", "b"), ("a", "c"), ("b", "c"), ("d", "c")]


def test_rejection_sampling_keeps_the_good_ones_when_cold() -> None:
    """At a low temperature two accepted are the two best: 0.9 and 0.7."""
    cold = builtin.accepted_pairs(GROUPS, Key(("t",)), temperature=1e-3, keep=2)
    assert [(p.chosen, p.rejected) for p in cold] == [("a", "d")]


def test_the_frequencies_of_rejection_sampling_follow_its_law() -> None:
    """Three answers, two kept, τ = 0.5.  The first sweep takes the best, and each other with
    probability e^(−gap/τ) in order; if both failed, the second takes the second best for sure.

    P(worst kept) = P(middle refused, worst taken at once) = (1 − p) q.  5 standard errors.
    """
    groups = [TextGroup("p", "abc", (0.9, 0.5, 0.1), str(i)) for i in range(3000)]
    found = builtin.accepted_pairs(groups, Key(("law",)), temperature=0.5, keep=2)
    p, q = np.exp(-0.8), np.exp(-1.6)
    share, expected = np.mean([x.rejected == "c" for x in found]), (1 - p) * q
    assert len(found) == 3000
    assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / 3000)


def test_pairs_of_an_address_are_always_the_same() -> None:
    groups = builtin.instruction_groups()
    first = builtin.accepted_pairs(groups, Key(("a",)))
    assert first == builtin.accepted_pairs(groups, Key(("a",)))
    assert first != builtin.accepted_pairs(groups, Key(("b",)))


def test_another_split_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="the test split has prompts only"):
        builtin.instruction_groups("test")
