"""Pairs from rewards, splits by prompt, each pair once, pairs as halves."""

from collections import Counter
from math import exp, isclose
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreward.data.preferences.files import read_text_pairs, write
from scoreward.data.preferences.making import (
    BestWorst,
    PairMaker,
    Rejection,
    RewardGap,
    Rule,
    win_rates,
)
from scoreward.data.preferences.records import (
    ImageGroup,
    ImagePair,
    PreferenceError,
    TextGroup,
    TextPair,
)
from scoreward.data.preferences.sorting import (
    divided,
    image_halves,
    key_of,
    once,
    split,
    text_halves,
)
from scoreward.data.prompts import share_of
from tests.preferences.conftest import picture

RULES = (
    BestWorst(),
    RewardGap(),
    RewardGap(0.4),
    Rejection(),
    Rejection(best_worst=True),
    Rejection(5.0, 2),
)
REWARDS = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=7)
COARSE = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=7)


class Given(Random):
    """Uniform numbers from a list."""

    def __init__(self, *numbers: float) -> None:
        super().__init__(0)
        self.left = list(numbers)

    def random(self) -> float:
        return self.left.pop(0)


def group(rewards: list[float], prompt: str = "p", known: str = "g") -> TextGroup:
    return TextGroup(prompt, [f"answer {i}" for i in range(len(rewards))], rewards, known)


@given(REWARDS | COARSE, st.sampled_from(RULES), st.integers(0, 3))
def test_every_winner_has_the_greater_reward(rewards: list, rule: Rule, seed: int) -> None:
    for pair in PairMaker([group(rewards)], rule, seed=seed):
        i, j = (int(text.split()[1]) for text in (pair.chosen, pair.rejected))
        assert rewards[i] > rewards[j]
        assert (pair.score_w, pair.score_l) == (rewards[i], rewards[j])
        assert pair.id == f"g:{i}>{j}"


@given(COARSE)
def test_all_pairs_are_all_that_differ(rewards: list) -> None:
    found = {(p.chosen, p.rejected) for p in PairMaker([group(rewards)], RewardGap())}
    counts = Counter(rewards)
    ties = sum(n * (n - 1) // 2 for n in counts.values())
    assert len(found) == len(rewards) * (len(rewards) - 1) // 2 - ties


def test_a_gap_must_be_exceeded() -> None:
    found = [(p.chosen, p.rejected) for p in PairMaker([group([0.0, 1.0, 1.5])], RewardGap(1.0))]
    assert found == [("answer 2", "answer 0")]


def test_best_against_worst() -> None:
    (pair,) = PairMaker([group([0.5, 0.9, 0.1, 0.7])], BestWorst())
    assert (pair.chosen, pair.rejected) == ("answer 1", "answer 2")
    assert list(PairMaker([group([1.0, 1.0])], BestWorst())) == []


def test_the_known_trace_of_rejection_sampling() -> None:
    """[rso] (sampling): 0, 1 and 3 are accepted, so the worst of all, 2, is in no pair."""
    draws = (0.10, 0.60, 0.30, 0.90, 0.20, 0.50, 0.40)
    random = Given(*draws)
    rule = Rejection(temperature=0.5, count=3, best_worst=True)
    assert rule([0.9, 0.5, 0.1, 0.7], random) == [(0, 1)]
    assert random.left == []
    pairs = Rejection(temperature=0.5, count=3)([0.9, 0.5, 0.1, 0.7], Given(*draws, *[0.5] * 9))
    assert len(pairs) == 1
    assert set(pairs[0]) < {0, 1, 3}


def test_what_is_random_depends_on_the_seed_and_the_prompt_alone() -> None:
    groups = [group([float(i) for i in range(8)], f"p{k}") for k in range(6)]

    def chosen(seed: int, rule: Rule) -> list[str]:
        return [p.chosen for p in PairMaker(groups, rule, most=2, seed=seed)]

    for rule in (RewardGap(), Rejection(3.0, 4)):
        assert chosen(0, rule) == chosen(0, rule)
        assert chosen(0, rule) != chosen(1, rule)
    (first,) = {
        tuple(p.chosen for p in PairMaker(groups[:1], RewardGap(), most=2)) for _ in range(3)
    }
    assert list(first) == chosen(0, RewardGap())[:2]


def test_no_prompt_gets_more_than_its_share() -> None:
    groups = [group([1.0, 2.0, 3.0, 4.0], p) for p in "aabac"]
    making = PairMaker(groups, RewardGap(), most=4)
    pairs = list(making)
    assert Counter(p.prompt for p in pairs) == {"a": 4, "b": 4, "c": 4}
    assert vars(making.tally) == {"groups": 5, "barren": 0, "pairs": 12, "over": 18}
    assert len({p.id + p.prompt for p in pairs}) == 12
    flat = PairMaker([group([1.0, 1.0]), group([1.0, 2.0])], RewardGap())
    assert len(list(flat)) == 1
    assert (flat.tally.groups, flat.tally.barren) == (2, 1)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=8))
