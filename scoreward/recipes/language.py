"""Preferences between texts: a tiny Llama for seconds, SmolLM2-135M for real."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from scoreward.keys import Key
from scoreward.models.language import LanguageModel
from scoreward.models.language_loading import LanguageLoading, TinyLlama, load_language, smollm
from scoreward.preferences.records import TextBinary, TextPair
from scoreward.recipes.language_methods import Method
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.source import Source
from scoreward.training.text import LabelledSource, PairSource, PairTexts, ReferenceFile, usable
from scoreward.training.text_evaluation import TextEvaluation


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
class HeldOutTexts:
    """What is held out, and how often it is measured."""

    pairs: int = 128  # held-out pairs, the last of the data
    every: int = 20  # rounds between evaluations
    batch: int = 16  # pairs at once; memory only


@dataclass(frozen=True)
class Cached:
    """Where the reference's log-probabilities are kept."""

    file: Path | None = None  # default: the user's cache, under a name that only equal data finds
    batch: int = 32  # texts at once; memory only


def tiny_llama_dpo(
    method: Method = Method(),
    shared: Flat = TINY,
    held_out: HeldOutTexts = HeldOutTexts(pairs=64),
    reference: Cached = Cached(),
    llama: TinyLlama = TinyLlama(),
    pairs: int = 512,
) -> Run:
    """A Llama of 0.8 million parameters learns to prefer sorted digits; seconds on a processor."""
    records = sorted_digits(pairs + held_out.pairs)
    return on_texts("tiny_llama_dpo", llama.build(), records, method, shared, held_out, reference)


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
    pairs: Path | None = None,
    method: Method = Method(),
    shared: Flat = TextSettings(),
    held_out: HeldOutTexts = HeldOutTexts(),
    reference: Cached = Cached(),
    model: Smol = Smol(),
) -> Run:
    """SmolLM2-135M-Instruct with LoRA on pairs of completions; any loss by --method.name."""
    return _smollm("smollm_dpo", pairs, method, shared, held_out, reference, model)


def smollm_simpo(
    pairs: Path | None = None,
    method: Method = Method("simpo"),
    shared: Flat = TextSettings(),
    held_out: HeldOutTexts = HeldOutTexts(),
    reference: Cached = Cached(),
    model: Smol = Smol(),
) -> Run:
    """The same with SimPO, which needs no reference."""
    return _smollm("smollm_simpo", pairs, method, shared, held_out, reference, model)


def smollm_rainbow_po(
    pairs: Path | None = None,
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
    return _smollm("smollm_rainbow_po", pairs, method, shared, held_out, reference, model)


def _smollm(
    name: str,
    pairs: Path | None,
    method: Method,
    shared: TextSettings,
    held_out: HeldOutTexts,
    reference: Cached,
    model: Smol,
) -> Run:
    records = default_pairs() if pairs is None else read_pairs(pairs)
    return on_texts(name, model.build(), records, method, shared, held_out, reference)


def on_texts(
    name: str,
    model: LanguageModel,
    records: Sequence[TextPair],
    method: Method,
    shared: TextSettings,
    held_out: HeldOutTexts,
    reference: Cached,
) -> Run:
    """A run on pairs of which the last are held out.  Pairs that do not fit are refused."""
    kept, faults = usable(model, records)
    if faults:
        raise ValueError(str(faults[0]))
    train, rest = kept[: -held_out.pairs], kept[-held_out.pairs :]
    if not train:
        raise ValueError(
            f"{len(kept)} pairs leave none to train on beside {held_out.pairs} held-out ones; "
            "lower `held_out.pairs`"
        )
    asked = ReferenceFile(method.reference, method.entropy, reference.file, reference.batch)
    beside = ReferenceFile(True, method.entropy, batch=reference.batch)
    return Run(
        name=name,
        model=model,
        objective=method.objective(),
        source=_source(model, train, method, shared.geometry, asked),
        optimizer=shared.optimizer,
        budget=shared.budget,
        evaluation=TextEvaluation(
            PairTexts(model, rest, beside), method.preferences(), held_out.every, held_out.batch
        ),
        keeping=Keeping(every=held_out.every),
    )


def _source(
    model: LanguageModel,
    records: Sequence[TextPair],
    method: Method,
    geometry: Geometry,
    asked: ReferenceFile,
) -> Source:
    """Pairs, or for KTO each pair as a wanted and an unwanted completion."""
    if method.name != "kto":
        return PairSource(PairTexts(model, records, asked), geometry)
    labelled = [
        TextBinary(r.prompt, text, desirable)
        for r in records
        for text, desirable in ((r.chosen, True), (r.rejected, False))
    ]
    return LabelledSource(model, labelled, geometry, asked)


def read_pairs(path: Path) -> list[TextPair]:
    """Pairs of a file."""
    from scoreward.preferences.files import read_text_pairs  # pyright: ignore

    return list(read_text_pairs(path))


def sorted_digits(count: int, seed: int = 0) -> list[TextPair]:
    """Prompts of four different digits; the winner has them in order, the loser has not."""
    records = []
    for i in range(count):
        key = Key(("sorted digits", seed, i))
        digits = [int(d) for d in key.permutation(10)[:4]]
        other = [digits[int(j)] for j in (key / "other").permutation(4)]
        if other == sorted(other):
            other = other[::-1]
        chosen, rejected = (" ".join(map(str, d)) for d in (sorted(digits), other))
        records.append(
            TextPair(f"sort {' '.join(map(str, digits))}: ", chosen, rejected, id=str(i))
        )
    return records


def default_pairs(count: int = 640, seed: int = 0) -> list[TextPair]:
    """Sums to be answered by the number alone; the loser is wrong, or says more than asked."""
    records = []
    for i in range(count):
        key = Key(("sums", seed, i))
        a, b, off = (int(v) for v in key.integers(90, 3))
        right, wrong = a + b + 20, a + b + 20 + (off % 9 + 1) * (1 if off % 2 else -1)
        question = f"What is {a + 10} + {b + 10}? Answer with the number only."
        loser = str(wrong) if off % 3 else f"The sum of the two numbers is {right}."
        prompt = [{"role": "user", "content": question}]
        records.append(TextPair(prompt, str(right), loser, 1.0, 0.0, str(i), "rule"))
    return records
