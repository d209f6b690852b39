"""docs/compatibility.json covers every family, every column and the installed versions."""

from importlib.metadata import version

from scoreward.models.diffusers import FAMILIES
from scoreward.models.diffusers.versions import OLDEST
from tests.families import tiny
from tests.families.test_export import LOADABLE
from tests.families.test_upstream import GUIDED
from tools.compatibility import COLUMNS, COMBINATIONS
from tools.compatibility_page import HEADS, PAGE, page, read

AGAIN = "run `make compatibility` (or `python -m tools.compatibility --only VERSION_OF_DIFFUSERS`)"
UNTESTED = {(n, "guided") for n in tiny.PIPELINES if n not in GUIDED} | {
    (n, "adapters") for n in tiny.PIPELINES if n not in LOADABLE
}


def test_every_family_has_a_tiny_pipeline() -> None:
    assert tiny.CLASSES.keys() == tiny.PIPELINES.keys()
    without = [f.__name__ for f in FAMILIES if not set(f.pipelines) & set(tiny.CLASSES.values())]
    assert not without


def test_the_results_cover_every_family_and_every_column() -> None:
    assert HEADS.keys() | {"refused"} == COLUMNS.keys()
    for table in read():
        assert table["finished"], f"diffusers {table['diffusers']} ran out of time; {AGAIN}"
        families = table["families"]
        assert families.keys() == tiny.PIPELINES.keys(), f"pipelines are missing; {AGAIN}"
        assert all(row.keys() == COLUMNS.keys() for row in families.values()), AGAIN
        none = {(n, c) for n, row in families.items() for c, word in row.items() if word == "none"}
        assert none == UNTESTED, f"tests are missing; {AGAIN}"


def test_the_installed_versions_are_among_the_results() -> None:
    installed = version("diffusers"), version("transformers")
    known = [(t["diffusers"], t["transformers"]) for t in read()]
    assert installed in known, (
        f"diffusers {installed[0]} with transformers {installed[1]} is not in "
        f"docs/compatibility.json; add it to COMBINATIONS in tools/compatibility.py and {AGAIN}"
    )


def test_every_combination_was_run_and_nothing_failed() -> None:
    tables = read()
    known = [(t["diffusers"], t["transformers"]) for t in tables]
    assert known == [(c.diffusers, c.transformers) for c in COMBINATIONS], AGAIN
    for table in tables:
        assert table["failures"] == {}, f"diffusers {table['diffusers']}: {table['failures']}"
        for name, row in table["families"].items():
            words = set(row.values()) - {"none"}
            there = row["loads"] == "passed"
            assert words == ({"passed"} if there else {"absent", "passed"}), (name, row)
            assert row["refused"] == "passed"
            assert there == (name not in table["absent"])
    assert not tables[-1]["absent"]


def test_the_first_version_of_every_adapter_was_run() -> None:
    minors = [tuple(int(n) for n in t["diffusers"].split(".")[:2]) for t in read()]
    assert minors[0] == OLDEST
    assert {family.since for family in FAMILIES} <= set(minors)


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(read()), (
        "run `python -m tools.compatibility_page`"
    )
