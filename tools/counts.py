"""How the package has grown, in numbers that a gate can hold.

python -m tools.counts             of this checkout
python -m tools.counts FOLDER      of another one, to put beside it
"""

import ast
import io
import json
import re
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from keyword import iskeyword
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUN = 6  # lines that make a run of one shape
COMMON = 8  # places in which a run may stand
FIELD = re.compile(r"NAME : [^=]*(= .*)?$")
SEAMS = (
    "core/denoiser.py",
    "core/policy.py",
    "models/base.py",
    "objectives/",
    "training/sources/",
    "training/trainer.py",
    "training/work.py",
)
"""Where a round crosses from model to source to objective to trainer."""
THIN = frozenset({"NAME", "(", ")", "[", "]", "{", "}", ",", ":", "NAME ,", "STRING ,", ") ,"})
"""Lines that say nothing by their shape."""


@cache
def sources(root: Path = ROOT) -> dict[str, str]:
    """Every file of the package, by its path in it."""
    package = root / "scoreward"
    files = sorted(package.rglob("*.py"))
    return {str(path.relative_to(package)): path.read_text(encoding="utf-8") for path in files}


def lines(root: Path = ROOT) -> int:
    """Lines of Python in the package."""
    return sum(text.count("\n") for text in sources(root).values())


def shapes(text: str) -> Iterator[tuple[int, str]]:
    """Number and shape of each line that does something: all names are alike, numbers, and texts.

    Imports, docstrings, and declarations of fields and parameters are no such lines.
    """
    rows: dict[int, list[str]] = defaultdict(list)
    begins = True  # whether a statement begins here, so that a text is a docstring
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind in ("NAME", "NUMBER", "OP") or (kind == "STRING" and not begins):
            kept = kind == "OP" or iskeyword(token.string)
            rows[token.start[0]].append(token.string if kept else kind)
        begins = kind in ("INDENT", "DEDENT", "NEWLINE", "NL", "COMMENT", "ENCODING")
    for number, parts in sorted(rows.items()):
        shape = " ".join(parts)
        if shape not in THIN and parts[0] not in ("import", "from") and not FIELD.match(shape):
            yield number, shape


def same_shape(root: Path = ROOT) -> int:
    """Pairs of runs of six lines or more whose shapes are alike, each pair as long as it gets.

    A run that stands in more than eight places is too common to tell of one copied from another.
    """
    files = {name: [shape for _, shape in shapes(text)] for name, text in sources(root).items()}
    windows: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    for name, rows in files.items():
        for i in range(len(rows) - RUN + 1):
            windows[tuple(rows[i : i + RUN])].append((name, i))
    pairs = {
        (one, other)
        for places in windows.values()
        if 1 < len(places) <= COMMON
        for one, other in combinations(sorted(places), 2)
        if one[0] != other[0] or other[1] - one[1] >= RUN
    }
    return sum(
        ((one[0], one[1] - 1), (other[0], other[1] - 1)) not in pairs for one, other in pairs
    )


def classes_twice(root: Path = ROOT) -> list[str]:
    """Names of public classes that two modules define."""
    found: Counter[str] = Counter()
    for text in sources(root).values():
        named = [n.name for n in ast.parse(text).body if isinstance(n, ast.ClassDef)]
        found.update(name for name in named if not name.startswith("_"))
    return sorted(name for name, count in found.items() if count > 1)


def imports(root: Path = ROOT) -> dict[str, set[str]]:
    """Module → modules of the package that it imports when it is imported."""
    modules = {name.removesuffix(".py").replace("/", "."): name for name in sources(root)}
    known = {m.removesuffix(".__init__"): name for m, name in modules.items()}
    found: dict[str, set[str]] = {name: set() for name in known}
    for module, name in known.items():
        for node in ast.parse(sources(root)[name]).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scoreward."):
                base = (node.module or "").removeprefix("scoreward.")
                whole = {f"{base}.{alias.name}" for alias in node.names} & known.keys()
                found[module] |= whole or ({base} & known.keys())
    return found


def circles(root: Path = ROOT) -> list[str]:
    """Modules that import themselves by way of others."""
    graph = imports(root)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = list(graph[start])
        while ahead:
            module = ahead.pop()
            if module not in seen:
                seen.add(module)
                ahead += graph[module]
        return seen

    return sorted(module for module in graph if module in reached(module))


def called_once(root: Path = ROOT) -> int:
    """Private functions that their own module names once besides where they are defined."""
    found = 0
    for text in sources(root).values():
        names: list[str] = []
        used: Counter[str] = Counter()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("_"):
                if not node.name.startswith("__"):
                    names.append(node.name)
            elif isinstance(node, ast.Name):
                used[node.id] += 1
            elif isinstance(node, ast.Attribute):
                used[node.attr] += 1
        found += sum(used[name] == 1 for name in names)
    return found


def untyped(root: Path = ROOT) -> list[str]:
    """Places on the seams where types end: `Any`, `cast`, and what pyright is told to ignore."""
    found = []
    for name, text in sources(root).items():
        if name.startswith(SEAMS):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Name) and node.id in ("Any", "cast"):
                    found.append(f"{name}:{node.lineno} {node.id}")
            for number, line in enumerate(text.splitlines(), 1):
                if "# pyright: ignore" in line:
                    found.append(f"{name}:{number} pyright: ignore")
    return sorted(found)


def words(word: str, root: Path = ROOT) -> int:
    """Lines that hold a word."""
    return sum(word in line for text in sources(root).values() for line in text.splitlines())


def counts(root: Path = ROOT) -> dict[str, int]:
    """All of it."""
    options = root / "tests" / "golden" / "options.json"
    return {
        "package lines": lines(root),
        "files": len(sources(root)),
        "runs of one shape": same_shape(root),
        "class names twice": len(classes_twice(root)),
        "modules in circles": len(circles(root)),
        "private functions called once": called_once(root),
        "untyped on seams": len(untyped(root)),
        "lines with Any": words("Any", root),
        "pyright: ignore": words("pyright: ignore", root),
        "lines of option lists": len(options.read_text().splitlines()),
    }


if __name__ == "__main__":
    print(json.dumps(counts(Path(sys.argv[1]) if sys.argv[1:] else ROOT), indent=1))
