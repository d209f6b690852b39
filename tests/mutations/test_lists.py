"""The lists of mistakes still fit the code. `run.py` beside this file tries them out."""

import ast
from functools import cache

import pytest

from tests.mutations.run import ROOT, Mutation, lists, load


@cache
def source(file: str) -> tuple[str, str]:
    """Text and tree of a file."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return text, ast.dump(ast.parse(text))


def fault(mutation: Mutation) -> str | None:
    """What is wrong with a mutation."""
    text, tree = source(mutation.file)
    if (count := text.count(mutation.old)) != 1:
        return f"{mutation.old!r} is {count} times in {mutation.file}"
    if ast.dump(ast.parse(text.replace(mutation.old, mutation.new))) == tree:
        return f"{mutation.new!r} for {mutation.old!r} changes nothing in {mutation.file}"
    return None


@pytest.mark.parametrize("name", lists())
def test_every_mutation_of_a_list_changes_one_place_into_other_valid_code(name: str) -> None:
    assert not [said for mutation in load(lists()[name]) if (said := fault(mutation))]


def test_a_mutation_that_does_not_fit_is_a_fault() -> None:
    file, tests = "scoreward/core/ratio.py", ("tests/core/test_ratio.py",)
    assert "is 0 times in" in (fault(Mutation(file, "no such line", "", tests)) or "")
    assert "changes nothing" in (
        fault(Mutation(file, "import torch\n", "import  torch\n", tests)) or ""
    )
    assert fault(Mutation(file, "import torch\n", "import torhc\n", tests)) is None


@pytest.mark.parametrize("name", list(lists()))
def test_the_tests_of_a_list_exist(name: str) -> None:
    for mutation in load(lists()[name]):
        assert mutation.tests
        assert all((ROOT / test).exists() for test in mutation.tests)
