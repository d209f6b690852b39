"""The comparison of pictures on a file of the user's, in the MedMNIST layout."""

import json
import subprocess
import sys
from math import isfinite
from pathlib import Path

import numpy as np
import pytest

from scoreward.data import digits

ROOT = Path(__file__).parents[2]


def study(*options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.compressed.images", *map(str, options)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.long
def test_a_file_in_the_medmnist_layout_is_compared(tmp_path: Path) -> None:
    parts = {}
    for part in ("train", "test"):
        pictures = digits.load(part, 4).images[:200, 0, :28, :28]
        parts[f"{part}_images"] = (255 * pictures).round().byte().numpy()
        parts[f"{part}_labels"] = np.zeros((len(pictures), 1), np.uint8)
    np.savez(tmp_path / "scans.npz", **parts)
    few = ("--tiny", "--arm", "pixels, MLP", "--seeds", "0", "--no-costs", "--to", tmp_path)
    ended = study("--medmnist", tmp_path / "scans.npz", *few)
    assert ended.returncode == 0, ended.stderr
    lines = (tmp_path / "scans_tiny.jsonl").read_text(encoding="utf-8").splitlines()
    about, run = map(json.loads, lines)
    assert 0 < about["threshold"] < about["best"] <= 1024
    assert (run["arm"], run["seed"], run["d"]) == ("pixels, MLP", 0, 1024)
    assert all(isfinite(v) and v > 0 for v in run["frechet"] + run["sliced"])
    again = study("--medmnist", tmp_path / "scans.npz", *few)  # nothing is left to do
    assert again.returncode == 0
    assert (tmp_path / "scans_tiny.jsonl").read_text(encoding="utf-8").splitlines() == lines


def test_another_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "scans.npz").write_bytes(b"no pictures")
    ended = study("--medmnist", tmp_path / "scans.npz", "--to", tmp_path)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    assert "scans.npz" in ended.stderr.strip().splitlines()[-1]
    missing = study("--fashion", tmp_path / "nowhere")
    assert missing.returncode != 0
    assert "Traceback" not in missing.stderr
