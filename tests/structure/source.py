"""The text of the repository, for the tests of its structure."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
IGNORED = {".git", ".venv", "__pycache__", "build", "dist", "node_modules", "runs"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Place:
    """A function and where it stands."""

    path: str
    name: str
    line: int
    lines: int
    parameters: int
    body: str  # the statements without the docstring, spelled alike wherever they stand

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.name}"


@cache
def files() -> tuple[str, ...]:
    """Paths of everything that is or would be committed, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git, or not a checkout
        return tuple(sorted(_walk(ROOT)))
    return tuple(sorted(name for name in listed.stdout.splitlines() if (ROOT / name).is_file()))


def _walk(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if path.name in IGNORED or path.name.endswith((".egg-info", "_cache")):
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path.relative_to(ROOT).as_posix()


def python_files(*folders: str) -> list[str]:
    below = tuple(f"{folder}/" for folder in folders)
    return [name for name in files() if name.endswith(".py") and name.startswith(below)]


def text(name: str) -> str | None:
    """The file's text, or None for a binary one."""
    try:
        return (ROOT / name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def functions(*folders: str) -> list[Place]:
    return [place for name in python_files(*folders) for place in _of_file(name)]


@cache
def _of_file(name: str) -> tuple[Place, ...]:
    """Parsed once; of the tree, which is large, nothing is kept."""
    tree = ast.parse(text(name) or "")
    return tuple(_place(name, node) for node in ast.walk(tree) if isinstance(node, Function))


def _place(path: str, node: Function) -> Place:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    parameters = sum(argument.arg not in ("self", "cls") for argument in given)
    first = node.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    body = "\n".join(ast.unparse(statement) for statement in node.body[documented:])
    return Place(path, node.name, node.lineno, lines, parameters, body)
