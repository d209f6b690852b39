"""Nothing in the repository depends on, or speaks of, the machine it was written on."""

import ast
import re

from tests.structure.source import files, python_files, text

HERE = "tests/structure/test_text.py"  # holds the patterns, so it would find itself
MACHINE_PATH = re.compile(r"(?<![A-Za-z0-9_.~$\}-])/(work|farm|tmp|root|home|opt|Users)/")
REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.(npmjs|yarnpkg)|deb\.debian|download\.pytorch", re.I
)
WORKPLACE = re.compile(
    r"\b(AI|coding|language) (assistant|agent)\b|\bsub-?agents?\b|\bthe (brief|lead|CEO)\b"
    r"|\b(this|that|my|previous|earlier|next|last) session\b|\bsession-\d|\bclaude\b|\banthropic\b",
    re.I,
)


def hits(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name in files()
        if name != HERE
        for number, line in enumerate((text(name) or "").splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_holds_a_path_of_one_machine() -> None:
    assert not hits(MACHINE_PATH)


def test_no_file_names_a_package_registry() -> None:
    assert not hits(REGISTRY)


def test_no_file_speaks_of_how_it_was_written() -> None:
    assert not hits(WORKPLACE)


def test_the_patterns_find_what_they_are_for() -> None:
    assert MACHINE_PATH.search("open('/home/me/data')")
    assert not MACHINE_PATH.search("docs/home/index.md")
    assert REGISTRY.search("https://pypi.org/simple")
    assert WORKPLACE.search("as decided in the last session")
    assert not WORKPLACE.search('fixture(scope="session")')


def test_every_protocol_can_be_checked_at_run_time() -> None:
    """A plain Protocol in a signature breaks the checks that the tests switch on."""
    assert not [
        f"{name}:{node.lineno} {node.name}: add @runtime_checkable"
        for name in python_files("scoreward")
        for node in ast.walk(ast.parse(text(name) or ""))
        if isinstance(node, ast.ClassDef)
        and any("Protocol" in ast.unparse(base) for base in node.bases)
        and not any("runtime_checkable" in ast.unparse(line) for line in node.decorator_list)
    ]
