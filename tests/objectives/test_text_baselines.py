"""Texts: one KTO baseline for all processes, padding in every loss, settings that are refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from scoreward.losses import methods
from scoreward.losses.separate import Separate
from scoreward.models.texts.language import Sequences
from scoreward.objectives.texts.batch import AOT, BCO
from scoreward.objectives.texts.kto import BASELINE, KTO, LabelledRows
from scoreward.objectives.texts.language import LanguagePreferences, TextPairs
from tests.objectives.texts import Bench, bench, named


def ranks(ours: Bench, objective: KTO) -> tuple[list[Tensor], list[Tensor]]:
    """The baselines of two processes of unequal size, and what each of them adds up."""
    parts = [ours.rows[:4], ours.rows[4:]]
    told: list[Tensor] = []

    def written(own: Tensor) -> Tensor:
        told.append(own)
        return own

    def prepared(part: LabelledRows, total: Callable[[Tensor], Tensor]) -> Tensor:
        policy = replace(ours.policy, total=total, memory={})
        with torch.no_grad():
            objective.ready(part, policy, ours.trainer.key)
        return policy.memory[BASELINE]

    for part in parts:
        prepared(part, written)
    whole = torch.stack(told).sum(0)
    return [prepared(part, lambda own: whole) for part in parts], told


@pytest.mark.parametrize("sign", [1, -1])
def test_every_process_has_the_same_baseline_and_it_is_never_negative(
    sign: int, tmp_path: Path
) -> None:
    """[kto] (baseline): the mean over the round, not the mean of the processes' means."""
    ours = bench(named("kto"), tmp_path, pairs=6)
    if sign < 0:  # the policy and the reference change places
        ours.policy = replace(ours.policy, old=ours.policy.reference, reference=ours.policy.old)
    found, told = ranks(ours, KTO())
    assert torch.equal(found[0], found[1])
    mean = (told[0][0] + told[1][0]) / 6  # of both signs, as policy and reference change places
    assert mean != (told[0][0] / 4 + told[1][0] / 2) / 2
    torch.testing.assert_close(found[0], mean.clamp(min=0), rtol=0, atol=1e-12)


def test_no_gradient_reaches_the_baseline_of_kto(tmp_path: Path) -> None:
    ours = bench(named("kto"), tmp_path)
    loss, _ = ours.loss()
    assert loss.requires_grad
    assert not ours.policy.memory[BASELINE].requires_grad
    assert ours.rows.ref is not None
    assert not ours.rows.ref.requires_grad


def padded(text: Sequences, width: int) -> Sequences:
    """The same with columns of another token at the end that are no part of the completion."""
    token = torch.full((len(text), width), 7, dtype=text.token.dtype)
    mask = torch.zeros(len(text), width, dtype=torch.bool)
    return replace(
        text, token=torch.cat([text.token, token], 1), mask=torch.cat([text.mask, mask], 1)
    )


@pytest.mark.parametrize(
    "name", ["dpo", "ln_dpo", "rainbow_po", "simpo", "orpo", "wpo", "r_dpo", "bco", "aot"]
)
def test_columns_outside_the_mask_change_no_loss(name: str, tmp_path: Path) -> None:
    """With LD-DPO's tail where the loss is DPO."""
    ours = bench(named(name, tail=0.5) if name == "dpo" else named(name), tmp_path)
    before, _ = ours.loss()
    rows: TextPairs = ours.rows
    ours.rows = replace(rows, winner=padded(rows.winner, 5), loser=padded(rows.loser, 5))
    after, _ = ours.loss()
    torch.testing.assert_close(after, before, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "make",
    [
        lambda: KTO(beta=-0.1),
        lambda: AOT(beta=0.0),
        lambda: BCO(beta=-1.0),
        lambda: Separate("nca", beta=-0.1),
    ],
)
def test_a_beta_that_would_turn_winners_into_losers_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match="`beta` must be above 0, got"):
        make()


def test_negative_weights_of_kto_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must not be negative, got 1\.0 and -1\.0"):
        KTO(weight_undesirable=-1.0)


def test_a_separate_loss_of_equal_texts_has_its_start(tmp_path: Path) -> None:
    """With policy = reference: NCA 2 log 2, APO-zero 1, DPO log 2, whatever β."""
    for method, wanted in (
        (Separate("nca", 0.3), 1.386294),
        (Separate("apo_zero", 0.3), 1.0),
        (methods.DPO(0.3).loss(), 0.693147),
    ):
        ours = bench(named("dpo"), tmp_path, away=0)
        loss, _ = LanguagePreferences(method).loss(ours.rows, ours.policy)
        assert loss.item() == pytest.approx(wanted, abs=1e-5)
