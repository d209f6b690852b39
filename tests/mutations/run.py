"""Plausible mistakes, and whether the tests notice them: python tests/mutations/run.py [LIST ...]

Each `*.toml` beside this file is a list: in `[tests]`, for each source file the tests that guard
it, and mutations with `file`, `old` (occurs once in that file) and `new`. The package is copied to
a temporary folder, one mutation is applied at a time, and the tests of its file must fail. Takes
about five seconds per mutation.
"""

import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TESTS_FAILED = 1  # pytest's exit status; 2 and above mean that it could not run them
SECONDS = 300


@dataclass(frozen=True)
class Mutation:
    """One mistake; `tests` are the files expected to notice it, relative to the repository."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, root: Path) -> None:
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.old!r} occurs {text.count(self.old)} times in {self.file}")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


def lists() -> dict[str, Path]:
    return {path.stem: path for path in sorted(HERE.glob("*.toml"))}


def load(path: Path) -> list[Mutation]:
    """The mutations of a list."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Mutation(m["file"], m["old"], m["new"], tuple(content["tests"][m["file"]]))
        for m in content["mutation"]
    ]


def copy(target: Path) -> None:
    """What the tests need of the repository."""
    for folder in ("scoreward", "tests", "tools", "examples"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, target / folder, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", target)


def status_of(root: Path, tests: Sequence[str]) -> tuple[int, str]:
    """(exit status of pytest, the first test that failed)."""
    flags = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"]
    command = [sys.executable, "-B", "-m", "pytest", *flags, *tests]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return TESTS_FAILED, f"no end after {SECONDS} s"
    lines = done.stdout.splitlines()
    first = next((line for line in lines if line.startswith(("FAILED", "ERROR"))), "")
    return done.returncode, first.split(" - ")[0]


def verdicts(mutations: Sequence[Mutation], root: Path) -> Iterator[tuple[Mutation, str, str]]:
    """(mutation, "noticed", "SURVIVED" or "BROKEN", the test) for each of them."""
    for mutation in mutations:
        path = root / mutation.file
        original = path.read_text(encoding="utf-8")
        mutation.apply(root)
        status, test = status_of(root, mutation.tests)
        path.write_text(original, encoding="utf-8")
        word = {0: "SURVIVED", TESTS_FAILED: "noticed"}.get(status, "BROKEN")
        yield mutation, word, test


def main(names: Sequence[str]) -> int:
    mutations = [m for name in names or lists() for m in load(lists()[name])]
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy(root)
        for tests in sorted({m.tests for m in mutations}):
            status, test = status_of(root, tests)
            if status:
                print(f"the tests fail before any mutation: {test or tests}")
                return 1
        for mutation, word, test in verdicts(mutations, root):
            bad += word != "noticed"
            change = f"{mutation.old.strip()!r} -> {mutation.new.strip()!r}"
            print(f"{word:9} {mutation.file:28} {change}\n          {test}", flush=True)
    print(f"{len(mutations) - bad} of {len(mutations)} mutations noticed")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
