"""Rounds of preferences between texts: pairs, or completions with a label."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scoreward.core.chain import Sampler
from scoreward.core.keys import Key
from scoreward.data.preferences.records import TextBinary, TextPair
from scoreward.losses.language import dispersion_norm
from scoreward.losses.pairs import Pairs
from scoreward.models.texts.language import LanguageModel, Prompt, Sequences
from scoreward.models.weights import Weights
from scoreward.objectives.texts.kto import LabelledRows
from scoreward.objectives.texts.language import NORM, TextPairs
from scoreward.training.geometry import Geometry
from scoreward.training.references import Encoded, Known, References
from scoreward.training.sources.online import Collected, Source, Work
from scoreward.training.sources.stored import places
from scoreward.training.team import Team

Reader = Callable[[Any, Any, Any], Any]
"""(tokens, mask, wanted) → models.language.Said."""
NOTHING = Sampler((1.0,), ())  # nothing is sampled


@dataclass(frozen=True)
class ReferenceFile:
    """What to ask the reference, and where its answers are kept."""

    wanted: bool = True  # methods without a reference never ask it
    entropy: bool = False  # also its entropies, for contextual scaling
    file: Path | None = None  # default: the user's cache, under a name that only equal data finds
    batch: int = 32  # texts at once; memory only


def encoded(model: LanguageModel, row: int, prompt: Prompt, completion: str) -> Encoded:
    """Tokens of a row of the data.  Raises ValueError with its number where it cannot be used."""
    try:
        if not completion:
            raise ValueError("a completion is empty")
        return model.sequence(prompt, completion)
    except ValueError as why:
        raise ValueError(f"row {row} of the data: {why}") from None


@dataclass
class PairTexts:
    """Pairs as tokens, with the reference's numbers; shared by training and evaluation."""

    model: LanguageModel
    records: Sequence[TextPair]
    reference: ReferenceFile = ReferenceFile()
    winners: list[Encoded] = field(init=False)
    losers: list[Encoded] = field(init=False)
    references: References = field(init=False)

    def __post_init__(self) -> None:
        if not self.records:
            raise ValueError("training on preferences needs at least one pair")
        rows, model = list(enumerate(self.records)), self.model
        self.winners = [encoded(model, i, r.prompt, r.chosen) for i, r in rows]
        self.losers = [encoded(model, i, r.prompt, r.rejected) for i, r in rows]
        texts = [*self.winners, *self.losers]
        lengths = [len(ids) - given for ids, given in texts]
        count = len(self.records)
        shared = [min(lengths[i], lengths[i + count]) for i in range(count)] * 2
        asked = self.reference
        self.references = References(
            self.model, texts, shared, asked.entropy, asked.file, asked.batch
        )

    def known(self, reading: Reader, weights: Weights, team: Team) -> Known | None:
        """What the reference says of winners, then of losers."""
        if not self.reference.wanted:
            return None
        return self.references.ask(reading, weights, team)

    def norm(self, known: Known | None) -> float | None:
        """1/mean(−log H̄) of all pairs, where entropies are known.  [mallows-po] (norm)"""
        if known is None or known.entropy is None:
            return None
        count = len(self.records)
        zero, one = torch.zeros(count), torch.ones(count, dtype=torch.long)
        entropies = known.entropy[:count], known.entropy[count:]
        return dispersion_norm(Pairs(zero, zero, one, one, None, None, *entropies))

    def rows(self, numbers: Sequence[int], sample: Sequence[int], known: Known | None) -> TextPairs:
        """The pairs of these numbers as one block; `sample` is what each is called in the round."""
        chosen = [self.winners[i] for i in numbers], [self.losers[i] for i in numbers]
        width = max((len(ids) for side in chosen for ids, _ in side), default=1)
        winner, loser = (self.model.padded(side, width) for side in chosen)
        at, count = torch.tensor(list(numbers), dtype=torch.long), len(self.records)
        ref_w = ref_l = entropy_w = entropy_l = None
        if known is not None:
            ref_w, ref_l = known.sums[at], known.sums[at + count]
            if known.entropy is not None:
                entropy_w, entropy_l = known.entropy[at], known.entropy[at + count]
        return TextPairs(
            winner=winner,
            loser=loser,
            sample=torch.tensor(list(sample), dtype=torch.long),
            ref_w=ref_w,
            ref_l=ref_l,
            entropy_w=entropy_w,
            entropy_l=entropy_l,
            score_w=self._scores("score_w", numbers),
            score_l=self._scores("score_l", numbers),
        )

    def _scores(self, name: str, numbers: Sequence[int]) -> Tensor | None:
        values = [getattr(self.records[i], name) for i in numbers]
        return None if None in values else torch.tensor(values, dtype=torch.float32)


