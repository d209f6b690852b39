"""Runs on pairs of texts: what is stored, what is refused, and that it learns."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from scoreward.data.preferences.records import TextPair
from scoreward.data.preferences.sorting import text_halves
from scoreward.losses import methods
from scoreward.methods.texts import LOSSES, Cached, HeldOutTexts, TextData, TextSettings, on_texts
from scoreward.models.lora import LoRA
from scoreward.models.texts.loading import LanguageLoading
from scoreward.objectives.texts.language import LanguagePreferences, said_of
from scoreward.recipes import recipe
from scoreward.report import write_report
from scoreward.tasks.text_data import sorted_digits
from scoreward.training.checkpoint import newest, read_snapshot
from scoreward.training.evaluations.texts import TextEvaluation, Writing
from scoreward.training.folder import RunFolder
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.references import ReferenceFile
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.sources.online import Source
from scoreward.training.sources.texts import PairSource, PairTexts
from scoreward.training.trainer import Trainer
from tests.objectives.texts import DIGITS, SIZES, bench, llama, moved, named, tales, trainer_of
from tests.support.matrix import mostly_long
from tests.training.toys import worded

NAMES = tuple(LOSSES)
FEW = ("dpo", "ipo", "slic", "simpo", "orpo", "wpo", "kto", "apo_down", "rainbow_po")
ROUND = Geometry(prompts=6, group=1)


def weights_of(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.weights.parameters.values()])


def short(folder: Path, rounds: int = 5, micro: int = 4, **changes: Any) -> Run:
    """A run of seconds that keeps a checkpoint every two rounds."""
    run = recipe("dpo", on="tiny_llama").run(
        shared=TextSettings(
            Geometry(prompts=6, group=1, micro_batch=micro),
            Optimizer(lr=1e-3, weight_decay=0.01, warmup=2, decay="cosine"),
            Budget(rounds=rounds),
        ),
        held_out=HeldOutTexts(pairs=4, every=2, batch=3, prompts=0),
        reference=Cached(folder.parent / "reference.safetensors"),
        llama=SIZES,
        count=20,
    )
    return replace(run, folder=folder, keeping=Keeping(every=2), **changes)


# What is stored of the reference


def asked_again(folder: Path, pairs: list[TextPair], model: Any = None) -> bool:
    """Whether a second trainer read the first one's file."""
    trainer = trainer_of(named("mallows_dpo"), folder, pairs, ROUND, model)
    trainer.step()
    assert isinstance(trainer.source, PairSource)
    return trainer.source.data.references.read


def test_the_reference_is_asked_once_and_then_read(tmp_path: Path) -> None:
    assert not asked_again(tmp_path, tales(6))
    assert asked_again(tmp_path, tales(6))


def test_training_steps_make_no_reference_pass(tmp_path: Path) -> None:
    trainer = trainer_of(named("dpo"), tmp_path, tales(6), ROUND)
    trainer.step()
    first = trainer.evaluations.behaviour
    assert first == 12  # both completions of six pairs, once
    trainer.step()
    assert trainer.evaluations.behaviour == first
    assert trainer.evaluations.training_forward == 24


def test_a_file_of_other_weights_tokens_or_data_is_refused(tmp_path: Path) -> None:
    asked_again(tmp_path, tales(6))
    other = llama()
    with torch.no_grad():
        next(other.network.parameters()).view(-1)[0] += 1e-3
    with pytest.raises(ValueError, match="holds reference log-probabilities of other reference w"):
        asked_again(tmp_path, tales(6), other)
    renamed = llama()
    renamed.text.tokenizer.chat_template = "{{ messages }}"
    with pytest.raises(ValueError, match="of other chat template; delete it, or name another"):
        asked_again(tmp_path, tales(6), renamed)
    told = llama()
    told.text.tokenizer.add_tokens(["<new>"])
    with pytest.raises(ValueError, match="of other tokenizer"):
        asked_again(tmp_path, tales(6), told)
    small = llama()
    with pytest.raises(ValueError, match="of other truncation"):
        asked_again(tmp_path, tales(6), replace(small, text=replace(small.text, context=60)))
    with pytest.raises(ValueError, match="of other data"):
        asked_again(tmp_path, tales(6)[::-1])


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mallows_dpo.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="is not a readable file of reference log-prob"):
        asked_again(tmp_path, tales(6))


def test_the_stored_numbers_are_those_of_the_reference(tmp_path: Path) -> None:
    """Also once the policy has left it, and with adapters that are switched off."""
    adapted = llama(LanguageLoading(lora=LoRA(4, 8.0, ("q_proj", "up_proj"))))
    for model in (llama(), adapted):
        trainer = trainer_of(named("dpo"), tmp_path, tales(6), ROUND, model)
        moved(trainer, 1.0)
        work, _ = trainer.work(0)
        with torch.no_grad():
            rows = trainer.source.collect(0, trainer.key, work).samples
            pairs = said_of(llama().reading, rows, 1.0)
        assert rows.ref_w is not None
        torch.testing.assert_close(rows.ref_w.sum(1).double(), pairs.logp_w, rtol=0, atol=1e-5)
        (tmp_path / "dpo.safetensors").unlink()


