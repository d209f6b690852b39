"""Commands of the library as a test calls them."""

from collections.abc import Callable

import pytest

from scoreward.cli import main

Cli = Callable[..., tuple[int, str, str]]


def calling(capsys: pytest.CaptureFixture, *first: str) -> Cli:
    """`scoreward FIRST …` as a function of words: exit code, standard output, standard error."""

    def call(*words: str) -> tuple[int, str, str]:
        try:
            code = main([*first, *words])
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call
