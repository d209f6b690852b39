"""The page of rewards tells of all of them."""

from scoreward.rewards.catalogue import NAMES
from tests.structure.source import text


def test_every_reward_has_its_row_on_the_page() -> None:
    page = text("docs/rewards.md") or ""
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    listed = {word.split("=")[0] for row in rows for word in row.replace("`", "").split(", ")}
    assert {word.strip() for word in listed} == set(NAMES)
