"""The page of a comparison in a real browser."""

from pathlib import Path

import numpy as np
import pytest

from scoreward.report.comparison.page import write_comparison
from tests.report.conftest import FakeRun
from tests.report.lines import line, write
from tests.report.test_report_browser import look

pytestmark = pytest.mark.browser


@pytest.fixture
def compared(tmp_path: Path, fake_run: FakeRun) -> Path:
    """Nine methods with long names, and two runs with pictures."""
    lines = [
        line(f"a_rather_long_name_{i}", [0.9, 0.92 + 0.01 * i], seed, task="portraits")
        for i in range(7)
        for seed in (0, 1)
    ]
    runs = [fake_run(n, rounds=8, about={"recipe": f"portraits_{n}"}) for n in ("one", "two")]
    return write_comparison(
        [write(tmp_path / "curves.jsonl", *lines), *runs], tmp_path / "compare.html"
    )


def test_the_comparison_is_silent_and_fits_phone_and_desk(
    chromium: str, compared: Path, tmp_path: Path
) -> None:
    frames = "".join(
        f'<iframe src="{compared.as_uri()}" style="width:{width}px;height:900px;border:0" onload="'
        "const page = this.contentDocument;"
        "for (const one of page.querySelectorAll('details')) one.open = true;"
        f"console.log('{width}', page.documentElement.scrollWidth)\"></iframe>"
        for width in (360, 768, 1200)
    )
    page = tmp_path / "frames.html"
    page.write_text(frames)
    seen = look(chromium, page, tmp_path, (1400, 1000))
    widths = sorted(line.split('"')[1] for line in seen.console)
    assert widths == ["1200 1200", "360 360", "768 768"]
    assert seen.requests == []
    colours = np.unique(np.asarray(seen.picture).reshape(-1, 3), axis=0)
    assert len(colours) > 100
