"""Each rule on made-up records: what it says, and that it is silent where it should be."""

from typing import Any

import pytest

from scoreward.records.reading import probed
from scoreward.records.run import ReferenceCurve
from scoreward.verdict.causes import diagnose
from scoreward.verdict.decisions import SATURATED, ends
from scoreward.verdict.evidence import Cause, Evidence, trend
from scoreward.verdict.settings import reference_gain
from tests.diagnosis.made_up import run_of

GOOD = {
    "groups/zero_variance": 0.1,
    "reward/std": 0.1,
    "reward/std_in_group": 0.08,
    "gradient/norm": 0.3,
    "advantage/agreement": 0.97,
    "update/relative": 1e-3,
    "learning_rate": 2e-4,
}
STEP = {"gain": 0.04, "error": 0.005, "broken": False, "learns": True, "rewards": []}
FLAT = STEP | {"gain": 0.0005, "error": 0.002, "learns": False}


def rounds(rise: float = 0.1, count: int = 20, **changes: Any) -> list[dict[str, float]]:
    """A run whose reward rises evenly, with a little noise."""
    noise = (0.004, -0.003, 0.001, -0.004, 0.002)
    return [
        GOOD | changes | {"reward/mean": 0.9 + rise * i / (count - 1) + noise[i % 5]}
        for i in range(count)
    ]


def first(**given: Any) -> str:
    return diagnose(evidence(**given))[0].name


def evidence(**given: Any) -> Evidence:
    """With a probe and a reference as files hold them."""
    if "probe" in given:
        given["probe"] = probed(given["probe"])
    if "reference" in given:
        given["reference"] = ReferenceCurve(**given["reference"])
    return Evidence(**given)


def ladder(**steps: dict[str, Any]) -> dict[str, Any]:
    """A probe's ladder: f001=… is the factor 0.01, f1 is 1, f100 is 100."""
    factors = {"f001": 0.01, "f01": 0.1, "f1": 1.0, "f10": 10.0, "f100": 100.0}
    return {"ladder": [{"factor": factors[n], **s} for n, s in steps.items()]}


def test_a_straight_line_has_its_rise_and_no_noise_of_its_own() -> None:
    rise, error = trend([0.0, 1.0, 2.0, 3.0, 4.0])
    assert rise == pytest.approx(4.0)
    assert error == pytest.approx(4 * 2**-0.5 / 10**0.5)  # steps of 1 are taken for noise
    assert trend([1.0, 2.0, 3.0])[1] == float("inf")


def test_noise_alone_is_no_trend() -> None:
    rise, error = trend([0.1, -0.1] * 10)
    assert abs(rise) < 3 * error


def test_a_rising_reward_is_fine() -> None:
    (cause,) = diagnose(Evidence(rounds()))
    assert (cause.name, cause.kind) == ("none", "fine")
    assert "rises by" in cause.seen


def test_three_rounds_are_no_trend() -> None:
    (cause,) = diagnose(Evidence(rounds(count=3)))
    assert cause.seen == "There are too few rounds to see a trend, and no check complains."


def test_without_rounds_there_is_nothing_to_say() -> None:
    assert first(rounds=[]) == "no_rounds"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"groups/zero_variance": 0.95}, "constant_reward"),
        ({"gradient/norm": 0.0}, "frozen"),
        ({"update/relative": 0.0}, "frozen"),
        ({"weights/disagreement": 1e-3}, "unsynced"),
        ({"advantage/agreement": 0.1}, "misaligned"),
        ({"advantage/agreement": -0.9}, "sign"),
        ({"first/ratio/min": 0.9, "first/ratio/max": 1.2}, "mismatch"),
        ({"clip/above": 0.4, "clip/below": 0.5}, "clipped"),
    ],
)
def test_records_alone_tell(changes: dict[str, Any], expected: str) -> None:
    assert first(rounds=rounds(rise=0, **changes)) == expected


def test_a_flat_gradient_of_a_constant_reward_is_not_called_frozen() -> None:
    flat: Any = {"gradient/norm": 0.0, "reward/std_in_group": 0.0, "groups/zero_variance": 1.0}
    names = [c.name for c in diagnose(Evidence(rounds(rise=0, **flat)))]
    assert names[0] == "constant_reward"
    assert "frozen" not in names


def test_solved_groups_do_not_make_rewards_look_misaligned() -> None:
    """Where all rewards of the groups agree, their correlation with anything is 0."""
    flat = {"groups/zero_variance": 0.95, "advantage/agreement": 0.0, "reward/mean": 1.0}
    solved = [GOOD | flat for _ in range(9)]
    early = rounds(count=11, **{"advantage/agreement": 0.9})  # pyright: ignore
    assert first(rounds=[*early, *solved]) == "none"


def test_rewards_of_other_samples_are_not_called_a_wrong_sign() -> None:
    wrong: Any = {"advantage/agreement": 0.1}
    assert "sign" not in [c.name for c in diagnose(Evidence(rounds(rise=0, **wrong)))]