def test_win_rates_are_means_of_pairwise_chances(rewards: list) -> None:
    """[capo] (calibrated reward): against the sum by hand; all of them average one half."""
    rates = win_rates(rewards)
    by_hand = [
        sum(1 / (1 + exp(s - r)) for j, s in enumerate(rewards) if j != i) / (len(rewards) - 1)
        for i, r in enumerate(rewards)
    ]
    assert all(isclose(a, b, abs_tol=1e-12) for a, b in zip(rates, by_hand))
    assert isclose(sum(rates) / len(rates), 0.5, abs_tol=1e-12)


def test_win_rates_stay_finite_and_in_order() -> None:
    rates = win_rates([1e300, 0.0, -1e300])
    assert rates == [1.0, 0.5, 0.0]


def test_pictures_need_to_know_which_reward() -> None:
    images = [picture(i) for i in range(3)]
    several = ImageGroup("p", images, {"a": [1.0, 2.0, 3.0], "b": [30.0, 20.0, 10.0]})
    (pair,) = PairMaker([several], BestWorst(), reward="b")
    assert (pair.winner, pair.score_w, pair.source) == (images[0], 30.0, "b")
    with pytest.raises(PreferenceError, match="rewards a, b; choose one with --reward"):
        list(PairMaker([several], BestWorst()))
    with pytest.raises(PreferenceError, match="no reward 'c'; it has a, b"):
        list(PairMaker([several], BestWorst(), reward="c"))
    (pair,) = PairMaker([several], BestWorst(), calibrated=True)
    assert pair.winner is images[0]  # b is surer of its order than a
    assert pair.source == "win rate by a and b"
    assert pair.score_w == pytest.approx((win_rates([1, 2, 3])[0] + win_rates([30, 20, 10])[0]) / 2)


def test_wrong_settings_are_refused() -> None:
    for wrong, why in (
        (lambda: RewardGap(-1.0), "`above` must be at least 0, got -1"),
        (lambda: Rejection(0.0), "`temperature` must be above 0"),
        (lambda: Rejection(1.0, 1), "`count` at least 2, got 1.0 and 1"),
        (lambda: PairMaker([], RewardGap(), most=0), "`most` must be at least 1, got 0"),
        (lambda: split([], 1.0), "between 0 and 1, got 1.0"),
        (lambda: win_rates([1.0]), "at least two candidates"),
    ):
        with pytest.raises(PreferenceError, match=why):
            wrong()


PROMPTS = st.lists(st.text("abc", min_size=1, max_size=2), min_size=1, max_size=30)


@given(PROMPTS, st.floats(0.05, 0.95))
def test_no_prompt_is_on_both_sides(prompts: list, share: float) -> None:
    pairs = [TextPair(p, str(i), "no") for i, p in enumerate(prompts)]
    kept, out = split(pairs, share)
    assert sorted([*kept, *out]) == list(range(len(pairs)))
    assert not {prompts[i] for i in kept} & {prompts[i] for i in out}
    assert all((share_of(prompts[i]) < share) for i in out)


