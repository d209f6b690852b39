"""Preferences between texts: a tiny Llama for seconds, SmolLM2-135M for real."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from scoreward.models.language import LanguageModel
from scoreward.models.language_loading import LanguageLoading, TinyLlama, load_language, smollm
from scoreward.preferences.records import TextBinary, TextPair
from scoreward.preferences.sorting import text_halves
from scoreward.recipes.language_data import (
    HeldOutTexts,
    TextData,
    TextFile,
    built_in,
    digits,
    from_file,
)
from scoreward.recipes.language_methods import Method
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.source import Source
from scoreward.training.text import LabelledSource, PairSource, PairTexts, ReferenceFile
from scoreward.training.text_evaluation import LabelledEvaluation, TextEvaluation


@dataclass(frozen=True)
class TextSettings:
    """Sizes of a round, optimiser and budget."""

    geometry: Geometry = Geometry(prompts=16, group=1, micro_batch=8)
    optimizer: Optimizer = Optimizer(lr=2e-4, warmup=5, decay="linear", ema=0.0)
    budget: Budget = Budget(rounds=100)


Flat = Annotated[TextSettings, tyro.conf.arg(prefix_name=False, name="")]
TINY = TextSettings(
    Geometry(prompts=32, group=1, micro_batch=32),
    Optimizer(lr=1e-3, warmup=5, ema=0.0),
    Budget(rounds=60),
)


@dataclass(frozen=True)
class Cached:
    """Where the reference's log-probabilities are kept."""

    file: Path | None = None  # default: the user's cache, under a name that only equal data finds
    batch: int = 32  # texts at once; memory only


File = Annotated[TextFile, tyro.conf.arg(prefix_name=False, name="")]
"""The same as options without a prefix."""


def tiny_llama_dpo(
    file: File = TextFile(),
    method: Method = Method(),
    shared: Flat = TINY,
    held_out: HeldOutTexts = HeldOutTexts(pairs=64, prompts=0),
    reference: Cached = Cached(),
    llama: TinyLlama = TinyLlama(),
    count: int = 512,
) -> Run:
    """A Llama of 0.8 million parameters learns to prefer sorted digits; seconds on a processor.

    With --pairs FILE from a file of one's own, to try it out; `count` then means nothing.
    """
    model = llama.build()
    data = digits(count, held_out) if file.pairs is None else from_file(file, model, held_out)
    return on_texts("tiny_llama_dpo", model, data, method, shared, held_out, reference)


@dataclass(frozen=True)
class Smol:
    """Which model: SmolLM2 from its package, or any causal model of transformers."""

    source: str | None = None  # a folder or hub name; default: SmolLM2-135M-Instruct as packaged
    loading: LanguageLoading = field(default_factory=lambda: LanguageLoading(context=512))

    def build(self) -> LanguageModel:
        return smollm(self.loading) if self.source is None else _named(self.source, self.loading)


def _named(source: str, loading: LanguageLoading) -> LanguageModel:
    return load_language(source, loading)


def smollm_dpo(
    file: File = TextFile(),
    method: Method = Method(),
    shared: Flat = TextSettings(),
    held_out: HeldOutTexts = HeldOutTexts(),
    reference: Cached = Cached(),
    model: Smol = Smol(),
) -> Run:
    """SmolLM2-135M-Instruct with LoRA on pairs of completions; any loss by --method.name."""
    return _smollm("smollm_dpo", file, method, shared, held_out, reference, model)


def smollm_simpo(
    file: File = TextFile(),
    method: Method = Method("simpo"),
    shared: Flat = TextSettings(),
    held_out: HeldOutTexts = HeldOutTexts(),
    reference: Cached = Cached(),
    model: Smol = Smol(),
) -> Run:
    """The same with SimPO, which needs no reference."""
    return _smollm("smollm_simpo", file, method, shared, held_out, reference, model)


def smollm_rainbow_po(
    file: File = TextFile(),
    method: Method = Method("rainbow_po"),
    shared: Flat = TextSettings(),
    held_out: HeldOutTexts = HeldOutTexts(),
    reference: Cached = Cached(),
    model: Smol = Smol(),
) -> Run:
    """The same with RainbowPO.

    Its parts are switched off one by one by --method.length-exponent 0, --method.alpha 1 (no
    mixing), --method.norm off (no contextual scaling) and --method.gamma 0.
    """
    return _smollm("smollm_rainbow_po", file, method, shared, held_out, reference, model)


def _smollm(
    name: str,
    file: TextFile,
    method: Method,
    shared: TextSettings,
    held_out: HeldOutTexts,
    reference: Cached,
    model: Smol,
) -> Run:
    made = model.build()
    data = built_in(made, held_out) if file.pairs is None else from_file(file, made, held_out)
    return on_texts(name, made, data, method, shared, held_out, reference)


def on_texts(
    name: str,
    model: LanguageModel,
    data: TextData,
    method: Method,
    shared: TextSettings,
    held_out: HeldOutTexts,
    reference: Cached,
) -> Run:
    """A run on pairs, or of KTO on labelled completions."""
    asked = ReferenceFile(method.reference, method.entropy, reference.file, reference.batch)
    beside = ReferenceFile(True, method.entropy, batch=reference.batch)
    return Run(
        name=name,
        model=model,
        objective=method.objective(),
        source=_source(model, data.train, method, shared.geometry, asked),
        optimizer=shared.optimizer,
        budget=shared.budget,
        evaluation=_evaluation(model, data, method, held_out, beside),
        keeping=Keeping(every=held_out.every),
        origin=data.facts,
    )


def _source(
    model: LanguageModel,
    records: Sequence[TextPair] | Sequence[TextBinary],
    method: Method,
    geometry: Geometry,
    asked: ReferenceFile,
) -> Source:
    """Pairs, or for KTO labelled completions, of which a pair is a wanted and an unwanted one."""
    pairs = [r for r in records if isinstance(r, TextPair)]
    labelled = [r for r in records if isinstance(r, TextBinary)]
    if method.name == "kto":
        return LabelledSource(model, labelled or list(text_halves(pairs)), geometry, asked)
    if labelled:
        raise ValueError(
            f"the data are {len(labelled)} labelled completions, and {method.name} learns from "
            "pairs; only kto learns from labels: --method.name kto"
        )
    return PairSource(PairTexts(model, pairs, asked), geometry)


def _evaluation(
    model: LanguageModel,
    data: TextData,
    method: Method,
    held_out: HeldOutTexts,
    asked: ReferenceFile,
) -> TextEvaluation | LabelledEvaluation:
    every, batch = held_out.every, held_out.batch
    labelled = [r for r in data.held_out if isinstance(r, TextBinary)]
    if labelled:
        source, beta = LabelledSource(model, labelled, reference=asked), method.settings()["beta"]
        return LabelledEvaluation(source, beta, every, batch, data.writing)
    pairs = PairTexts(model, [r for r in data.held_out if isinstance(r, TextPair)], asked)
    return TextEvaluation(pairs, method.preferences(), every, batch, data.writing)
