"""Where is equation (k) of paper p?

A docstring or comment names its source with a tag, a paper's key in brackets followed by an
equation in parentheses, and `papers.toml` says which papers and equations there are. The index
joins the two; a test refuses tags the table does not know and listed equations that have no line
or no test.
"""

import ast
import io
import re
import tokenize
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

PACKAGE = Path(__file__).parent
TAG = re.compile(r"\[([a-z0-9][a-z0-9+-]*)\] \(([^()]+)\)")
PROVENANCE = ("verified", "second-hand", "ours")


@dataclass(frozen=True, order=True)
class Tag:
    paper: str
    equation: str
    path: str  # relative to the folder that holds the package
    line: int

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"

    @property
    def in_tests(self) -> bool:
        return self.path.startswith("tests/")


@dataclass(frozen=True)
class Equation:
    meaning: str  # one line, in our words
    provenance: str  # verified: read in the paper; second-hand: from a description or code; ours

    def __post_init__(self) -> None:
        if self.provenance not in PROVENANCE:
            raise ValueError(
                f"papers.toml: provenance {self.provenance!r} of {self.meaning!r} is unknown; "
                f"use one of {', '.join(PROVENANCE)}"
            )


@dataclass(frozen=True)
class Paper:
    key: str
    title: str
    authors: str
    arxiv: str | None
    year: int
    equations: dict[str, Equation]


def papers(table: Path = PACKAGE / "papers.toml") -> dict[str, Paper]:
    """The papers we implement, by key."""
    entries = tomllib.loads(table.read_text(encoding="utf-8"))
    found = {}
    for key, entry in entries.items():
        equations = {name: Equation(**row) for name, row in entry.get("equations", {}).items()}
        found[key] = Paper(**{"key": key, "arxiv": None, **entry, "equations": equations})
    return found


def roots() -> list[Path]:
    """The package, and its tests when it runs from a checkout."""
    tests = PACKAGE.parent / "tests"
    in_checkout = (PACKAGE.parent / "pyproject.toml").is_file() and tests.is_dir()
    return [PACKAGE, tests] if in_checkout else [PACKAGE]


def index(folders: Iterable[Path] | None = None) -> list[Tag]:
    """Every tag below the folders, in the order of `papers.toml` keys, equations and places."""
    files = (path for root in folders or roots() for path in sorted(root.rglob("*.py")))
    return sorted(tag for path in files for tag in _tags(path))


def by_equation(tags: Iterable[Tag]) -> Mapping[tuple[str, str], list[Tag]]:
    """Tags under (paper, equation)."""
    found: dict[tuple[str, str], list[Tag]] = defaultdict(list)
    for tag in tags:
        found[tag.paper, tag.equation].append(tag)
    return found


def _tags(path: Path) -> Iterator[Tag]:
    source = path.read_text(encoding="utf-8")
    if TAG.search(source) is None:  # most files; to parse them takes longer than all else
        return
    shown = path.relative_to(PACKAGE.parent) if path.is_relative_to(PACKAGE.parent) else path
    for line, text in _prose(source):
        for paper, equation in TAG.findall(text):
            yield Tag(paper, equation, shown.as_posix(), line)


def _prose(source: str) -> Iterator[tuple[int, str]]:
    """Lines of docstrings and comments, comments only if a tag is in one: others are only data."""
    lines = source.split("\n")
    for node in _statements(ast.parse(source)):
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
            continue
        if isinstance(node.value.value, str):
            yield from _segment(lines, node)
    if any("#" in line and TAG.search(line) for line in lines):
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All below it, without the expressions, which are most of a tree."""
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, block, ()):
            yield inner
            yield from _statements(inner)


def _segment(lines: list[str], node: ast.Expr) -> Iterator[tuple[int, str]]:
    """The numbered lines of a node; its columns are in bytes."""
    last = node.end_lineno or node.lineno
    for number in range(node.lineno, last + 1):
        text = lines[number - 1].encode()
        start = node.col_offset if number == node.lineno else 0
        yield number, text[start : node.end_col_offset if number == last else None].decode()


def check(tags: Iterable[Tag] | None = None, table: dict[str, Paper] | None = None) -> list[str]:
    """What is wrong with the index, one sentence each; an empty list when it is complete."""
    tags, table = list(index() if tags is None else tags), papers() if table is None else table
    wrong = []
    for tag in tags:
        if tag.paper not in table:
            wrong.append(f"{tag.place}: {unknown_paper(tag.paper, table)}")
        elif tag.equation not in table[tag.paper].equations:
            wrong.append(
                f"{tag.place}: papers.toml does not list equation ({tag.equation}) of {tag.paper}; "
                f"add it with its meaning, or correct the tag"
            )
    found = by_equation(tags)
    for paper in table.values():
        for equation in paper.equations:
            places = found.get((paper.key, equation), [])
            listed = f"[{paper.key}] ({equation}) is listed in papers.toml"
            if all(tag.in_tests for tag in places):
                wrong.append(f"{listed}, but no line has its tag")
            if not any(tag.in_tests for tag in places):
                wrong.append(f"{listed}, but no test has its tag")
    return wrong


def unknown_paper(key: str, table: dict[str, Paper]) -> str:
    near = get_close_matches(key, table, n=1)
    hint = f"perhaps you meant {near[0]!r}" if near else f"known are {', '.join(table)}"
    return f"no paper {key!r} in papers.toml; {hint}"


def describe(paper: str | None = None) -> Iterator[str]:
    """Lines of the index: key, equation, line, test and meaning, for one paper or for all."""
    table = papers()
    if paper is not None and paper not in table:
        raise ValueError(unknown_paper(paper, table))
    found = by_equation(index())
    for key in table if paper is None else [paper]:
        for name, equation in table[key].equations.items():
            here = found.get((key, name), [])
            source = next((tag.place for tag in here if not tag.in_tests), "-")
            test = next((tag.place for tag in here if tag.in_tests), "-")
            note = "" if equation.provenance == "verified" else f" ({equation.provenance})"
            yield f"{key:16} {name:10} {source:40} {test:44} {equation.meaning}{note}"


def print_index(paper: str | None = None) -> None:
    for line in describe(paper):
        print(line)  # noqa: T201, this is the command `scoreward equations`
