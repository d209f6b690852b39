"""A curation that is killed at any moment loses nothing and does nothing twice."""

import os
import random
import shutil
import signal
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

from scoreward.curation.finish import finish
from scoreward.curation.run import MANIFEST, PICTURES, Curation
from scoreward.data.preferences.files import read_image_pairs
from tests.curation.doubles import pipeline, slow

PAIRS = 25


def work(folder: Path, build: partial = slow, workers: int = 1) -> None:
    curation = Curation(build, folder, PAIRS, workers=workers)
    *_, last = curation.steps()
    finish(curation, last)


def result(folder: Path) -> tuple[bytes, list[tuple]]:
    pairs = [
        (p.id, p.prompt, p.winner.tobytes(), p.loser.tobytes(), p.score_w, p.score_l)
        for p in read_image_pairs(folder / "pairs.parquet")
    ]
    return (folder / MANIFEST).read_bytes(), pairs


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    work(folder)
    return folder


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killing_at_random_points_changes_nothing(unbroken: Path, tmp_path: Path) -> None:
    """Real processes, killed with signal 9 until one comes to its end; later ones live longer."""
    dice, context, kills = random.Random(1), get_context("fork"), 0
    done = False
    while not done:
        process = context.Process(target=work, args=(tmp_path,))
        process.start()
        process.join(dice.uniform(0.0, 0.1) * 1.15**kills)
        if process.is_alive() and process.pid:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        done = process.exitcode == 0
    assert done
    assert kills >= 3
    manifest, pairs = result(tmp_path)
    assert (manifest, pairs) == result(unbroken)
    assert len({p[0] for p in pairs}) == len(pairs) == PAIRS


def test_a_manifest_cut_at_any_byte_is_completed(unbroken: Path, tmp_path: Path) -> None:
    """A kill leaves a beginning of the file: here some of each kind."""
    whole = (unbroken / MANIFEST).read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    dice = random.Random(2)
    cuts = [
        0,
        1,
        ends[0] - 1,
        ends[0],
        ends[2] + 1,
        ends[-1] - 1,
        *dice.sample(range(len(whole)), 4),
    ]
    for number, cut in enumerate(cuts):
        folder = tmp_path / str(number)
        shutil.copytree(unbroken, folder)
        (folder / MANIFEST).write_bytes(whole[:cut])
        (folder / "pairs.parquet").unlink()
        work(folder, partial(pipeline))
        assert result(folder) == result(unbroken), cut


def test_lost_pictures_are_drawn_again(unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(unbroken, folder)
    for path in sorted((folder / PICTURES).glob("*/*.png"))[::7]:
        path.unlink()
    work(folder, partial(pipeline))
    assert result(folder) == result(unbroken)
    names = {path.name for path in (folder / PICTURES).glob("*/*")}
    assert names == {path.name for path in (unbroken / PICTURES).glob("*/*")}


def test_a_line_damaged_in_the_middle_is_a_sentence(unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(unbroken, folder)
    lines = (folder / MANIFEST).read_bytes().splitlines(keepends=True)
    (folder / MANIFEST).write_bytes(b"".join([lines[0], b"not json\n", *lines[2:]]))
    with pytest.raises(ValueError, match=r"line 2 of .*manifest.jsonl cannot be read"):
        work(folder)


def test_two_workers_make_what_one_makes(unbroken: Path, tmp_path: Path) -> None:
    work(tmp_path, workers=2)
    assert result(tmp_path) == result(unbroken)


@pytest.mark.slow
@pytest.mark.long
def test_workers_end_with_a_parent_that_is_killed(unbroken: Path, tmp_path: Path) -> None:
    context = get_context("spawn")
    process = context.Process(target=work, args=(tmp_path, partial(pipeline, pause=0.3), 2))
    process.start()
    end = time.monotonic() + 60
    while not (tmp_path / "costs.jsonl").exists() and time.monotonic() < end:
        time.sleep(0.05)
    while len(children := _children(process.pid or 0)) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(children) >= 2
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    end = time.monotonic() + 20
    while any(map(_alive, children)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(_alive, children))
    work(tmp_path, partial(pipeline))
    assert result(tmp_path) == result(unbroken)


def _children(parent: int) -> list[int]:
    path = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(pid) for pid in path.read_text().split()]


def _alive(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    try:
        return path.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
