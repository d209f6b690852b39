"""What every test gets: shapes and types checked, one thread, fixed seeds, no hub, no window."""

import os
import random
import shutil
import sys
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

if "scoreward" in sys.modules:
    raise RuntimeError("scoreward was imported before the tests could switch shape checks on")
install_import_hook("scoreward", "shape_checks.typechecked")

settings.register_profile("scoreward", deadline=None, derandomize=True, database=None)
settings.load_profile("scoreward")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str | None:
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@pytest.fixture(autouse=True)
def same_every_time() -> Iterator[None]:
    """Each test starts from the same seeds, in float32 on one thread, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def chromium() -> str:
    """Path of a headless browser; such a test carries the marker `browser`."""
    path = find_browser()
    assert path is not None
    return path


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests of a program are skipped without it, and fail under CI=true."""
    if item.get_closest_marker("browser") is not None and find_browser() is None:
        _missing("browser", "no Chromium on the PATH; on Debian: apt-get install chromium")
    if item.get_closest_marker("tesseract") is not None and shutil.which("tesseract") is None:
        _missing("tesseract", "no tesseract on the PATH; on Debian: apt-get install tesseract-ocr")


def _missing(kind: str, reason: str) -> None:
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{kind} tests may not be skipped under CI=true: {reason}", pytrace=False)
    pytest.skip(reason)
