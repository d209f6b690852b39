"""The runner itself: it notices mistakes, and lets a change without effect through."""

from pathlib import Path

import pytest

from tests.mutations.run import ROOT, Mutation, copy, verdicts
from tests.support.matrix import mostly_long

RATIO = ("scoreward/core/ratio.py", ("tests/core/test_ratio.py",))
GAUSSIAN = ("scoreward/core/gaussian.py", ("tests/core/test_gaussian.py",))
CASES = {
    "a sign": (RATIO, "return -clipped_gain(", "return clipped_gain(", "noticed"),
    "a max for a min": (RATIO, "torch.minimum(", "torch.maximum(", "noticed"),
    "a mean for a sum": (
        GAUSSIAN,
        "log(2 * pi)\n        return nats.flatten(1).sum(1)",
        "log(2 * pi)\n        return nats.flatten(1).mean(1)",
        "noticed",
    ),
    "no effect": (RATIO, "return -clipped_gain(", "return -1.0 * clipped_gain(", "SURVIVED"),
    "no such name": (RATIO, "import torch\n", "import torhc\n", "BROKEN"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", mostly_long(CASES, ("a sign", "no effect")))
def test_a_mistake_is_noticed(name: str, tmp_path: Path) -> None:
    place, old, new, expected = CASES[name]
    copy(tmp_path)
    file, tests = place
    ((_, word, test),) = verdicts([Mutation(file, old, new, tests)], tmp_path)
    assert word == expected, test
    assert (tmp_path / file).read_text() == (ROOT / file).read_text()
