"""Held-out preferences and texts written for held-out prompts: what a language run measures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scoreward.data.preferences.records import Prompt
from scoreward.losses import tokens
from scoreward.losses.language import PreferenceLoss
from scoreward.losses.links import saturated
from scoreward.losses.pairs import Pairs
from scoreward.models.base import of_kind
from scoreward.models.texts.language import LanguageModel
from scoreward.objectives.texts.language import NORM, LanguagePreferences, PairLoss, said_of
from scoreward.training.evaluations.pictures import Measurement, Subject, each_row
from scoreward.training.sources.combining import in_pieces
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

    @torch.no_grad()
    def measure(self, subject: Subject) -> Measurement:
        """Means over the held-out pairs, which processes share, and what is written."""
        of_kind(LanguageModel, subject.model, "an evaluation of texts")
        team, data = subject.team, self.data
        known = data.known(subject.first, subject.weights, team)
        norm = subject.memory.get(NORM)
        if norm is None and (own := data.norm(known)) is not None:
            norm = torch.tensor(own, dtype=torch.float64)  # before the first round
        method = self.objective.made({} if norm is None else {NORM: norm})

        def of(some: Sequence[int]) -> list[dict[str, float]]:
            rows = data.rows(some, some, known).to(team.device)
            columns = numbers_of(method, said_of(subject.now, rows, self.objective.tail))
            table = torch.stack(list(columns.values()), 1).tolist()
            return [dict(zip(columns, row, strict=True)) for row in table]

        mine = range(team.rank, len(data.records), team.size)
        by_length = sorted(mine, key=lambda i: len(data.winners[i][0]))
        every = in_pieces(by_length, self.batch, of, team)
        table = torch.tensor([list(one.values()) for one in every], dtype=torch.float64)
        numbers: dict[str, object] = dict(zip(every[0], table.mean(0).tolist(), strict=True))
        numbers |= {"lengths": {name: numbers.pop(name) for name in LENGTHS}}
        columns = dict(zip(every[0], table.T.tolist(), strict=True))
        scores = {n: column for n, column in columns.items() if n not in LENGTHS}
        prompts = [str(r.prompt) for r in data.records]
        rows = each_row(SECTION, "pairs", prompts, scores)
        return with_texts(numbers, [rows], subject, self.writing)


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

    @torch.no_grad()
    def measure(self, subject: Subject) -> Measurement:
        """Numbers of all held-out completions, which processes share, and what is written."""
        of_kind(LanguageModel, subject.model, "an evaluation of texts")
        team, texts = subject.team, self.data.references.texts
        known = self.data.references.ask(subject.first, subject.weights, team)

        def of(some: Sequence[int]) -> list[float]:
            rows = self.data.model.padded([texts[i] for i in some]).to(team.device)
            said = subject.now(rows.token, rows.mask, None)
            return tokens.summed(said.log_prob, rows.mask).tolist()

        mine = range(team.rank, len(texts), team.size)
        by_length = sorted(mine, key=lambda i: len(texts[i][0]))
        logp = torch.tensor(in_pieces(by_length, self.batch, of, team), dtype=torch.float64)
        ratio = logp - known.sums.sum(1).to(logp)
        wanted = torch.tensor([r.desirable for r in self.data.records])
        better, worse = ratio[wanted], ratio[~wanted]
        lengths = torch.tensor([float(text.length) for text in texts])
        numbers: dict[str, Any] = {
            "accuracy": float(ahead((better[:, None] - worse[None]).flatten()).mean()),
            "margin": self.beta * float(better.mean() - worse.mean()),
            "log_prob_winner": float(logp[wanted].mean()),
            "lengths": {
                "winner": float(lengths[wanted].mean()),
                "loser": float(lengths[~wanted].mean()),
            },
        }
        parts = {
            "accuracy": told_apart(better, worse),
            "margin": (self.beta * better, -self.beta * worse),
            "log_prob_winner": (logp[wanted], torch.zeros(len(worse))),
        }
        scores = {}
        for name, (ours, theirs) in parts.items():
            scores[name] = shares(float(numbers[name]), wanted, ours, theirs).tolist()
        prompts = [str(r.prompt) for r in self.data.records]
        rows = each_row(SECTION, "completions", prompts, scores)
        return with_texts(numbers, [rows], subject, self.writing)


def told_apart(
    better: Float[Tensor, " wanted"], worse: Float[Tensor, " unwanted"]
) -> tuple[Float[Tensor, " wanted"], Float[Tensor, " unwanted"]]:
    """How often each completion is on the right side of those of the other kind."""
    right = ahead(better[:, None] - worse[None])
    return right.mean(1), right.mean(0)


def shares(
    number: float,
    wanted: Bool[Tensor, " rows"],
    ours: Float[Tensor, " wanted"],
    theirs: Float[Tensor, " unwanted"],
) -> Float[Tensor, " rows"]:
    """A number of two kinds of rows as a mean over all of them, whose spread is the number's.

    Hoeffding's first projection: `ours` and `theirs` less their means, each times the inverse of
    its share of the rows.
    """
    each = torch.full((len(wanted),), number, dtype=torch.float64)
    for kind, values in ((wanted, ours), (~wanted, theirs)):
        each[kind] += (values - values.mean()).to(each) * len(wanted) / len(values)
    return each


def with_texts(
    numbers: dict[str, object], each: Sequence[dict], subject: Subject, writing: Writing | None
) -> Measurement:
    """Numbers of held-out data, and scores of what is written, by the averaged weights."""
    if writing is None:
        return Measurement({SECTION: numbers}, {}, {}, each=each)
    team, model = subject.team, of_kind(LanguageModel, subject.model, "an evaluation of texts")
    prompts = [model.text.rendered(p) for p in writing.prompts]
    # one completion a prompt; processes share the prompts, all copies of one with the same
    number = {text: i for i, text in enumerate(dict.fromkeys(prompts))}
    mine = [i for i, text in enumerate(prompts) if number[text] % team.size == team.rank]
    written: list[str] = []
    if mine:
        with subject.weights.using("ema"):
            asked = [writing.prompts[i] for i in mine]
            written = writing.generate(model, asked, writing.seed)
    texts = [t for _, t in sorted(team.gather(list(zip(mine, written, strict=True))))]
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
        each=[*each, each_row(SECTION, "texts", prompts, scores)],
    )


def numbers_of(method: PairLoss, pairs: Pairs) -> dict[str, Float[Tensor, " pairs"]]:
    """What is measured of pairs, by name; without a reference a part of it."""
    (logp_w, logp_l), (length_w, length_l) = pairs.policy(), pairs.lengths()
    found: dict[str, Tensor] = {}
    logit = method.logit(pairs) if isinstance(method, PreferenceLoss) else None
    if pairs.ref_w is not None:
        a, b = pairs.log_ratios()
        difference = method.beta * (a - b)
        logit = difference if logit is None else logit
        found = {"accuracy": ahead(logit), "implicit_accuracy": ahead(difference),
                 "margin": difference}  # fmt: skip
    if logit is not None:
        found["saturated"] = saturated(logit)
    return found | {
        "plain_accuracy": ahead(logp_w - logp_l),
        "loss": method(pairs),
        "log_prob_winner": logp_w,
        "winner": length_w,
        "loser": length_l,
    }


def ahead(value: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
    """1 where positive, ½ where 0."""
    return (value.sign() + 1) / 2
