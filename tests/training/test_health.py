"""The health panel: every check at every level, each with a plain sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreward.verdict.health import Finding, check_round, level_of

WHOLE = {
    "first/ratio/min": 1.0,
    "first/ratio/max": 1.0,
    "ratio/min": 1.0,
    "ratio/max": 1.0,
    "groups/zero_variance": 0.0,
    "clip/above": 0.0,
    "clip/below": 0.0,
    "drift/velocity": 0.0,
    "sample/rms": 2.0,
}


def found(check: str, **metrics: float) -> Finding:
    """The finding of one check; dots stand for the slashes of metric names."""
    changed = {name.replace("__", "/"): value for name, value in metrics.items()}
    (finding,) = [f for f in check_round(WHOLE | changed, WHOLE) if f.check == check]
    return finding


def test_a_level_begins_at_its_limit() -> None:
    assert [level_of(v, 1.0, 2.0) for v in (0.9, 1.0, 1.9, 2.0)] == ["ok", "warn", "warn", "alarm"]


@pytest.mark.parametrize(
    ("check", "metrics", "levels"),
    [
        ("ratio", "first__ratio__max", {1.0: "ok", 1.00002: "warn", 1.001: "alarm"}),
        ("ratio", "first__ratio__min", {1.0: "ok", 0.99998: "warn", 0.999: "alarm"}),
        ("replay", "first__ratio__max", {1.0: "ok", 1.00002: "warn", 1.001: "alarm"}),
        ("replay", "first__ratio__min", {1.0: "ok", 0.99998: "warn", 0.999: "alarm"}),
        ("ratio_spread", "ratio__max", {1.9: "ok", 2.1: "warn", 6.1: "alarm"}),
        ("ratio_spread", "ratio__min", {0.6: "ok", 0.4: "warn", 0.1: "alarm", 0.0: "alarm"}),
        ("zero_variance", "groups__zero_variance", {0.4: "ok", 0.5: "warn", 0.95: "alarm"}),
        ("clip", "clip__above", {0.3: "ok", 0.5: "warn", 0.9: "alarm"}),
        ("clip", "clip__below", {0.3: "ok", 0.5: "warn", 0.9: "alarm"}),
        ("drift", "drift__velocity", {0.04: "ok", 0.06: "warn", 0.3: "alarm"}),
        ("sample_norm", "sample__rms", {2.2: "ok", 2.4: "warn", 1.6: "warn", 2.9: "alarm"}),
    ],
)
def test_each_check_has_its_levels(check: str, metrics: str, levels: dict[float, str]) -> None:
    assert {value: found(check, **{metrics: value}).level for value in levels} == levels


def test_clips_above_and_below_add_up() -> None:
    assert found("clip", clip__above=0.25, clip__below=0.25).value == 0.5
    assert found("clip", clip__above=0.25, clip__below=0.25).level == "warn"


def test_the_replay_gap_is_in_nats_and_the_ratio_gap_is_not() -> None:
    assert found("replay", first__ratio__min=0.5).value == pytest.approx(0.6931, abs=1e-4)
    assert found("ratio", first__ratio__min=0.5).value == 0.5


def test_a_metric_that_is_absent_is_not_judged() -> None:
    assert check_round({"loss": 1.0}, {}) == []
    assert {f.check for f in check_round(WHOLE, {})} == {
        *("ratio", "replay", "ratio_spread", "zero_variance", "clip", "drift")
    }


def test_a_healthy_round_is_ok_in_seven_sentences() -> None:
    findings = check_round(WHOLE, WHOLE)
    assert [f.level for f in findings] == ["ok"] * 7
    assert all(f.message[0].isupper() and f.message.endswith(".") for f in findings)
    assert len({f.message for f in findings}) == 7


def test_a_warning_says_something_else_than_an_alarm() -> None:
    messages = [found("drift", drift__velocity=v).message for v in (0.0, 0.1, 1.0)]
    assert len(set(messages)) == 3
    assert "diversity" in messages[1]
    assert "left its start behind" in messages[2]


@given(st.floats(0.0, 100.0))
def test_levels_never_fall_as_a_value_rises(value: float) -> None:
    order = ["ok", "warn", "alarm"]
    assert order.index(level_of(value, 1, 2)) <= order.index(level_of(value + 0.5, 1, 2))
