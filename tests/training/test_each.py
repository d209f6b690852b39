"""What evaluations keep of every row, so that a change has an interval."""

from pathlib import Path
from statistics import fmean, stdev

import pytest
import torch

from scoreward.data.preferences.records import TextBinary
from scoreward.losses.links import SATURATED, saturated
from scoreward.training.evaluations.pictures import Subject, each_row
from scoreward.training.evaluations.texts import LabelledEvaluation, ahead, shares, told_apart
from scoreward.training.geometry import Geometry
from scoreward.training.references import ReferenceFile
from scoreward.training.sources.texts import LabelledSource
from tests.objectives.texts import moved, named, tales, trainer_of
from tests.training.toys import worded


def test_pairs_of_one_prompt_are_one_group() -> None:
    """Whatever its spaces and capitals, as where it is held out."""
    prompts = ["a cat", "A  cat", "a dog", "a cat"]
    assert each_row("held_out", "pairs", prompts, {"margin": [1 / 3] * 4}) == {
        "sampler": "held_out", "unit": "pairs", "groups": [0, 0, 1, 0],
        "values": {"margin": [0.333333] * 4},
    }  # fmt: skip


def test_shares_of_two_kinds_have_the_mean_and_the_spread_of_their_number() -> None:
    """The accuracy over couples of wanted and unwanted, against its own bootstrap over both kinds.

    2000 resamples: their deviation is known to 1.6 %, and the projection leaves out terms of 1/n.
    """
    draw = torch.Generator().manual_seed(0)
    better = torch.randn(40, generator=draw, dtype=torch.float64) + 0.5
    worse = torch.randn(60, generator=draw, dtype=torch.float64)
    number = float(ahead(better[:, None] - worse[None]).mean())
    wanted = torch.arange(100) % 5 < 2
    each = shares(number, wanted, *told_apart(better, worse))
    assert float(each.mean()) == pytest.approx(number, abs=1e-12)
    again = []
    for _ in range(2000):
        drawn = (v[torch.randint(len(v), (len(v),), generator=draw)] for v in (better, worse))
        a, b = drawn
        again.append(float(ahead(a[:, None] - b[None]).mean()))
    assert float(each.std()) / 100**0.5 == pytest.approx(stdev(again), rel=0.08)


def test_labelled_completions_have_rows_whose_means_are_the_numbers(tmp_path: Path) -> None:
    trainer = trainer_of(named("dpo"), tmp_path, tales(6), Geometry(prompts=6, group=1))
    moved(trainer, 1.0)
    trainer.weights.commit("ema")
    records = [
        TextBinary(r.prompt, text, wanted)
        for r in tales(5)
        for text, wanted in ((r.chosen, True), (r.rejected, False), (r.rejected + ".", False))
    ]
    model = worded(trainer)
    data = LabelledSource(model, records, reference=ReferenceFile(True, file=tmp_path / "held"))
    now, first = (trainer.reading(name) for name in ("ema", "reference"))
    subject = Subject(model, now, first, trainer.weights, trainer.team, {}, 0, False)
    measured = LabelledEvaluation(data).measure(subject)
    (each,) = measured.each
    assert (each["unit"], each["groups"]) == ("completions", [i // 3 for i in range(15)])
    for name, column in each["values"].items():
        wanted = measured.numbers["held_out"][name]
        assert fmean(column) == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert set(each["values"]) == {"accuracy", "margin", "log_prob_winner"}


def test_a_pair_is_decided_beyond_five_on_either_side() -> None:
    z = torch.tensor([-5.1, -SATURATED, 0.0, SATURATED, 5.1])
    assert saturated(z).tolist() == [1.0, 0.0, 0.0, 0.0, 1.0]
