"""The map of methods: no cell is empty or vague, no link leads nowhere, no method is forgotten."""

import re

import pytest

from tests.structure.source import ROOT, text

PAGE = "docs/coverage.md"
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
DESCRIBED = {"Method", "Source", "Data", "Reward for"}  # columns that hold no state
METHODS = (  # of the survey's table
    "SFT|best-of-n|RAFT|ReST|RRHF|SuperHF|RLHF-PPO|RLAIF|P3O|MaxMin|ReMax|RLOO|GRPO|OAIF|OPTune|"
    "self-rewarding|Nash|SPPO|DDPO|DPOK|DLPO|ReFL|DRaFT|AlignProp|PRDP|HIVE|DPO|IPO|cDPO|"
    "robust DPO|f-DPO|ODPO|R-DPO|sDPO|VPO|GPO|Mallows-DPO|RainbowPO|KTO|CPO|ORPO|SimPO|SLiC-HF|"
    "RSO|PRO|RTO|ALLO|token-level DPO|D3PO|SPO|LPO|ExPO|RichHF|RPO"
)
EVALUATIONS = (
    "Reward tables|Win rate|Position bias|Length-controlled|Implicit-reward accuracy|RewardBench|"
    "HELM|AlpacaEval 2|MT-Bench|Chatbot Arena|MMStar|VHELM|ImageReward|PickScore|HPS|Aesthetic|"
    "CLIP|GenEval|OCR|Vision-language model as a judge|Human pairwise|SpeechLMScore|"
    "SpeechBERTScore|MOS|MetaMetrics"
)


def tables(page: str) -> list[tuple[list[str], list[list[str]]]]:
    """Headers and rows of every table."""
    found: list[tuple[list[str], list[list[str]]]] = []
    for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        lines = [[c.strip() for c in line.strip("|").split("|")] for line in block.splitlines()]
        found.append((lines[0], lines[2:]))
    return found


def wrong(cell: str, reasons: set[str], exists: set[str]) -> bool:
    """Whether a cell is none of: here with links that exist, planned, out with a known reason."""
    links = LINK.findall(cell)
    if cell.startswith("here: "):
        return not links or not set(links) <= exists
    if cell.startswith("out "):
        return cell[4:] not in reasons
    return cell != "planned"


def existing(page: str) -> set[str]:
    folder = (ROOT / PAGE).parent
    return {target for target in LINK.findall(page) if (folder / target).exists()}


def letters(page: str) -> set[str]:
    return set(re.findall(r"^- \*\*([A-Z])\*\*:", page, re.MULTILINE))


@pytest.fixture(scope="module")
def page() -> str:
    return text(PAGE) or ""


def test_every_cell_says_here_planned_or_out(page: str) -> None:
    reasons, exists = letters(page), existing(page)
    for header, rows in tables(page):
        for row in rows:
            assert len(row) == len(header), row[0]
            states = [c for name, c in zip(header, row, strict=True) if name not in DESCRIBED]
            assert not [(row[0], c) for c in states if wrong(c, reasons, exists)]


def test_every_reason_is_used(page: str) -> None:
    used = set(re.findall(r"\| out ([A-Z]) (?=\|)", page))
    assert used == letters(page)


@pytest.mark.parametrize("name", [*METHODS.split("|"), *EVALUATIONS.split("|")])
def test_no_method_of_the_survey_is_missing(page: str, name: str) -> None:
    firsts = [row[0] for _, rows in tables(page) for row in rows]
    alone = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
    assert [first for first in firsts if alone.search(first)]


def test_the_check_notices_vague_cells() -> None:
    known, exists = {"V"}, {"a.md"}
    assert not wrong("here: [a](a.md)", known, exists)
    assert not wrong("planned", known, exists)
    assert not wrong("out V", known, exists)
    for vague in ("", "yes", "here", "here: soon", "here: [b](b.md)", "out X", "out", "planned?"):
        assert wrong(vague, known, exists)