@dataclass(frozen=True)
class PairSource(Source):
    """Pairs in a new random order each epoch; winner and loser stay together.

    A process's pairs are ordered by length, so that micro-batches carry little padding.
    """

    data: PairTexts
    geometry: Geometry = Geometry(prompts=32, group=1)

    def __post_init__(self) -> None:
        _alone(self.geometry)

    def sampler(self, round: int) -> Sampler:
        return NOTHING

    def collect(self, round: int, key: Key, work: Work) -> Collected:
        known = self.data.known(work.policy.reference, _weights(work), work.team)
        norm = self.data.norm(known)
        if norm is not None:
            work.policy.memory[NORM] = torch.tensor(norm, dtype=torch.float64)
        numbers = places(round, key, self.geometry, len(self.data.records))
        here = self.geometry.share(work.team.rank, work.team.size)
        ordered = sorted(here, key=lambda i: self._length(numbers[i]))
        rows = self.data.rows([numbers[i] for i in ordered], ordered, known)
        return Collected(rows.to(work.team.device), None, {})

    def _length(self, number: int) -> int:
        return max(len(self.data.winners[number][0]), len(self.data.losers[number][0]))


@dataclass(frozen=True)
class LabelledSource(Source):
    """Completions with labels; each prompt also gets the next row's completion.  [kto] (baseline)

    The next row is that of the whole round, so the number of processes changes nothing.
    """

    model: LanguageModel
    records: Sequence[TextBinary]
    geometry: Geometry = Geometry(prompts=32, group=1)
    reference: ReferenceFile = ReferenceFile()
    references: References = field(init=False)

    def __post_init__(self) -> None:
        _alone(self.geometry)
        if self.geometry.samples < 2 or len(self.records) < 2:
            raise ValueError(
                "KTO compares each completion with another's, so a round and the data need at "
                f"least 2, got {self.geometry.samples} and {len(self.records)}"
            )
        rows = enumerate(self.records)
        texts = [encoded(self.model, i, r.prompt, r.completion) for i, r in rows]
        shared = [len(ids) for ids, _ in texts]
        asked = self.reference
        made = References(self.model, texts, shared, False, asked.file, asked.batch)
        object.__setattr__(self, "references", made)

    def sampler(self, round: int) -> Sampler:
        return NOTHING

    def collect(self, round: int, key: Key, work: Work) -> Collected:
        known = self.references.ask(work.policy.reference, _weights(work), work.team)
        numbers = places(round, key, self.geometry, len(self.records))
        here = self.geometry.share(work.team.rank, work.team.size)
        chosen = [numbers[i] for i in here]
        following = [numbers[(i + 1) % len(numbers)] for i in here]
        records = [self.records[i] for i in chosen]
        rows = LabelledRows(
            text=self.model.padded([self.references.texts[i] for i in chosen]),
            other=self._mismatched(chosen, following),
            desirable=torch.tensor([r.desirable for r in records], dtype=torch.bool),
            weight=torch.tensor([r.weight for r in records], dtype=torch.float32),
            sample=torch.tensor(list(here), dtype=torch.long),
            ref=known.sums[torch.tensor(chosen, dtype=torch.long)].sum(1),
        )
        return Collected(rows.to(work.team.device), None, {})

    def _mismatched(self, chosen: list[int], following: list[int]) -> Sequences:
        """The prompt of one row with the completion of another."""
        texts, rows = self.references.texts, []
        for mine, other in zip(chosen, following, strict=True):
            (ids, given), (theirs, start) = texts[mine], texts[other]
            rows.append(((ids[:given] + theirs[start:])[: self.model.context], given))
        return self.model.padded(rows)


def _alone(geometry: Geometry) -> None:
    if geometry.group != 1:
        raise ValueError(
            f"pairs come one by one, so `geometry.group` must be 1, got {geometry.group}"
        )


def _weights(work: Work) -> Weights:
    if work.weights is None:
        raise ValueError("a source of texts needs the trainer's snapshots in its `Work`")
    return work.weights
