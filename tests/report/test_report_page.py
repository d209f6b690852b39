"""The page: what it contains, what it never contains, and how it is written."""

import ast
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import scoreward.report
from scoreward.report import write_report
from tests.report.conftest import FakeRun

SECTIONS = {"curves", "samplers", "pictures", "attributes", "guards", "health"} | {
    "cost", "failures", "beside", "training", "made"
}  # fmt: skip


class Ids(HTMLParser):
    """All ids and all addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = {name: value or "" for name, value in attrs}
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [found[k] for k in ("src", "href", "xlink:href") if k in found]


def page(folder: Path, beside: Path | None = None) -> str:
    return write_report(folder, beside).read_text(encoding="utf-8")


def bare(folder: Path, about: dict[str, Any], *metrics: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(m) + "\n" for m in metrics))
    return folder


def test_a_full_run_has_every_section_and_its_numbers(demo_page: Path) -> None:
    text = demo_page.read_text(encoding="utf-8")
    assert set(Ids(text).ids) >= SECTIONS
    assert "finds everything right rose from 0.531 to 0.781 (+0.250 [+0.24" in text
    assert "+0.250: better" in text
    assert "], 128 prompts, 128 pictures</span>" in text
    assert "0.74 × base" in text
    assert "93.4 %" in text
    assert "scoreward train portraits_vgrpo --seed 0" in text


def test_every_link_of_the_contents_leads_somewhere(demo_page: Path) -> None:
    found = Ids(demo_page.read_text(encoding="utf-8"))
    assert {a[1:] for a in found.addresses if a.startswith("#")} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))


def test_the_page_needs_no_network_and_runs_nothing(demo_page: Path) -> None:
    found = Ids(demo_page.read_text(encoding="utf-8"))
    assert all(a.startswith(("data:", "#")) for a in found.addresses)
    assert not found.tags & {"script", "iframe", "object", "embed"}
    assert sum(a.startswith("data:image/png") for a in found.addresses) > 96


def test_the_same_folder_gives_the_same_page(fake_run: FakeRun) -> None:
    folder = fake_run(rounds=4)
    assert page(folder) == page(folder)


def test_what_a_run_says_is_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    scores = {evil: 0.5, "attributes": {evil: 0.5}}
    text = page(
        bare(
            tmp_path / "run",
            {"recipe": evil, "reason": evil, "command": evil, "settings": {evil: evil}},
            {"kind": "evaluation", "round": 0, "ode": scores},
            {"kind": "evaluation", "round": 1, "ode": scores},
            {"kind": "round", "round": 1, evil: 1.0},
            {"kind": "health", "round": 1, "level": evil, "check": evil, "message": evil},
            {"kind": "profile", "seconds": {evil: 1.0}},
        )
    )
    assert "script" not in Ids(text).tags
    assert text.count("&lt;script&gt;") >= 8


def test_prompts_are_never_markup(fake_run: FakeRun) -> None:
    folder = fake_run(rounds=2)
    index = folder / "samples" / "index.json"
    index.write_text(index.read_text().replace("short", "<u>\\\"'"))
    assert "u" not in Ids(page(folder)).tags


def test_an_empty_run_says_that_nothing_was_recorded(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    text = page(tmp_path)
    assert "No round of training was recorded." in text
    assert "There is no metrics.jsonl" in text
    assert set(Ids(text).ids) == {"verdict", "made"}


def test_a_run_that_failed_in_its_numbers_says_why(tmp_path: Path) -> None:
    about = {"status": "failed", "reason": "the ratio exploded in round 2"}
    text = page(
        bare(
            tmp_path / "run",
            about,
            {"kind": "round", "round": 1, "loss": float("nan"), "reward/mean": 0.4},
            {"kind": "round", "round": 2, "loss": float("inf"), "reward/mean": float("nan")},
            {"kind": "health", "round": 2, "level": "alarm", "check": "ratio", "value": 1e99},
        )
    )
    assert "The run failed." in text
    assert "the ratio exploded in round 2" in text
    assert 'class="check alarm"' in text


def test_a_run_without_attributes_or_judge_shows_its_own_scores(tmp_path: Path) -> None:
    rows = [
        {"kind": "evaluation", "round": r, "seconds": r, "ode": {"clip_score": 0.2 + r / 10}}
        for r in (0, 1)
    ]
    text = page(bare(tmp_path / "run", {"status": "finished"}, *rows))
    assert "Clip score" in text
    assert "attributes" not in Ids(text).ids


def test_a_broken_limit_is_shown_in_the_colour_of_alarm(fake_run: FakeRun) -> None:
    text = page(fake_run(hacked=True))
    assert re.search(r'<dd class="bad">0\.35 × base', text)
    assert re.search(r'<dd class="bad">1\.49 × base', text)


def test_a_picture_cut_off_by_a_kill_is_noted(fake_run: FakeRun) -> None:
    folder = fake_run(rounds=4)
    path = folder / "samples" / "000004_ode.png"
    path.write_bytes(path.read_bytes()[:200])
    (folder / "samples" / "000002_ode.png").unlink()
    text = page(folder)
    assert "samples/000004_ode.png could not be read" in text
    assert "pictures" in Ids(text).ids


def test_values_of_unexpected_shape_are_left_out(tmp_path: Path) -> None:
    text = page(
        bare(
            tmp_path / "run",
            {"settings": [1], "versions": "none", "git": None, "seed": "x", "started": 5},
            {"kind": "evaluation", "round": "first", "ode": 3, "evaluations": [1], "gap": None},
            {"kind": "round", "loss": "high", "evaluations": {"behaviour": "many"}},
            {"kind": "health"},
            {"kind": "profile", "seconds": [], "share_in_network": "most"},
        )
    )
    assert "verdict" in Ids(text).ids


def test_a_failed_write_leaves_the_old_page_and_no_scrap(
    fake_run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fake_run(rounds=2)
    (folder / "report.html").write_text("old")
    before = sorted(p.name for p in folder.iterdir())

    def full(self: Path, target: Path) -> Path:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(folder)
    assert (folder / "report.html").read_text() == "old"
    assert sorted(p.name for p in folder.iterdir()) == before


def test_the_report_imports_no_model_code_and_draws_only_when_asked() -> None:
    for path in Path(scoreward.report.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        modules += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
        assert "torch" not in {name.split(".")[0] for name in modules}
        ours = [name for name in modules if name.startswith("scoreward")]
        rooms = ("scoreward.report", "scoreward.records", "scoreward.verdict")
        assert all(name.startswith(rooms) for name in ours)
        top = [n.module or "" for n in tree.body if isinstance(n, ast.ImportFrom)]
        assert not [name for name in top if name.startswith("matplotlib")]
