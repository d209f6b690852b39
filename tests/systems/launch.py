"""Starting real processes: a team of workers, or one command line."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 300  # seconds; only a process that hangs takes as long


def environment(**more: str) -> dict[str, str]:
    """One thread, no GPU, and this checkout importable."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    fixed = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}
    return {**os.environ, **fixed, "COLUMNS": "300", **more}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(words: Sequence[str], extra: Mapping[str, str], cwd: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *words],
        env=environment(**extra),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def team(size: int, words: Sequence[str]) -> list[str]:
    """What the processes printed; an error if any of them failed or hung."""
    shared = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1"}
    shared["MASTER_PORT"] = str(free_port())
    members = [
        start(words, {**shared, "RANK": str(r), "LOCAL_RANK": str(r)}, ROOT) for r in range(size)
    ]
    try:
        said = [member.communicate(timeout=PATIENCE)[0] for member in members]
    finally:
        for member in members:
            member.kill()
    assert [member.returncode for member in members] == [0] * size, "\n".join(said)
    return said


def command(words: Sequence[str], cwd: Path, **extra: str) -> tuple[int, str]:
    """Exit code and output of `python -m scoreward …`."""
    process = start(["-m", "scoreward", *words], extra, cwd)
    try:
        said, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    return process.returncode, said
