"""Curation with stages whose truth is known.  [rpo] (stages)"""

from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from scoreward.curation.finish import finish
from scoreward.curation.manifest import Manifest
from scoreward.curation.pictures import PictureStore
from scoreward.curation.records import PairEntry
from scoreward.curation.run import MANIFEST, PICTURES, Build, Curation, CurationError, Progress
from scoreward.curation.stages import Plan
from scoreward.curation.work import Item, agenda, held_out
from scoreward.data.preferences.files import read_image_pairs
from tests.curation.doubles import pipeline, seen, wanted


def curated(folder: Path, build: Build = pipeline, pairs: int = 1000, **more: int) -> Progress:
    curation = Curation(build, folder, pairs, **more)
    *_, last = curation.steps()
    finish(curation, last)
    return last


def entries(folder: Path) -> list[PairEntry]:
    return list(Manifest(folder / MANIFEST).entries.values())


def test_a_perfect_edit_always_wins_by_an_oracle(tmp_path: Path) -> None:
    curated(tmp_path)
    kept = [one for one in entries(tmp_path) if one.kept]
    assert len(kept) > 20
    assert {one.label for one in kept} == {"edited"}
    for pair in read_image_pairs(tmp_path / "pairs.parquet"):
        assert seen(pair.winner) == wanted(pair.prompt) != seen(pair.loser)
        assert (pair.score_w, pair.score_l, pair.source) == (1.0, 0.0, "curation")


@pytest.mark.parametrize("mode", ["improve_only", "relabel"])
def test_an_edit_that_always_fails_makes_no_pairs(tmp_path: Path, mode: str) -> None:
    """An edit to another wrong colour has the same oracle score, so relabelling keeps none too."""
    last = curated(tmp_path, partial(pipeline, success=0.0, mode=mode))
    assert last.kept == 0
    assert last.reasons["gap too small"] > 20
    assert not (tmp_path / "pairs.parquet").exists()


def test_edits_succeed_as_often_as_they_should(tmp_path: Path) -> None:
    """The better of two edits, each right with 1/2: kept with 3/4.  5σ of 150 is 0.18."""
    last = curated(tmp_path, partial(pipeline, success=0.5, count=120))
    tried = sum(last.stages[s] for s in ("judged", "kept"))
    assert tried > 140
    assert abs(last.kept / tried - 0.75) < 0.18


def test_a_seed_decides_everything(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        curated(tmp_path / name, seed=seed)
    one, two, other = ((tmp_path / n / MANIFEST).read_bytes() for n in ("one", "two", "other"))
    assert one == two != other


def test_every_entry_says_how_far_it_came_and_why_no_further(tmp_path: Path) -> None:
    last = curated(tmp_path)
    found = entries(tmp_path)
    assert len(found) == last.entries == last.stages.total()
    assert Counter(one.reason for one in found if not one.kept) == last.reasons
    assert all(bool(one.reason) != one.kept for one in found)
    assert set(last.reasons) == {"nothing to fix"}
    for one in found:
        assert one.made_by["editor"] == "brush"
        right = seen(PictureStore(tmp_path / PICTURES).get(one.image)) == wanted(one.prompt)
        assert right == (one.reason == "nothing to fix")


def test_enough_pairs_are_enough(tmp_path: Path) -> None:
    last = curated(tmp_path, pairs=5)
    assert 5 <= last.kept < 9
    assert len(read_image_pairs(tmp_path / "pairs.parquet")) == 5
    more = curated(tmp_path, pairs=12)
    assert more.kept >= 12
    curated(tmp_path / "at_once", pairs=12)
    assert (tmp_path / MANIFEST).read_bytes() == (tmp_path / "at_once" / MANIFEST).read_bytes()


def test_prompts_are_used_once_and_held_out_by_their_words() -> None:
    prompts = [f"a red square, number {i}" for i in range(400)]
    plan = agenda([*prompts, *(p.upper() + " " for p in prompts)], Plan(attempts=1, held_out=0.2))
    used = [item.prompt for batch in plan.batches for item in batch]
    assert plan.repeated == 400
    assert sorted([*used, *plan.held_out]) == sorted(prompts)
    assert 40 < len(plan.held_out) < 120  # 80 ± 5σ
    alone = agenda(prompts[:200], Plan(attempts=1, held_out=0.2))
    assert set(alone.held_out) == set(plan.held_out) & set(prompts[:200])
    assert all(held_out(p.upper(), 0.2) for p in plan.held_out)


def test_nothing_held_out_is_ever_drawn(tmp_path: Path) -> None:
    curated(tmp_path)
    aside = set((tmp_path / "held_out.txt").read_text().splitlines())
    assert aside
    assert not aside & {one.prompt for one in entries(tmp_path)}


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    curated(tmp_path)
    with pytest.raises(CurationError, match="a curation with seed = 0, now it is 1"):
        curated(tmp_path, seed=1)
    with pytest.raises(CurationError, match="with prompts = "):
        curated(tmp_path, partial(pipeline, count=31))


def test_two_curations_at_once_are_refused(tmp_path: Path) -> None:
    steps = Curation(pipeline, tmp_path, 1000).steps()
    next(steps)
    with pytest.raises(CurationError, match="another curation is at work"):
        next(Curation(pipeline, tmp_path, 1000).steps())


def test_a_picture_is_one_file_named_by_its_content(tmp_path: Path) -> None:
    store = PictureStore(tmp_path)
    names = {store.put(Image.new("RGB", (4, 4), "red")) for _ in range(2)}
    assert len(names) == len(list(tmp_path.glob("*/*"))) == 1
    (name,) = names
    store.path(name).write_bytes(b"something else")
    with pytest.raises(ValueError, match="is not the picture that the manifest names"):
        store.get(name)


def test_seed_prompt_and_attempt_address_the_noise() -> None:
    keys = {Item(p, a).key(seed) for p in ("a cat", "an owl") for a in (0, 1) for seed in (0, 1)}
    assert len(keys) == 8
