"""The lists of mistakes still fit the code. `run.py` beside this file tries them out."""

import ast

import pytest

from tests.mutations.run import ROOT, Mutation, lists, load

ALL = [(name, mutation) for name, path in lists().items() for mutation in load(path)]


@pytest.mark.parametrize(("name", "mutation"), ALL)
def test_a_mutation_changes_one_place_into_other_valid_code(name: str, mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1, f"{name}: {mutation.old!r} in {mutation.file}"
    changed = text.replace(mutation.old, mutation.new)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))


@pytest.mark.parametrize("name", list(lists()))
def test_the_tests_of_a_list_exist(name: str) -> None:
    for mutation in load(lists()[name]):
        assert mutation.tests
        assert all((ROOT / test).exists() for test in mutation.tests)
