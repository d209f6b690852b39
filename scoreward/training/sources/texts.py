"""Rounds of preferences between texts: pairs, or completions with a label."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from scoreward.data.preferences.records import Prompt, TextBinary, TextPair
from scoreward.losses.language import dispersion_norm
from scoreward.losses.pairs import Pairs
from scoreward.models.texts.endings import Encoded
from scoreward.models.texts.language import LanguageModel, LanguageReader, TextPolicy
from scoreward.models.texts.tokenization import Tokenization
from scoreward.models.weights import Weights
from scoreward.objectives.texts.kto import LabelledRows
from scoreward.objectives.texts.language import NORM, TextPairs
from scoreward.training.geometry import Geometry
from scoreward.training.references import Known, ReferenceFile, References
from scoreward.training.sources.stored import Stored
from scoreward.training.team import Team
from scoreward.training.work import Work, worded

ALONE = "pairs come one by one"


def encoded(text: Tokenization, row: int, prompt: Prompt, completion: str) -> Encoded:
    """Tokens of a row of the data.  Raises ValueError with its number where it cannot be used."""
    try:
        if not completion:
            raise ValueError("a completion is empty")
        return text.sequence(prompt, completion)
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
        rows, model, text = list(enumerate(self.records)), self.model, self.model.text
        self.winners = [encoded(text, i, r.prompt, r.chosen) for i, r in rows]
        self.losers = [encoded(text, i, r.prompt, r.rejected) for i, r in rows]
        texts, count = [*self.winners, *self.losers], len(rows)
        lengths = [text.length for text in texts]
        shared = [min(lengths[i], lengths[i + count]) for i in range(count)] * 2
        self.references = References(model, texts, shared, self.reference)

    def known(self, reading: LanguageReader, weights: Weights | None, team: Team) -> Known | None:
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
            score_w=scores([self.records[i].score_w for i in numbers]),
            score_l=scores([self.records[i].score_l for i in numbers]),
        )


def scores(known: Sequence[float | None]) -> Tensor | None:
    """The scores of some texts, if all have one."""
    return None if None in known else torch.tensor(known, dtype=torch.float32)


@dataclass(frozen=True)
class PairSource(Stored[TextPolicy, TextPairs]):
    """Pairs in a new random order each epoch; winner and loser stay together.

    A process's pairs are ordered by length, so that micro-batches carry little padding.
    """

    data: PairTexts
    geometry: Geometry = Geometry(prompts=32, group=1)

    def __post_init__(self) -> None:
        self.check(ALONE)

    @property
    def total(self) -> int:
        return len(self.data.records)

    def read(
        self, chosen: Sequence[int], here: range, lost: Tensor, work: Work[TextPolicy]
    ) -> TextPairs:
        worded(work)
        data = self.data
        known = data.known(work.policy.reference, work.weights, work.team)
        norm = data.norm(known)
        if norm is not None:
            work.policy.memory[NORM] = torch.tensor(norm, dtype=torch.float64)

        def length(place: int) -> int:
            return max(len(side[chosen[place]][0]) for side in (data.winners, data.losers))

        ordered = sorted(here, key=length)
        return data.rows([chosen[i] for i in ordered], ordered, known)


@dataclass(frozen=True)
class LabelledSource(Stored[TextPolicy, LabelledRows]):
    """Completions with labels; each prompt also gets the next row's completion.  [kto] (baseline)

    The next row is that of the whole round, so the number of processes changes nothing.
    """

    model: LanguageModel
    records: Sequence[TextBinary]
    geometry: Geometry = Geometry(prompts=32, group=1)
    reference: ReferenceFile = ReferenceFile()
    references: References = field(init=False)

    def __post_init__(self) -> None:
        self.check(ALONE)
        if self.geometry.samples < 2 or len(self.records) < 2:
            raise ValueError(
                "KTO compares each completion with another's, so a round and the data need at "
                f"least 2, got {self.geometry.samples} and {len(self.records)}"
            )
        rows = enumerate(self.records)
        texts = [encoded(self.model.text, i, r.prompt, r.completion) for i, r in rows]
        shared = [len(ids) for ids, _ in texts]
        made = References(self.model, texts, shared, replace(self.reference, entropy=False))
        object.__setattr__(self, "references", made)

    @property
    def total(self) -> int:
        return len(self.records)

    def read(
        self, chosen: Sequence[int], here: range, lost: Tensor, work: Work[TextPolicy]
    ) -> LabelledRows:
        worded(work)
        known = self.references.ask(work.policy.reference, work.weights, work.team)
        mine, texts = [chosen[i] for i in here], self.references.texts
        # the prompt of one row with the completion of the next
        mismatched: list[Encoded] = []
        for i in here:
            own, other = (texts[chosen[n % len(chosen)]] for n in (i, i + 1))
            (ids, given), (theirs, start) = own, other
            mixed = (ids[:given] + theirs[start:])[: self.model.text.context]
            gaps = [(a + given - start, min(b + given - start, len(mixed))) for a, b in other.gaps]
            mismatched.append(Encoded(mixed, given, gaps))
        records = [self.records[i] for i in mine]
        return LabelledRows(
            text=self.model.padded([texts[i] for i in mine]),
            other=self.model.padded(mismatched),
            desirable=torch.tensor([r.desirable for r in records], dtype=torch.bool),
            weight=torch.tensor([r.weight for r in records], dtype=torch.float32),
            sample=torch.tensor(list(here), dtype=torch.long),
            ref=known.sums[torch.tensor(mine, dtype=torch.long)].sum(1),
        )
