"""A comparison of run folders: what their rows and their records add to the curves."""

import shutil
from typing import Any

import pytest

from scoreward.report.comparison import sentences
from scoreward.report.comparison.comparison import read_inputs, tasks
from tests.report.conftest import FakeRun


def test_single_runs_on_the_same_prompts_are_told_apart_by_the_prompts(fake_run: FakeRun) -> None:
    def said(**other: Any) -> str:
        settings = {"recipe": "portraits_nft"}
        two = [fake_run("a"), fake_run("b", about=settings, **other)]
        (task,) = tasks(read_inputs(two))
        for folder in two:
            shutil.rmtree(folder)
        return sentences.headline(task)

    end = "One seed each, so this is of two runs and not of methods: "
    assert said(hacked=True).startswith(f"vgrpo has the highest judge. {end}+0.037 [+0.0")
    assert said(hacked=True).endswith("128 prompts, 128 pictures against nft, better.")
    assert said().endswith("+0.000 [+0.000, +0.000], 128 prompts, 128 pictures against nft, no "
                           "difference seen.")  # fmt: skip
    assert said(hacked=True, prompts=64) == said(prompts=0) == (
        "vgrpo has the highest judge; single seeds cannot tell by how much."
    )  # fmt: skip
    assert "single seeds" in said(hacked=True, rounds=60)  # other budgets, other rounds


def test_the_other_sampler_is_compared_by_its_own_rows(fake_run: FakeRun) -> None:
    two = [fake_run("a"), fake_run("b", hacked=True, about={"recipe": "portraits_nft"})]
    (ode,), (sde,) = (tasks(read_inputs(two, s)) for s in ("ode", "sde"))
    assert {c.sampler for c in sde.curves} == {"sde"}
    assert sentences.headline(ode).split(",")[0] == sentences.headline(sde).split(",")[0]


def test_a_hacked_run_is_a_warning_of_the_comparison(fake_run: FakeRun) -> None:
    good, bad = fake_run("good"), fake_run("bad", hacked=True)
    (task,) = tasks(read_inputs([good, bad]))
    (said,) = [w for w in sentences.warnings(task) if "hacked" in w]
    assert said.startswith(f"{bad}: The reward rose while the judge strict fell: the reward was")


@pytest.mark.parametrize(
    ("about", "known", "parts"),
    [
        ({"recipe": "tiny_llama_dpo", "task": "tiny_llama", "method": "dpo"}, (),
         ("tiny_llama", "dpo")),
        ({"recipe": "mine", "task": "digits_compressed", "method": "vgrpo_fast"}, (),
         ("digits_compressed", "vgrpo_fast")),
        ({"recipe": "tiny_llama_dpo"}, ("toy", "tiny", "tiny_llama"), ("tiny_llama", "dpo")),
        ({"recipe": "digits_compressed_flow_grpo"}, ("digits_compressed",),
         ("digits_compressed", "flow_grpo")),
        ({"recipe": "portraits_vgrpo"}, ("toy",), ("portraits", "vgrpo")),
        ({"recipe": "pretraining"}, ("toy",), ("pretraining", "pretraining")),
    ],
)  # fmt: skip
def test_a_run_says_its_task_and_an_earlier_one_is_told_by_the_known_tasks(
    fake_run: FakeRun, about: dict[str, str], known: tuple[str, ...], parts: tuple[str, str]
) -> None:
    (curve,) = read_inputs([fake_run(rounds=4, about=about)], tasks=known)
    assert (curve.task, curve.method) == parts
