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
    node: Function

    def __str__(self) -> str:
        return f"{self.path}:{self.node.lineno} {self.node.name}"

    @property
    def lines(self) -> int:
        return (self.node.end_lineno or self.node.lineno) - self.node.lineno + 1

    @property
    def parameters(self) -> int:
        given = self.node.args
        named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
        return sum(argument.arg not in ("self", "cls") for argument in named)

    @property
    def body(self) -> str:
        """The statements without the docstring, spelled alike wherever they stand."""
        first = self.node.body[0]
        documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        return "\n".join(ast.unparse(node) for node in self.node.body[documented:])


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
    return [
        Place(name, node)
        for name in python_files(*folders)
        for node in ast.walk(ast.parse(text(name) or ""))
        if isinstance(node, Function)
    ]
