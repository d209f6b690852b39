"""What counts as the published number, and what a table inherits."""

from typing import Any

import pytest

from scoreward.published import agrees, tables


@pytest.mark.parametrize(
    ("key", "theirs", "mine", "same"),
    [
        ("kl", 0.04, 0.04 * (1 + 9e-10), True),
        ("kl", 0.04, 0.04 * (1 + 2e-9), False),
        ("steps", 10, 10.0, True),
        ("kl", 0.0, False, False),
        ("ema", True, 1, False),
        ("betas", [0.9, 0.999], (0.9, 0.999), True),
        ("betas", [0.9, 0.999], (0.999, 0.9), False),
        ("betas", [0.9, 0.999], (0.9,), False),
        ("clip", [0.006, 0.01], 0.008, True),
        ("clip", [0.006, 0.01], 0.0101, False),
        ("clip", [0.006, 0.01], 0.0059, False),
        ("clip", [0.01, 0.006], 0.008, False),
        ("clip", 0.01, None, False),
        ("sampler", "dpmpp_2m", "dpmpp", True),
        ("sampler", "sa_solver", "dpmpp", False),
        ("reward", {"pickscore": 1.0}, {"pickscore": 1.0}, True),
    ],
)
def test_what_agrees(key: str, theirs: Any, mine: Any, same: bool) -> None:
    assert agrees(key, theirs, mine) is same


def test_a_word_that_means_a_number_means_no_other() -> None:
    """A setting with its own word for a published number still drifts."""
    assert agrees("truncation_mean", 42.0, 0.84)
    assert not agrees("truncation_mean", 42.0, 0.85)
    assert not agrees("truncation_mean", 41.0, 0.84)


def test_what_a_table_inherits_stands_where_it_is_silent() -> None:
    table = tables()["flow_grpo.sd35.pickscore"]
    assert (table["kl"], table["clip"], table["entry"]) == (0.01, 1e-4, "pickscore_sd3")
    assert len(tables()) == 148
