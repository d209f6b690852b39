"""A disk that really fills up: the checkpoints on it stay good, and with room the run goes on."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoreward.training import checkpoint
from scoreward.training.folder import RunFolderError
from scoreward.training.run import Keeping
from tests.training.toys import make_trainer, records, toy

SIZE = 256 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; needs the right to mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)]
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk; the simulated one is in test_run.py")
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let root mount; the simulated one is in test_run.py")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_a_run_survives_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    whole = toy(tmp_path / "whole", rounds=12, keeping=Keeping(every=2))
    list(whole.start())
    filler = small_disk / "filler"
    filler.write_bytes(bytes(SIZE - 52 * 1024))
    run = toy(small_disk / "run", rounds=12, keeping=Keeping(every=2))
    with pytest.raises(RunFolderError, match=r"No space left on device.*checkpoints.* are intact"):
        list(run.start())
    path = checkpoint.newest(run.folder / "checkpoints")
    assert path is not None
    assert checkpoint.load(path, make_trainer()).round >= 2
    filler.unlink()
    list(toy(small_disk / "run", rounds=12, keeping=Keeping(every=2)).resume())
    assert records(run.folder) == records(whole.folder)
    assert json.loads((run.folder / "run.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_a_run_that_does_not_fit_at_all_says_so(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "filler").write_bytes(bytes(2 * SIZE))
    with pytest.raises(RunFolderError, match=r"^could not start a run in .*: No space left on dev"):
        toy(small_disk / "run").start()
    assert not [p for p in (small_disk / "run").rglob("*") if p.is_file()]