@given(PROMPTS, st.floats(0.05, 0.95))
def test_some_prompt_is_on_either_side(prompts: list, share: float) -> None:
    pairs = [TextPair(p, str(i), "no") for i, p in enumerate(prompts)]
    if len(set(prompts)) < 2:
        with pytest.raises(PreferenceError, match="records are for one prompt"):
            divided(pairs, share)
        return
    made = divided(pairs, share)
    kept, out = made.kept, made.away
    assert kept
    assert out
    assert sorted([*kept, *out]) == list(range(len(pairs)))
    inside, outside = {prompts[i] for i in kept}, {prompts[i] for i in out}
    assert not inside & outside
    assert max(map(share_of, outside)) < min(map(share_of, inside))
    usual = split(pairs, share)
    assert (kept, out) == usual or not all(usual)


def test_the_share_is_kept_over_many_prompts() -> None:
    """The hash is uniform: 2000 prompts at 0.2 give 400 ± 5 standard deviations."""
    pairs = [TextPair(f"prompt {i}", "a", "b") for i in range(2000)]
    assert abs(len(split(pairs, 0.2)[1]) - 400) < 5 * (2000 * 0.2 * 0.8) ** 0.5


def test_chats_are_split_by_all_that_was_said() -> None:
    one = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    other = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    assert key_of(one) != key_of(other)
    assert key_of(one) == key_of([dict(reversed(m.items())) for m in one])


def test_each_pair_once() -> None:
    a, b = picture(1), picture(2)
    pairs = [ImagePair("p", a, b), ImagePair("p", b, a), ImagePair("q", a, b),
             ImagePair("p", a.copy(), b.copy(), 1.0, 0.0, "other id")]  # fmt: skip
    assert once(pairs) == [0, 1, 2]
    texts = [TextPair("p", "ab", "c"), TextPair("p", "a", "bc"), TextPair("p", "ab", "c")]
    assert once(texts) == [0, 1]


def test_a_pair_of_texts_is_one_wanted_and_one_unwanted() -> None:
    found = list(text_halves([TextPair("p", "a", "b", id="1"), TextPair("q", "c", "a")]))
    assert [(h.prompt, h.completion, h.desirable) for h in found] == [
        ("p", "a", True), ("p", "b", False), ("q", "c", True), ("q", "a", False)
    ]  # fmt: skip


def test_a_picture_that_won_once_is_wanted() -> None:
    """[diffusion-kto] (labels): won once and lost twice is wanted; never won is not."""
    a, b, c = (picture(i) for i in range(3))
    pairs = [ImagePair("p", a, b), ImagePair("p", b.copy(), c), ImagePair("p", a, b),
             ImagePair("q", c, a)]  # fmt: skip
    found = list(image_halves(pairs))
    names = {picture(i).tobytes(): n for i, n in enumerate("abc")}
    told = {(h.prompt, names[h.image.tobytes()]): (h.desirable, h.wins, h.losses) for h in found}
    assert told == {
        ("p", "a"): (True, 2, 0),
        ("p", "b"): (True, 1, 2),
        ("p", "c"): (False, 0, 1),
        ("q", "c"): (True, 1, 0),
        ("q", "a"): (False, 0, 1),
    }
    assert len(found) == 5


@given(st.lists(COARSE, min_size=1, max_size=6))
@settings(max_examples=15)
def test_from_groups_to_a_file_and_back(
    tmp_path_factory: pytest.TempPathFactory, all: list
) -> None:
    making = PairMaker([group(r, f"p{i}") for i, r in enumerate(all)], RewardGap(0.4))
    wanted = list(making)
    path = Path(tmp_path_factory.mktemp("made")) / "pairs.parquet"
    if wanted:
        assert write(path, making) == making.tally.pairs
        assert list(read_text_pairs(path)) == wanted
