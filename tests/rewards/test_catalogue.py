"""Rewards are found by name, or one sentence says what is wrong with the name."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scoreward.rewards import catalogue
from scoreward.rewards.base import scored
from scoreward.rewards.catalogue import NAMES, find

OWN = "def blue(media, prompts):\n    return media[:, 2].flatten(1).mean(1)\n\nnumber = 3\n"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "my_reward.py"
    path.write_text(OWN)
    return path


@pytest.mark.parametrize("name", list(NAMES))
def test_every_name_leads_to_a_constructor_and_says_what_it_is(name: str) -> None:
    entry = NAMES[name]
    module = importlib.import_module(f"scoreward.rewards.{entry.module}")
    assert callable(getattr(module, entry.constructor))
    assert 10 < len(entry.what) < 90


def test_a_name_gives_its_reward() -> None:
    media = torch.rand(3, 3, 8, 8)
    assert scored("variety", find("variety"), media, ["a", "a", "b"]).tolist()[2] == 0


def test_a_function_of_ones_own_is_found_in_its_file(own: Path) -> None:
    media = torch.zeros(2, 3, 4, 4)
    media[1, 2] = 0.5
    assert find(f"{own}:blue")(media, ["", ""]).tolist() == [0, 0.5]


def test_what_follows_the_equals_sign_reaches_the_constructor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def build(where: str = "usual") -> object:
        seen.append(where)
        return lambda media, prompts: media.flatten(1).mean(1)

    monkeypatch.setattr(catalogue, "built", build, raising=False)
    entry = catalogue.Entry("catalogue", "built", "a reward of this test", "FOLDER")
    monkeypatch.setitem(NAMES, "testing", entry)
    for name in ("testing", "testing=models/mine", "testing=http://host:1/v1?a=b"):
        find(name)
    assert seen == ["usual", "models/mine", "http://host:1/v1?a=b"]
    with pytest.raises(ValueError, match="nothing follows `=`"):
        find("testing=")


def test_wrong_names_are_refused_in_a_sentence(own: Path) -> None:
    with pytest.raises(ValueError, match="unknown reward 'varity'; the nearest are variety"):
        find("varity")
    with pytest.raises(ValueError, match="the nearest are variety"):
        find("varity=weights")
    with pytest.raises(ValueError, match="takes nothing after `=`, got 'b'"):
        find("variety=b")
    with pytest.raises(ValueError, match=r"there is no file 'none\.py'"):
        find("none.py:score")
    for wrong in ("red", "number"):
        with pytest.raises(ValueError, match=f"has no function '{wrong}'"):
            find(f"{own}:{wrong}")


def test_the_table_imports_no_reward() -> None:
    """In a fresh interpreter, so that other tests do not hide an import."""
    probe = "import sys; import scoreward.rewards.catalogue; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "scoreward.rewards.catalogue" in loaded
    assert not loaded & {"transformers", "PIL", "scoreward.rewards.ocr", "scoreward.data"}
