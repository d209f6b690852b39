"""The page in a real browser: silent console, no requests, nothing blank, fits a phone."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.matrix import long

pytestmark = pytest.mark.browser

# The rule for host names keeps the browser's own services off the network.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--allow-file-access-from-files",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]
DARK = "--blink-settings=preferredColorScheme=0"


@dataclass(frozen=True)
class Seen:
    """What the browser saw of one page."""

    console: list[str]
    requests: list[str]
    picture: Image.Image


def look(browser: str, page: Path, scratch: Path, size: tuple[int, int], *flags: str) -> Seen:
    """Open the page once; requests of the browser itself have no origin and do not count."""
    log, shot = scratch / "net.json", scratch / "shot.png"
    outputs = [f"--user-data-dir={scratch / 'profile'}", f"--log-net-log={log}"]
    outputs += [f"--screenshot={shot}", f"--window-size={size[0]},{size[1]}"]
    command = [browser, *FLAGS, *flags, *outputs, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = re.findall(r":CONSOLE[:(]\d+\)?\] (.*)", done.stderr)
    return Seen(console, _requests(json.loads(log.read_text())), Image.open(shot).convert("RGB"))


def _requests(log: dict) -> list[str]:
    started = log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    found = [e["params"] for e in log["events"] if e["type"] == started and "params" in e]
    return [p["url"] for p in found if p.get("initiator", "not an origin") != "not an origin"]


def test_the_browser_would_notice_errors_and_requests(chromium: str, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text('<img src="http://127.0.0.1:9/x.png"><script>missing()</script>')
    seen = look(chromium, page, tmp_path, (400, 300))
    assert seen.requests == ["http://127.0.0.1:9/x.png"]
    assert any("missing is not defined" in line for line in seen.console)


@pytest.mark.parametrize(
    ("size", "flags", "paper"),
    [((1200, 3000), (), 255), ((400, 3000), (), 255), ((1200, 3000), (DARK,), 20)],
    ids=["desktop", "phone", "dark"],
)
def test_the_page_is_silent_self_contained_and_not_blank(
    chromium: str,
    demo_page: Path,
    tmp_path: Path,
    size: tuple[int, int],
    flags: tuple[str, ...],
    paper: int,
) -> None:
    seen = look(chromium, demo_page, tmp_path, size, *flags)
    assert seen.console == []
    assert seen.requests == []
    codes = np.asarray(seen.picture).astype(int) @ (65536, 256, 1)
    colours, counts = np.unique(codes, return_counts=True)
    assert colours[counts.argmax()] >> 16 == paper
    assert 0.3 < counts.max() / counts.sum() < 0.95
    assert len(colours) > 100


@pytest.mark.parametrize("width", [360, long(400), long(768), 1200])
def test_nothing_is_wider_than_the_screen(
    chromium: str, demo_page: Path, tmp_path: Path, width: int
) -> None:
    """A frame of the given width tells how wide its content would like to be."""
    page = tmp_path / "frame.html"
    page.write_text(
        f'<iframe src="{demo_page.as_uri()}" style="width:{width}px;height:900px;border:0" onload="'
        "const page = this.contentDocument;"
        "for (const one of page.querySelectorAll('details')) one.open = true;"
        "console.log('width', page.documentElement.scrollWidth)\"></iframe>"
    )
    seen = look(chromium, page, tmp_path, (1400, 1000))
    assert [line.split(",")[0] for line in seen.console] == [f'"width {width}"']