# The first round


def test_at_the_start_dpo_is_log_2(tmp_path: Path) -> None:
    loss, metrics = bench(named("dpo"), tmp_path, away=0).loss()
    assert float(loss.detach()) == pytest.approx(math.log(2), abs=1e-6)
    assert float(metrics["drift/nats"]) == pytest.approx(0, abs=1e-5)


def test_at_the_start_rainbow_po_is_not(tmp_path: Path) -> None:
    """x = (1 − α)(s_ref − γ), with φ that averages 1/mean(−log H̄) · −log H̄.  [rainbow-po] (loss)"""
    ours = bench(named("rainbow_po", alpha=0.25, gamma=0.1, beta=2.0), tmp_path, away=0)
    rows = ours.rows
    len_w, len_l = rows.winner.lengths(), rows.loser.lengths()
    x = 0.75 * (rows.ref_w.sum(1) / len_w - rows.ref_l.sum(1) / len_l - 0.1)
    phi = -((rows.entropy_w + rows.entropy_l) / 2).log()
    z = (phi / phi.mean()).double() * 2.0 * x.double()
    loss, metrics = ours.loss()
    torch.testing.assert_close(loss.detach(), torch.log1p((-z).exp()).mean(), rtol=0, atol=1e-6)
    assert float(metrics["scale/mean"]) == pytest.approx(1, abs=1e-6)


def test_no_gradient_reaches_the_reference_or_the_weights_of_wpo(tmp_path: Path) -> None:
    ours = bench(named("wpo"), tmp_path)
    pairs = said_of(ours.policy.current, ours.rows, 1.0)
    assert pairs.logp_w.requires_grad
    assert pairs.ref_w is not None
    assert not pairs.ref_w.requires_grad


# Micro-batches, resuming, learning


@pytest.mark.parametrize("name", ["dpo", "rainbow_po", "wpo", "aot", "aot_unpaired", "bco", "kto"])
def test_micro_batches_change_nothing(name: str, tmp_path: Path) -> None:
    """Also where the pairs of a batch meet: their partners are found before it is cut."""
    found = []
    for micro in (6, 4):
        geometry = replace(ROUND, micro_batch=micro, rollout_batch=micro)
        trainer = trainer_of(named(name), tmp_path, tales(6), geometry)
        moved(trainer)
        losses = [trainer.step().metrics["loss"] for _ in range(2)]
        found.append((weights_of(trainer), losses))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-8)
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-8)


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    whole, broken = short(tmp_path / "a"), short(tmp_path / "b")
    list(whole.start())
    moments: Any = broken.start()
    while next(moments).round < 3:
        pass
    moments.close()
    list(short(tmp_path / "b").resume())
    paths = [newest(run.folder / "checkpoints") for run in (whole, broken)]
    one, other = (read_snapshot(p, "live") for p in paths if p is not None)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", mostly_long(NAMES, FEW))
def test_every_method_lowers_its_loss(name: str, tmp_path: Path) -> None:
    """On six pairs that it sees again and again; but APO-down lowers winners too, and first."""
    trainer = trainer_of(named(name), tmp_path, tales(6), ROUND, lr=3e-3)
    metrics = [trainer.step().metrics for _ in range(8)]
    assert all(math.isfinite(v) for m in metrics for v in m.values())
    if name != "wpo":  # its weights grow with the completions' likelihood
        assert metrics[-1]["loss"] < metrics[0]["loss"] - 1e-3 * abs(metrics[0]["loss"])
    if name not in ("kto", "apo_down"):
        assert metrics[-1]["log_prob/winner"] - metrics[-1]["log_prob/loser"] > (
            metrics[0]["log_prob/winner"] - metrics[0]["log_prob/loser"]
        )


def test_a_tiny_llama_tells_held_out_pairs_apart(tmp_path: Path) -> None:
    """A rule on strings is learned from 200 pairs: more than nine of ten new ones are right."""
    trainer = trainer_of(
        named("dpo"), tmp_path, sorted_digits(200), Geometry(prompts=24, group=1), lr=3e-3
    )
    for _ in range(30):
        trainer.step()
    held_out = PairTexts(worded(trainer), sorted_digits(60, seed=1), ReferenceFile(False))
    pairs = said_of(worded(trainer).reading, held_out.rows(range(60), range(60), None), 1.0)
    assert float((pairs.logp_w > pairs.logp_l).double().mean()) > 0.9


# Evaluation, report, refusals


