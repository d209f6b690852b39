"""The Python on the pages runs, each page from top to bottom in one interpreter."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.structure.source import ROOT, files, text
from tests.support.matrix import mostly_long

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def code(page: str) -> str:
    return "\n".join(BLOCK.findall(text(page) or ""))


PAGES = [name for name in files() if name.endswith(".md") and code(name)]
FEW = ("README.md", "docs/bring_your_own.md", "docs/rewards.md")


@pytest.mark.slow
@pytest.mark.parametrize("page", mostly_long(PAGES, FEW))
def test_the_python_on_a_page_runs(page: str, tmp_path: Path) -> None:
    """In an empty folder, so that whatever the page writes is not left in the repository."""
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code(page)]
    done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page}: {target}"
        for page in files()
        if page.endswith(".md")
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text(page) or "")
        if not (ROOT / page).parent.joinpath(target).exists()
    ]
    assert not broken
