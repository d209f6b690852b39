"""The size budget: small functions, few parameters, short files, nothing written twice."""

from collections import defaultdict
from statistics import median

from tests.structure.source import files, functions, python_files, text

LIBRARY = ("scoreward",)
EVERYTHING = ("scoreward", "tests", "tools", "benchmarks", "examples")


def test_the_median_function_has_at_most_10_lines() -> None:
    assert median(place.lines for place in functions(*LIBRARY)) <= 10


def test_at_least_95_percent_of_functions_are_under_50_lines() -> None:
    places = functions(*LIBRARY)
    long = [f"{place}: {place.lines} lines" for place in places if place.lines >= 50]
    assert len(long) <= 0.05 * len(places), "\n".join(long)


def test_no_function_is_longer_than_80_lines() -> None:
    assert not [f"{p}: {p.lines} lines" for p in functions(*EVERYTHING) if p.lines > 80]


def test_no_function_has_more_than_8_parameters() -> None:
    places = functions(*EVERYTHING)
    assert not [f"{p}: {p.parameters} parameters" for p in places if p.parameters > 8]


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {name: (text(name) or "").count("\n") for name in python_files(*EVERYTHING)}
    assert not {name: lines for name, lines in lengths.items() if lines > 400}


def test_no_two_functions_of_8_lines_have_the_same_body() -> None:
    twins: dict[str, list[str]] = defaultdict(list)
    for place in functions(*EVERYTHING):
        if place.body.count("\n") + 1 >= 8:
            twins[place.body].append(str(place))
    assert not [places for places in twins.values() if len(places) > 1]


def test_the_budget_looks_at_real_files() -> None:
    assert "pyproject.toml" in files()
    assert len(functions(*LIBRARY)) > 20
