"""How the package has grown, in numbers that a gate can hold.

python -m tools.counts             of this checkout
python -m tools.counts FOLDER      of another one, to put beside it
"""

import ast
import io
import json
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUN = 6  # lines that make a run of one shape
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
    """Number and shape of each line of code: names, numbers and texts are all alike."""
    rows: dict[int, list[str]] = defaultdict(list)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind in ("NAME", "NUMBER", "STRING", "OP"):
            rows[token.start[0]].append(token.string if kind == "OP" else kind)
    for number, parts in sorted(rows.items()):
        shape = " ".join(parts)
        first = text.splitlines()[number - 1].lstrip().partition(" ")[0]
        if shape not in THIN and first not in ("import", "from"):
            yield number, shape


def same_shape(root: Path = ROOT) -> int:
    """Runs of six lines or more whose shape stands elsewhere in the package as well."""
    files = {name: list(shapes(text)) for name, text in sources(root).items()}
    windows: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    for name, rows in files.items():
        for i in range(len(rows) - RUN + 1):
            windows[tuple(shape for _, shape in rows[i : i + RUN])].append((name, i))
    marked = {place for places in windows.values() if len(places) > 1 for place in places}
    return sum((name, i - 1) not in marked for name, i in marked)


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
    """Private functions that are named once besides where they are defined."""
    names, used = [], Counter()
    for text in sources(root).values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("_"):
                if not node.name.startswith("__"):
                    names.append(node.name)
            elif isinstance(node, ast.Name):
                used[node.id] += 1
            elif isinstance(node, ast.Attribute):
                used[node.attr] += 1
    return sum(used[name] == 1 for name in names)


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
        "private functions named once": called_once(root),
        "lines with Any": words("Any", root),
        "pyright: ignore": words("pyright: ignore", root),
        "lines of option lists": len(options.read_text().splitlines()),
    }


if __name__ == "__main__":
    print(json.dumps(counts(Path(sys.argv[1]) if sys.argv[1:] else ROOT), indent=1))
