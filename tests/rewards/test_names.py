"""Several rewards have each a name of its own, or are refused."""

from pathlib import Path

import pytest
import torch

import scoreward as sw
from scoreward.rewards.catalogue import named, parted
from scoreward.tasks.base import Goal

BRIGHT = "def score(media, prompts):\n    return media.flatten(1).mean(1)\n"
DARK = "def score(media, prompts):\n    return 1 - media.flatten(1).mean(1)\n"
CONSTANT = "def reward(media, prompts):\n    return media.new_full((len(media),), 0.25)\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    """Three functions, two of which are called alike, and one as a run calls its total."""
    found = []
    for name, text in (("bright", BRIGHT), ("dark", DARK), ("constant", CONSTANT)):
        (tmp_path / f"{name}.py").write_text(text)
        function = "reward" if name == "constant" else "score"
        found.append(f"{tmp_path / name}.py:{function}")
    return found[0], found[1], found[2]


@pytest.mark.parametrize(
    ("spec", "name", "what"),
    [
        ("pickscore", "pickscore", "pickscore"),
        ("pickscore=models/x", "pickscore", "pickscore=models/x"),
        ("mine=pickscore=models/x", "mine", "pickscore=models/x"),
        ("a.py:score", "score", "a.py:score"),
        ("mine=a.py:score", "mine", "a.py:score"),
        ("unified_reward=http://h:1/v1?a=b", "unified_reward", "unified_reward=http://h:1/v1?a=b"),
        ("mine=unified_reward=http://h:1", "mine", "unified_reward=http://h:1"),
        ("http://h:8000/bright", "bright", "http://h:8000/bright"),
        ("mine=http://h:8000/bright", "mine", "http://h:8000/bright"),
        ("pickscor=models/x", "pickscor", "pickscor=models/x"),
    ],
)  # fmt: skip
def test_a_name_stands_before_what_it_names(spec: str, name: str, what: str) -> None:
    assert parted(spec) == (name, what)


def test_a_path_with_an_equals_sign_is_a_path(tmp_path: Path) -> None:
    odd = tmp_path / "a=b.py"
    odd.write_text(BRIGHT)
    assert parted(f"{odd}:score") == ("score", f"{odd}:score")


def test_two_of_one_name_are_refused_and_named_apart(files: tuple[str, str, str]) -> None:
    bright, dark, _ = files
    with pytest.raises(ValueError, match=r"two rewards are called 'score': .*my_score=.*dark.py"):
        Goal(reward=(bright, dark))
    goal = Goal(reward=(f"bright={bright}", f"dark={dark}"), weights=(1.0, 5.0))
    assert goal.weighted() == {"bright": 1.0, "dark": 5.0}
    media = torch.full((2, 3, 4, 4), 0.2)
    values = {name: reward(media, ["", ""])[0].item() for name, reward in goal.measured().items()}
    assert values == pytest.approx({"reward": 0.2 + 5 * 0.8, "bright": 0.2, "dark": 0.8})


@pytest.mark.parametrize("name", ["reward", "judge", "judge_two", "mean", "drift"])
def test_what_a_run_measures_itself_is_no_name(name: str, files: tuple[str, str, str]) -> None:
    said = f"is called '{name}', and something else that is measured is called that"
    with pytest.raises(ValueError, match=said):
        named([f"{name}={files[0]}", files[1]])
    assert named([f"{name}={files[0]}"]) == {name: files[0]}
    with pytest.raises(ValueError, match=r"is called 'reward'.*my_reward="):
        Goal(reward=(files[2], files[0]))


def test_judges_have_names_of_their_own_too(files: tuple[str, str, str]) -> None:
    bright, dark, constant = files
    goal = Goal(judge=(bright, f"b={bright}", f"c={constant}"))
    assert list(goal.judges()) == ["judge", "judge_b", "judge_c"]
    with pytest.raises(ValueError, match="two rewards are called 'score'"):
        Goal(judge=(constant, bright, dark))


def test_a_name_that_the_task_measures_by_is_refused(files: tuple[str, str, str]) -> None:
    made = sw.recipe("vgrpo", on="portraits")
    with pytest.raises(ValueError, match="is called 'strict', and something else"):
        made.run(goal=Goal(reward=(f"strict={files[0]}", files[1])))


def test_a_run_says_what_trains_it_and_how_much(files: tuple[str, str, str]) -> None:
    from scoreward.training.held import said_of_rewards, trained_by

    bright, dark, _ = files
    goal = Goal(reward=(f"bright={bright}", f"dark={dark}"), weights=(1.0, 5.0))
    run = sw.recipe("vgrpo", on="portraits").run(goal=goal)
    assert trained_by(run) == {"bright": 1.0, "dark": 5.0}
    said = "trained by 1 x bright + 5 x dark; only measured: judge, strict, palette, nearest"
    assert said_of_rewards(run) == said
