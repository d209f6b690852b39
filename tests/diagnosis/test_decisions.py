"""The one place that says better, worse, hacked: intervals, limits from both sides."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scoreward.records.run import (
    HeldApart,
    RunAbout,
    RunProgress,
    SavedRun,
)
from scoreward.verdict.decisions import (
    COARSE,
    LEAST,
    Ends,
    Moved,
    ends,
    hack_of,
    moves,
)
from scoreward.verdict.health import check_run
from scoreward.verdict.outcome import headline, outcome, verdict
from tests.diagnosis.made_up import rows, run_of


def moved(
    change: Sequence[float] | np.ndarray, spread: float = 1.0, name: str = "judge", **given: Any
) -> Moved:
    """A score whose rows changed by so much, from evenly spread ones of this deviation."""
    start = np.linspace(-1, 1, len(change))
    start = 0.5 + (start / start.std() * spread if len(change) > 1 else start)
    unseen = bool(given.pop("unseen", True))
    before, after = (rows({name: v.tolist()}, **given) for v in (start, start + np.asarray(change)))
    return moves([before], [after], unseen)[name]


def told(name: str, side: str) -> Moved:
    """A change of a known side."""
    interval = {"up": (0.1, 0.3), "down": (-0.3, -0.1), "same": (-0.1, 0.1), "few": (-9.0, 9.0)}
    middle = 0.2 * ((side == "up") - (side == "down"))
    if side == "unknown":
        return Moved(name, 0.5, 0.7)
    return Moved(name, 0.5, 0.5 + middle, interval[side], 64, 64, spread=1.0)


# One number


def test_better_is_said_only_where_the_interval_excludes_zero() -> None:
    noise = np.random.default_rng(5).normal(0, 0.1, 64)
    noise -= noise.mean()
    half = 2.0 * 0.1 / 8
    sides = {shift: moved(noise + shift * half).side for shift in (1.4, 0.6, 0.0, -0.6, -1.4)}
    assert sides == {1.4: "up", 0.6: "same", 0.0: "same", -0.6: "same", -1.4: "down"}
    assert moved(noise + 0.1).better is True
    assert moved(noise - 0.1).better is False
    assert moved(noise).better is None


def test_lower_is_better_of_a_loss_and_neither_of_a_length() -> None:
    down = [-0.1] * 64
    assert moved(down, name="loss").word == "better"
    assert moved(down, name="judge").word == "worse"
    assert (moved(down, name="written_length").better, moved(down, name="written_length").word) == (
        *(None, "lower"),
    )


def test_fewer_than_eight_prompts_tell_nothing() -> None:
    assert moved([0.1] * LEAST).word == "better"
    few = moved([0.1] * (LEAST - 1))
    assert (few.side, few.word) == ("few", "not enough held-out prompts to tell")
    assert few.bare == "+0.100 [+0.100, +0.100]"
    assert few.counted == "7 prompts, 7 pictures"


def test_pictures_of_few_held_out_prompts_are_too_few_and_of_all_prompts_there_are_enough() -> None:
    groups = [i % 4 for i in range(64)]
    change = 0.1 + np.random.default_rng(6).normal(0, 0.01, 64)
    assert moved(change, groups=groups).side == "few"
    alone = moved(change, groups=groups, unseen=False)
    assert (alone.side, alone.within, alone.counted) == ("up", True, "4 prompts, 64 pictures")
    once = moved(change[:4], unseen=False)  # one picture each: no noise was drawn again
    assert (once.within, once.side) == (False, "few")


def test_a_wide_interval_around_zero_is_no_evidence_of_no_difference() -> None:
    """Half of an interval beyond half of the spread between prompts could hide a real change."""
    line, noise = np.linspace(-1, 1, 10), np.random.default_rng(8).normal(0, 1.0, 10)
    noise -= noise.mean() + line * (noise @ line) / (line @ line)  # both spreads add up in squares
    half = sum(abs(end) for end in moved(noise).interval or ()) / 2

    def at(spread: float) -> str:
        """Where the spread of the scores after the change is this one."""
        return moved(noise, spread=(spread**2 - noise.var()) ** 0.5).side

    assert (at(0.95 * half / COARSE), at(1.05 * half / COARSE)) == ("few", "same")


def test_an_untouched_model_shows_no_difference() -> None:
    same = moved([0.0] * 64)
    assert (same.interval, same.side, same.said) == (
        *((0.0, 0.0), "same", "stayed at 0.500 (+0.000 [+0.000, +0.000]): no difference seen"),
    )


def test_what_has_no_interval_says_why() -> None:
    before, after = rows({"judge": [0.1] * 20}), rows({"judge": [0.3] * 19 + [None]})
    assert "not all of it is finite" in moves([before], [after])["judge"].word
    other = rows({"judge": [0.1] * 20}, groups=[0, *range(19)])
    assert "other prompts" in moves([before], [other])["judge"].word
    shorter = rows({"judge": [0.1] * 19})
    assert "other prompts" in moves([before], [shorter])["judge"].word
    assert moves([before], []) == {}
    kept_nothing = Ends({"judge": 0.1}, {"judge": 0.3}).move("judge")
    assert kept_nothing is not None
    assert kept_nothing.word == "no interval: this run kept no numbers per prompt"


# Hacked


@pytest.mark.parametrize(
    ("reward", "judges", "hacked"),
    [
        ("up", ["up"], None),
        ("up", ["same"], False),
        ("up", ["down"], True),
        ("up", ["few"], None),
        ("up", ["unknown"], None),
        ("up", [], None),
        ("same", ["down"], None),
        ("few", ["down"], None),
        ("down", ["down"], None),
        ("down", ["same"], None),
        ("unknown", ["down"], None),
        ("up", ["up", "same"], None),
        ("up", ["up", "down"], True),
        ("up", ["few", "same"], False),
    ],
)
def test_hacked_is_a_reward_that_rises_without_what_judges_it(
    reward: str, judges: list[str], hacked: bool | None
) -> None:
    """Never where the reward fell, and never where the judge cannot tell."""
    found = hack_of(told("reward", reward), [told(f"judge_{i}", s) for i, s in enumerate(judges)])
    assert (None if found is None else found.fell) == hacked


def test_a_judge_that_says_the_same_of_everything_proves_nothing() -> None:
    silent = Moved("judge", 1.0, 1.0, (0.0, 0.0), 64, 64, spread=0.0)
    assert hack_of(told("reward", "up"), [silent]) is None


def test_of_pairs_the_accuracy_is_no_reward_to_hack() -> None:
    assert hack_of(told("accuracy", "up"), [told("success", "down")]) is None


def pair_of(**sides: str) -> Ends:
    found = {name: told(name, side) for name, side in sides.items()}
    before = {name: m.before for name, m in found.items()}
    return Ends(before, {name: m.after for name, m in found.items()}, found)


def test_what_is_trained_is_no_judge_of_it_whatever_it_is_called() -> None:
    pair = replace(
        pair_of(reward="up", clip="down", aesthetic="same", palette="down", written_length="down"),
        rewards=["clip"],
    )
    assert pair.trained == "reward"
    assert [m.name for m in pair.judges] == ["aesthetic"]
    assert outcome(pair)[1].startswith("The reward rose and the aesthetic did not: the reward was")
    alone = replace(pair_of(clip="up", judge="down"), rewards=["clip"])
    assert (alone.trained, alone.hacked is not None) == ("clip", True)


@pytest.mark.parametrize(
    ("sides", "level", "start"),
    [
        ({"reward": "up", "judge": "up"}, "ok", "Better, and the checks agree: judge +0.200 [+0.1"),
        ({"reward": "same", "judge": "up"}, "ok", "Better"),
        ({"reward": "up", "judge": "up", "palette": "down"}, "warn", "Better, at a price: judge"),
        ({"reward": "up", "judge": "down"}, "alarm", "The reward rose while the judge fell: the"),
        ({"reward": "up", "judge": "same"}, "alarm", "The reward rose and the judge did not: the"),
        ({"reward": "up", "judge": "few"}, "warn", "The reward rose; of the judge, not enough"),
        ({"reward": "up"}, "warn", "The reward rose; no judge was there to check it: reward +0.2"),
        ({"reward": "down", "judge": "same"}, "alarm", "Worse: reward −0.200 [−0.300, −0.100], 64"),
        ({"reward": "down"}, "alarm", "Worse: reward"),
        ({"reward": "same", "judge": "same"}, "warn", "No difference seen: judge +0.000 [−0.100"),
        ({"reward": "few", "judge": "few"}, "warn", "Not enough held-out prompts to tell: judge"),
        ({"reward": "unknown", "judge": "unknown"}, "warn", "No interval, so nothing is claimed"),
        ({"accuracy": "up"}, "ok", "Held-out pairs are told apart better: accuracy +0.200 [+0.100"),
        ({"accuracy": "up", "success": "down"}, "alarm", "Worse: success"),
        ({"accuracy": "same"}, "warn", "No difference seen: accuracy"),
        ({"saturated": "down", "plain_accuracy": "up"}, "ok", "Held-out pairs are told apart bet"),
    ],
)
def test_every_headline_has_its_interval_and_its_counts(
    sides: dict[str, str], level: str, start: str
) -> None:
    found = outcome(pair_of(**sides))
    assert (found[0], found[1][: len(start)]) == (level, start)
    assert "64 prompts, 64 pictures" in found[1] or "unknown" in sides.values()


def test_nothing_held_out_is_in_the_headline() -> None:
    for sides in ({"reward": "up", "judge": "up"}, {"reward": "up"}, {"accuracy": "up"}):
        level, said = outcome(replace(pair_of(**sides), moved={
            n: replace(told(n, s), unseen=False) for n, s in sides.items()
        }, unseen=False))  # fmt: skip
        assert (level, "training prompts; nothing was held out" in said) == ("warn", True)


# A run


def watched(run: SavedRun) -> tuple[str, str]:
    (finding,) = [f for f in check_run(run) if f.check == "reward_vs_judge"]
    return finding.level, finding.message


def test_the_live_view_and_the_report_say_one_thing_of_one_run() -> None:
    hacked = run_of(judge=[0.5, 0.4], reward=[0.5, 0.7])
    level, said = watched(hacked)
    assert level == "alarm"
    assert said.startswith(headline(hacked, ends(hacked, "ode"))[1])
    good = run_of(judge=[0.5, 0.6], reward=[0.5, 0.7])
    assert watched(good)[0] == headline(good, ends(good, "ode"))[0] == "ok"


def test_a_reward_that_fell_never_rises_without_the_judge() -> None:
    for judge in (0.3, 0.5, 0.45):
        level, said = watched(run_of(judge=[0.5, judge], reward=[0.5, 0.3]))
        assert (level, "not risen" in said) == ("ok", True)


def test_a_judge_that_cannot_tell_is_a_warning_and_no_hacking() -> None:
    level, said = watched(run_of(judge=[0.5, 0.4], reward=[0.5, 0.9], count=6))
    assert (level, "hacked" in said) == ("ok", False)  # of six prompts nothing is known at all
    flipped = [1.0, -1.0, 1.0, -1.0, 0.0, 1.0, -1.0, 1.0, -1.0]
    few = rows({"reward": [0.5] * 9, "judge": flipped})
    after = rows({"reward": [0.9] * 9, "judge": [-v for v in flipped]}, 10)
    run = replace(run_of(judge=[0.0, 0.0], reward=[0.5, 0.9], count=9), each=[few, after])
    assert watched(run) == (
        "warn",
        "The reward rises; of the judge, not enough held-out prompts to tell.",
    )


def test_a_judge_past_its_best_is_told_with_the_round() -> None:
    both = run_of(judge=[0.5, 0.7, 0.6], reward=[0.5, 0.6, 0.8])
    assert watched(both)[0] == "alarm"
    assert "best in round 10" in watched(both)[1]
    assert headline(both, ends(both, "ode"))[1].startswith("The best round was 10. Since then: The")
    still = run_of(judge=[0.5, 0.7, 0.6], reward=[0.5, 0.8, 0.8])
    assert watched(still)[0] == "warn"
    assert headline(still, ends(still, "ode"))[0] == "ok"
    assert any("Since its best, in round 10" in s for s in verdict(still, ends(still, "ode")))
    assert watched(run_of(judge=[0.5, 0.7, 0.7], reward=[0.5, 0.6, 0.8]))[0] == "ok"
    falling = run_of(judge=[0.7, 0.6, 0.5], reward=[0.5, 0.6, 0.8])  # it was best before training
    assert ends(falling, "ode").past is None


def test_the_best_of_many_evaluations_is_so_by_luck() -> None:
    """A flat judge over 30 evaluations: its best by chance accuses nobody, in 20 runs of 20."""
    rng, accused = np.random.default_rng(1), 0
    for _ in range(20):
        noise = rng.normal(0, 0.05, (31, 32))
        each = [
            rows({"reward": [0.01 * i] * 32, "judge": v.tolist()}, i) for i, v in enumerate(noise)
        ]
        run = run_of(judge=noise.mean(1).tolist(), reward=[0.01 * i for i in range(31)], count=32)
        found = [replace(e, at=RunProgress(i)) for i, e in enumerate(run.evaluations)]
        accused += ends(replace(run, each=each, evaluations=found), "ode").past is not None
    assert accused <= 2


def test_counts_and_reasons_stand_under_the_headline() -> None:
    run = run_of(judge=[0.5, 0.6], reward=[0.5, 0.7])
    assert "Intervals are 95 %, paired over 64 prompts, 64 pictures." in verdict(
        run, ends(run, "ode")
    )
    old = replace(run, each=[])
    assert "No interval: this run kept no numbers per prompt." in verdict(old, ends(old, "ode"))
    seen = replace(run, about=RunAbout(held_out=[HeldApart(0, True, "Nothing is held out.")]))
    assert "Nothing is held out." in verdict(seen, ends(seen, "ode"))
    assert "training prompts" in outcome(ends(seen, "ode"))[1]
