"""Models, sources, objectives and evaluations of pictures and of texts are not mixed silently."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import scoreward as sw
from scoreward.objectives.base import Branched, Objective, Samples
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.objectives.texts.kto import KTO, LabelledRows
from scoreward.objectives.texts.language import LanguagePreferences, TextPairs
from tests.training.toys import make_trainer, rounds_of

PICTURES = sw.recipe("vgrpo", on="toy").run()
TEXTS = sw.recipe("dpo", on="tiny_llama").run()


def begun(run: sw.Run) -> None:
    next(iter(run.start()))


def test_an_objective_says_what_it_learns_from() -> None:
    kinds = [o.given() for o in (VGRPO, KTO, LanguagePreferences, sw.Objective)]
    assert kinds == [Samples, LabelledRows, TextPairs, None]
    assert issubclass(Branched, Samples)  # a kind of it will do


def test_texts_are_not_given_to_an_objective_on_pictures(tmp_path: Path) -> None:
    run = replace(TEXTS, objective=PICTURES.objective, evaluation=None, folder=tmp_path / "run")
    with pytest.raises(ValueError, match="VGRPO learns from Samples, and PairSource gives TextPai"):
        list(run.start())


def test_a_source_of_pictures_does_not_ask_a_language_model(tmp_path: Path) -> None:
    run = replace(TEXTS, source=PICTURES.source, evaluation=None, folder=tmp_path / "run")
    with pytest.raises(ValueError, match="a source of pictures is for a Model, and a LanguageMode"):
        list(run.start())


def test_a_source_of_texts_does_not_ask_a_model_of_pictures(tmp_path: Path) -> None:
    for name in ("dpo", "kto"):
        source = sw.recipe(name, on="tiny_llama").run().source
        run = replace(PICTURES, source=source, evaluation=None, folder=tmp_path / name)
        with pytest.raises(
            ValueError, match="a source of texts is for a LanguageModel, and a Mode"
        ):
            list(run.start())


@pytest.mark.parametrize("name", ["stores", "whole_groups", "separable", "collective", "asks"])
def test_a_switch_of_an_earlier_version_is_refused_when_the_class_is_made(name: str) -> None:
    with pytest.raises(TypeError, match=f"`Mine.{name}` is not read; say what Mine needs in its"):
        type("Mine", (VGRPO,), {name: True})


def test_an_evaluation_measures_its_own_kind_of_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="an evaluation of pictures is for a Model, and a Langua"):
        begun(replace(TEXTS, evaluation=PICTURES.evaluation, folder=tmp_path / "one"))
    with pytest.raises(ValueError, match="an evaluation of texts is for a LanguageModel, and a Mo"):
        begun(replace(PICTURES, evaluation=TEXTS.evaluation, folder=tmp_path / "two"))


class Plain(Objective):
    """Says nothing of what it is given."""

    def prepare(self, samples: Any, policy: Any, key: Any) -> Any:
        return samples

    def loss(self, rows: Any, policy: Any) -> tuple[Any, dict]:
        middle = rows.advantage.to(rows.x0) * 0 + 0.5
        off = policy.current(rows.x0, middle, rows.cond).x0 - rows.x0
        return off.square().mean(), {}


def test_an_objective_that_does_not_say_takes_what_comes() -> None:
    assert len(rounds_of(make_trainer(objective=Plain()), 1)) == 1
