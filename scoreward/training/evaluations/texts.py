"""Held-out preferences and texts written for held-out prompts: what a language run measures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.losses import tokens
from scoreward.losses.language import PreferenceLoss
from scoreward.losses.pairs import Pairs
from scoreward.models.texts.language import LanguageModel, Prompt
from scoreward.objectives.texts.language import NORM, LanguagePreferences, PairLoss, said_of
from scoreward.training.evaluations.pictures import Measurement, Subject
from scoreward.training.sources.texts import LabelledSource, PairTexts

LENGTHS = ("winner", "loser")  # tokens, of the data
SECTION = "held_out"  # the name of these numbers in metrics.jsonl

Generate = Callable[[LanguageModel, Sequence[Prompt], int], list[str]]
"""(model with the weights to be used, prompts, seed) → one completion each."""

TextScore = Callable[[Sequence[str], Sequence[str]], Float[Tensor, " texts"]]
"""(completions, rendered prompts) → one number each; higher is better."""


@dataclass(frozen=True)
class Writing:
    """Completions to be written at every evaluation, with the same seed each time."""

    prompts: Sequence[Prompt]
    generate: Generate
    scorers: Mapping[str, TextScore] = field(default_factory=dict)
    shown: int = 12  # texts kept for the report
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.prompts or self.shown < 1:
            raise ValueError("writing needs at least one prompt, and one text to show")


@dataclass(frozen=True)
class TextEvaluation:
    """Accuracy, margin and likelihood on held-out pairs, and scores of written texts.

    `accuracy` is that of the method's own logit, `implicit_accuracy` of log π/π_ref,
    `plain_accuracy` of log π alone; where both sides are equal half counts.
    """

    data: PairTexts
    objective: LanguagePreferences = LanguagePreferences()
    every: int = 20  # rounds between evaluations
    batch: int = 16  # pairs at once; memory only
    writing: Writing | None = None

    def __post_init__(self) -> None:
        if self.every < 1 or self.batch < 1:
            raise ValueError(
                f"`every` and `batch` must be at least 1, got {self.every} and {self.batch}"
            )

    def measure(self, subject: Subject) -> Measurement:
        """Everything asked for, of one round."""
        return with_texts(self._pairs(subject), subject, self.writing)

    @torch.no_grad()
    def _pairs(self, subject: Subject) -> dict:
        """Means over the held-out pairs; processes share them."""
        team, count = subject.team, len(self.data.records)
        known = self.data.known(subject.first, subject.weights, team)
        norm = subject.memory.get(NORM)
        if norm is None and (own := self.data.norm(known)) is not None:
            norm = torch.tensor(own, dtype=torch.float64)  # before the first round
        method = self.objective.made({} if norm is None else {NORM: norm})
        mine = sorted(
            range(team.rank, count, team.size), key=lambda i: len(self.data.winners[i][0])
        )
        found: list[tuple[int, list[float]]] = []
        for start in range(0, len(mine), self.batch):
            piece = mine[start : start + self.batch]
            rows = self.data.rows(piece, piece, known).to(team.device)
            pairs = said_of(subject.now, rows, self.objective.tail)
            found += list(zip(piece, _columns(method, pairs).tolist(), strict=True))
        table = [row for _, row in sorted(team.gather(found))]
        means = torch.tensor(table, dtype=torch.float64).mean(0).tolist()
        numbers: dict = dict(zip(_names(known is not None), means, strict=True))
        return numbers | {"lengths": {name: numbers.pop(name) for name in LENGTHS}}


@dataclass(frozen=True)
class LabelledEvaluation:
    """How far wanted held-out completions are ahead of unwanted ones, and scores of texts.

    `accuracy` is the share of all (wanted, unwanted) couples in which log π/π_ref is larger for the
    wanted one, half for equal ones; `margin` is β times the difference of the two means.
    """

    data: LabelledSource
    beta: float = 0.1
    every: int = 20  # rounds between evaluations
    batch: int = 16  # completions at once; memory only
    writing: Writing | None = None

    def __post_init__(self) -> None:
        if len({r.desirable for r in self.data.records}) < 2:
            raise ValueError(
                "held-out completions are all wanted or all unwanted, so there is nothing to tell "
                "apart; hold out more of the prompts"
            )

    def measure(self, subject: Subject) -> Measurement:
        """Everything asked for, of one round."""
        return with_texts(self._labelled(subject), subject, self.writing)

    @torch.no_grad()
    def _labelled(self, subject: Subject) -> dict:
        """Numbers of all held-out completions; processes share them."""
        team, texts = subject.team, self.data.references.texts
        known = self.data.references.ask(subject.first, subject.weights, team)
        mine = sorted(range(team.rank, len(texts), team.size), key=lambda i: len(texts[i][0]))
        found: list[tuple[int, float]] = []
        for start in range(0, len(mine), self.batch):
            piece = mine[start : start + self.batch]
            rows = self.data.model.padded([texts[i] for i in piece]).to(team.device)
            said = subject.now(rows.token, rows.mask, None)
            found += zip(piece, tokens.summed(said.log_prob, rows.mask).tolist(), strict=True)
        logp = torch.tensor([v for _, v in sorted(team.gather(found))], dtype=torch.float64)
        ratio = logp - known.sums.sum(1).to(logp)
        wanted = torch.tensor([r.desirable for r in self.data.records])
        better, worse = ratio[wanted], ratio[~wanted]
        lengths = torch.tensor([float(len(ids) - given) for ids, given in texts])
        return {
            "accuracy": float(ahead((better[:, None] - worse[None]).flatten()).mean()),
            "margin": self.beta * float(better.mean() - worse.mean()),
            "log_prob_winner": float(logp[wanted].mean()),
            "lengths": {
                "winner": float(lengths[wanted].mean()),
                "loser": float(lengths[~wanted].mean()),
            },
        }


def with_texts(numbers: dict, subject: Subject, writing: Writing | None) -> Measurement:
    """Numbers of held-out data, and scores of what is written, by the averaged weights."""
    if writing is None:
        return Measurement({SECTION: numbers}, {}, {})
    texts = _written(subject, writing)
    prompts = [subject.model.rendered(p) for p in writing.prompts]
    scores = {n: f(texts, prompts).tolist() for n, f in writing.scorers.items()}
    numbers |= {n: sum(v) / len(v) for n, v in scores.items()}
    numbers["written_length"] = sum(len(t.split()) for t in texts) / len(texts)
    shown = writing.shown
    return Measurement(
        {SECTION: numbers},
        {},
        {SECTION: {n: v[:shown] for n, v in scores.items()}},
        prompts[:shown],
        texts[:shown],
    )


def _written(subject: Subject, writing: Writing) -> list[str]:
    """One completion a prompt; processes share the prompts, all copies of one with the same."""
    team = subject.team
    rendered = [subject.model.rendered(p) for p in writing.prompts]
    number = {text: i for i, text in enumerate(dict.fromkeys(rendered))}
    mine = [i for i, text in enumerate(rendered) if number[text] % team.size == team.rank]
    texts: list[str] = []
    if mine:
        with subject.weights.using("ema"):
            asked = [writing.prompts[i] for i in mine]
            texts = writing.generate(subject.model, asked, writing.seed)
    rows = sorted(team.gather(list(zip(mine, texts, strict=True))))
    return [text for _, text in rows]


def _names(referred: bool) -> list[str]:
    own = ["plain_accuracy", "loss", "log_prob_winner", *LENGTHS]
    return [*(["accuracy", "implicit_accuracy", "margin"] if referred else []), *own]


def _columns(method: PairLoss, pairs: Pairs) -> Float[Tensor, "pairs numbers"]:
    """One row of numbers a pair, named by `_names`."""
    (logp_w, logp_l), lengths = pairs.policy(), pairs.lengths()
    own = [ahead(logp_w - logp_l), method(pairs), logp_w, *lengths]
    return torch.stack([*_referred(method, pairs), *own], 1)


def _referred(method: PairLoss, pairs: Pairs) -> list[Tensor]:
    if pairs.ref_w is None:
        return []
    a, b = pairs.log_ratios()
    difference = method.beta * (a - b)
    logit = method.logit(pairs) if isinstance(method, PreferenceLoss) else difference
    return [ahead(logit), ahead(difference), difference]


def ahead(value: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """1 where positive, ½ where 0."""
    return (value.sign() + 1) / 2