def test_a_ratio_off_later_is_an_old_policy_that_stayed() -> None:
    later = [*rounds(count=10), GOOD | {"reward/mean": 1.0, "first/ratio/max": 1.3}]
    later[-1]["first/ratio/min"] = 0.8
    assert first(rounds=later) == "stale_old"
    refused = {"ratio/min": 0.8, "ratio/max": 1.3, "before_update": 1.0}
    assert first(rounds=rounds(count=10), failure=refused) == "stale_old"
    assert first(rounds=[], failure=refused) == "mismatch"


def test_an_exploded_ratio_is_not_called_stale() -> None:
    refused = {"ratio/min": 0.0, "ratio/max": 30.0}
    reason = "the likelihood ratio exploded in round 11"
    assert first(rounds=rounds(count=10), failure=refused, reason=reason) == "diverged"


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        ({"redrawn": 0.2, **ladder(f1=STEP)}, "mismatch"),
        ({"rescored": 0.5, **ladder(f1=STEP)}, "misaligned"),
        (ladder(f001=STEP, f1=FLAT | {"broken": True}), "rate_too_high"),
        (ladder(f01=STEP, f1=FLAT | {"gain": -0.5}), "rate_too_high"),
        (ladder(f1=FLAT, f100=STEP), "rate_too_low"),
        (ladder(f1=FLAT | {"gain": -0.05}, f100=FLAT | {"gain": -0.3}), "sign"),
        (ladder(f001=FLAT, f1=STEP, f100=FLAT | {"broken": True}), "none"),
        ({"signal_to_noise": 0.01, **ladder(f1=FLAT, f100=FLAT)}, "noise"),
    ],
)
def test_the_probe_tells(probe: dict[str, Any], expected: str) -> None:
    assert first(rounds=rounds(rise=0), probe=probe) == expected


def test_advice_names_the_rate_that_learned() -> None:
    probe = ladder(f01=FLAT, f1=FLAT, f10=STEP, f100=STEP)
    cause = diagnose(evidence(rounds=rounds(rise=0), probe=probe, reference={"lr": 3e-4}))[0]
    assert "up to 10 times" in cause.advice
    assert "0.0003" in cause.advice


def test_without_a_probe_a_rate_far_from_the_references_is_named() -> None:
    slow = rounds(rise=0, learning_rate=2e-6)
    assert first(rounds=slow, reference={"lr": 2e-4}) == "rate_too_low"
    fast = rounds(rise=-0.3, learning_rate=2e-2)
    assert first(rounds=fast, reference={"lr": 2e-4}) == "rate_too_high"
    assert first(rounds=rounds(learning_rate=2e-2), reference={"lr": 2e-4}) == "none"


def test_a_run_is_held_against_the_reference_at_equal_evaluations() -> None:
    reference = {
        "reward": [0.9 + 0.01 * i for i in range(40)],
        "evaluations": [1000.0 * (i + 1) for i in range(40)],
    }
    spent = [1000.0 * (i + 1) for i in range(20)]
    slow = evidence(rounds=rounds(rise=0.01), reference=reference, spent=spent)
    assert reference_gain(slow) == pytest.approx(0.19)
    assert diagnose(slow)[0].name == "behind_reference"
    assert first(rounds=rounds(rise=0.18), reference=reference, spent=spent) == "none"


def test_a_reward_that_rises_without_the_judge_is_hacking() -> None:
    def told(judge: float) -> list[Cause]:
        run = run_of(judge=[0.9, judge], reward=[0.9, 0.97])
        return diagnose(evidence(rounds=rounds(), ends=ends(run, "ode")))

    assert [c.name for c in told(0.88)] == [c.name for c in told(0.9)] == ["hacking"]
    assert told(0.88)[0].seen.startswith("The reward rose while the judge fell: the reward was")
    assert told(0.95)[0].name == "none"


def test_pairs_decided_before_training_and_a_rising_loss_are_causes() -> None:
    assert first(rounds=rounds(), saturated=SATURATED[0]) == "saturated"
    assert first(rounds=rounds(), saturated=SATURATED[0] - 0.01) == "none"
    for last, name in ((2.0, "diverging"), (0.7, "none")):
        rising = [r | {"loss": v} for r, v in zip(rounds(), [0.7] * 16 + [last] * 4, strict=True)]
        stored = [{k: v for k, v in r.items() if not k.startswith("reward")} for r in rising]
        assert first(rounds=stored) == name


def test_flat_groups_are_said_to_be_so_from_the_first_round_on() -> None:
    flat: Any = {"groups/zero_variance": 0.95}
    always = diagnose(evidence(rounds=rounds(rise=0, **flat)))
    assert "from the first round on" in always[0].seen
    later = rounds(rise=0, **flat)
    later[0] = later[0] | {"groups/zero_variance": 0.0}
    assert "from the first round on" not in diagnose(evidence(rounds=later))[0].seen


def test_bugs_come_before_settings() -> None:
    wrong: Any = {"weights/disagreement": 0.1, "clip/above": 0.95, "clip/below": 0.0}
    broken = rounds(rise=0, **wrong)
    assert [c.kind for c in diagnose(Evidence(broken))] == ["bug", "setting"]
    flat: Any = {"groups/zero_variance": 0.95, "weights/disagreement": 0.1}
    names = [c.name for c in diagnose(Evidence(rounds(rise=0, **flat)))]
    assert names[:2] == ["unsynced", "constant_reward"]