def test_a_run_measures_writes_and_reports(tmp_path: Path) -> None:
    run = short(tmp_path / "run")
    assert isinstance(run.evaluation, TextEvaluation)
    seen: list[float] = []

    def generate(model: Any, prompts: Any, seed: int) -> list[str]:
        seen.append(float(next(model.network.parameters()).detach().sum()))
        return [f"text {len(seen)} <b>" for _ in prompts]

    def lengths(texts: Any, prompts: Any) -> torch.Tensor:
        return torch.tensor([float(len(t)) for t in texts])

    writing = Writing([r.prompt for r in DIGITS[:5]], generate, {"size": lengths}, shown=3)
    list(replace(run, evaluation=replace(run.evaluation, writing=writing)).start())
    records = RunFolder(run.folder).records("evaluation")
    assert [r["round"] for r in records] == [0, 2, 4, 5]
    first, last = records[0]["held_out"], records[-1]["held_out"]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["implicit_accuracy"] == 0.5
    assert first["size"] == 10
    assert last["lengths"] == first["lengths"]
    assert len(set(seen)) == 4  # the weights of each evaluation, not the first ones
    page = write_report(run.folder).read_text(encoding="utf-8")
    assert "The same prompts before and after" in page
    assert "text 1 &lt;b&gt;" in page
    assert "text 4 &lt;b&gt;" in page
    assert "text 2" not in page
    assert "sampling" not in page.split('id="made"')[0].split("</style>")[1]


def test_held_out_numbers_are_means_over_pairs(tmp_path: Path) -> None:
    """Against a loop over single pairs."""
    trainer = trainer_of(named("dpo"), tmp_path, tales(6), ROUND)
    moved(trainer, 1.0)
    run = short(tmp_path / "run", model=worded(trainer))
    held_out = PairTexts(worded(trainer), tales(5), ReferenceFile(True, file=tmp_path / "held"))
    settings = TextEvaluation(held_out, LanguagePreferences(methods.DPO(0.1).loss()), batch=2)
    from scoreward.training.evaluations.pictures import Subject

    trainer.weights.commit("ema")
    subject = Subject(
        run.model,
        trainer.reading("ema"),
        trainer.reading("reference"),
        trainer.weights,
        trainer.team,
        {},
        0,
        False,
    )
    measured = settings.measure(subject)
    numbers = measured.numbers["held_out"]
    gaps, plain, base = [], [], llama()
    for record in tales(5):
        rows = [worded(trainer).padded([base.text.sequence(record.prompt, t)])
                for t in (record.chosen, record.rejected)]  # fmt: skip
        now, was = (
            [float(m.reading(r.token, r.mask, None).log_prob.sum().detach()) for r in rows]
            for m in (worded(trainer), base)
        )
        gaps.append((now[0] - was[0]) - (now[1] - was[1]))
        plain.append(now[0] > now[1])
    assert numbers["margin"] == pytest.approx(0.1 * sum(gaps) / 5, abs=1e-5)
    assert numbers["implicit_accuracy"] == pytest.approx(sum(g > 0 for g in gaps) / 5)
    assert numbers["plain_accuracy"] == pytest.approx(sum(plain) / 5)
    loss = sum(math.log1p(math.exp(-0.1 * g)) for g in gaps) / 5
    assert numbers["loss"] == pytest.approx(loss, abs=1e-6)
    (each,) = measured.each
    assert (each["unit"], len(each["groups"])) == ("pairs", 5)
    assert each["values"]["margin"] == pytest.approx([0.1 * g for g in gaps], abs=1e-5)
    assert each["values"]["plain_accuracy"] == [float(p) for p in plain]
    assert numbers["saturated"] == sum(abs(0.1 * g) > 5 for g in gaps) / 5


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    model = llama()
    records = [TextPair("a", "b", "c"), TextPair("p" * 80, "b", "c"), TextPair("a", "", "c")]
    with pytest.raises(ValueError, match="row 1 of the data: the prompt has 80 tokens, which"):
        PairTexts(model, records)
    with pytest.raises(ValueError, match="row 0 of the data: a completion is empty"):
        PairTexts(model, records[2:])
    with pytest.raises(ValueError, match=r"`geometry.group` must be 1, got 2"):
        PairSource(PairTexts(model, tales(3)), Geometry(prompts=3, group=2))
    with pytest.raises(ValueError, match="need at least 2, got 1 and 6"):
        trainer_of(named("kto"), tmp_path, tales(6), Geometry(prompts=1, group=1))
    with pytest.raises(TypeError, match="unexpected keyword argument 'gamma'"):
        named("dpo", gamma=1.0)
    with pytest.raises(ValueError, match="to train on and to measure on, got 6 and 0"):
        TextData(tales(6), [])
    labelled = TextData(list(text_halves(tales(6))), list(text_halves(tales(6))))
    with pytest.raises(ValueError, match="and dpo learns from pairs; only kto learns from labels"):
        on_texts("x", model, labelled, named("dpo"), TextSettings(), HeldOutTexts(), Cached())


def test_rounds_go_through_all_pairs_before_any_comes_again(tmp_path: Path) -> None:
    trainer = trainer_of(named("dpo"), tmp_path, tales(12), Geometry(prompts=4, group=1))
    source: Source = trainer.source
    work, _ = trainer.work(0)
    with torch.no_grad():
        rounds = [source.collect(r, trainer.key, work).samples for r in range(6)]
    scores = [sorted(r.score_w.tolist()) for r in rounds]
    epochs = [sorted(v for part in scores[i : i + 3] for v in part) for i in (0, 3)]
    assert epochs[0] == epochs[1]
    assert len(set(epochs[0])) == 12
    assert scores[:3] != scores[3:]
