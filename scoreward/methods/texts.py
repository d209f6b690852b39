"""Losses on preferences between texts: each as a run on pairs, or on labelled completions."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from scoreward.data.preferences.records import TextBinary, TextPair
from scoreward.data.preferences.sorting import text_halves
from scoreward.methods.base import Draws, Given, Method, Setting, Settings
from scoreward.methods.losses import Name, TextLoss, options_of
from scoreward.models.texts.generation import TextSampling, Writer
from scoreward.models.texts.language import LanguageModel, Prompt
from scoreward.training.evaluations.texts import (
    LabelledEvaluation,
    TextEvaluation,
    TextScore,
    Writing,
)
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.references import ReferenceFile
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.sources.online import Source
from scoreward.training.sources.texts import LabelledSource, PairSource, PairTexts


@dataclass(frozen=True)
class TextSettings:
    """Sizes of a round, optimiser and budget."""

    geometry: Geometry = Geometry(prompts=16, group=1, micro_batch=8)
    optimizer: Optimizer = Optimizer(lr=2e-4, warmup=5, decay="linear", ema=0.0)
    budget: Budget = Budget(rounds=100)


@dataclass(frozen=True)
class Cached:
    """Where the reference's log-probabilities are kept."""

    file: Path | None = None  # default: the user's cache, under a name that only equal data finds
    batch: int = 32  # texts at once; memory only


@dataclass(frozen=True)
class HeldOutTexts:
    """What is held out, how often it is measured, and what is written for the report."""

    share: float = 0.1  # of a file's prompts, by their text; built-in data have their own split
    pairs: int = 128  # of held-out pairs or completions, at most
    every: int = 20  # rounds between evaluations
    batch: int = 16  # texts at once; memory only
    prompts: int = 48  # held-out prompts that are answered at every evaluation; 0: none
    split: str = "test"  # of the built-in prompts: "validation" while tuning
    tokens: int = 48  # an answer is cut here

    def writing(
        self,
        model: LanguageModel,
        prompts: Sequence[Prompt],
        scorers: Mapping[str, TextScore],
    ) -> Writing | None:
        """Answers to the first prompts that leave room for them."""
        room, chosen = model.context - self.tokens, list[Prompt]()
        for prompt in prompts:
            if len(chosen) == self.prompts:
                break
            if len(model.prompt_tokens(prompt)) <= room:
                chosen.append(prompt)
        if not chosen:
            return None
        return Writing(chosen, Writer(TextSampling(0.8, 0.95, self.tokens)), scorers)


@dataclass(frozen=True)
class TextData:
    """What to train on and to measure on, of one kind, and what a report says of it."""

    train: Sequence[TextPair] | Sequence[TextBinary]
    held_out: Sequence[TextPair] | Sequence[TextBinary]
    writing: Writing | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.train or not self.held_out:
            raise ValueError(
                f"expected records to train on and to measure on, got {len(self.train)} and "
                f"{len(self.held_out)}"
            )


@dataclass(frozen=True)
class TextPlace:
    """What a task on texts hands to a method."""

    name: str
    model: LanguageModel
    data: TextData


@dataclass(frozen=True)
class OnTexts(Method):
    """A loss on preferences between texts."""

    draws: ClassVar[Draws] = "texts"
    data = "pairs of texts"

    @property
    def settings(self) -> Settings:
        return {"objective": Setting(self.objective)}

    def run(self, place: TextPlace, given: Given) -> Run:
        loss = TextLoss(self.name, **asdict(given["objective"]))  # pyright: ignore
        name = f"{place.name}_{self.name}"
        shared = given["shared"], given["held_out"], given["reference"]
        return on_texts(name, place.model, place.data, loss, *shared)


def on_texts(
    name: str,
    model: LanguageModel,
    data: TextData,
    method: TextLoss,
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
    method: TextLoss,
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
            "pairs; only kto learns from labels: scoreward train kto"
        )
    return PairSource(PairTexts(model, pairs, asked), geometry)


def _evaluation(
    model: LanguageModel,
    data: TextData,
    method: TextLoss,
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


ABOUT: Mapping[Name, str] = {
    "dpo": "DPO: a logistic loss of the margin over the reference.",
    "conservative_dpo": "DPO where a known share of labels is wrong, as a mixture of both losses.",
    "robust_dpo": "DPO where a known share of labels is wrong, without bias.",
    "ln_dpo": "DPO on means per token.",
    "ipo": "IPO: the margin is regressed to 1/(2τ).",
    "ipo_rescaled": "IPO in DPO's scale of β.",
    "ipo_per_token": "IPO on means per token.",
    "slic": "SLiC-HF: a hinge on likelihoods and the winner's likelihood.",
    "hinge_dpo": "DPO with a hinge.",
    "rso": "RSO: DPO on pairs from rejection sampling, with a choice of links.",
    "cpo": "CPO: no reference, the winner's likelihood beside the margin.",
    "simpo": "SimPO: means per token, no reference, a margin to win by.",
    "alpha_po": "AlphaPO: SimPO with another shape of the reward.",
    "orpo": "ORPO: log-odds beside fine-tuning, no reference.",
    "r_dpo": "R-DPO: DPO that charges for length.",
    "odpo": "ODPO: an offset that grows with the gap of scores.",
    "mallows_dpo": "Mallows-DPO: DPO weighted by how much a prompt leaves open.",
    "mallows_ipo": "Mallows-IPO.",
    "mallows_ipo_rescaled": "Mallows-IPO in DPO's scale of β.",
    "wpo": "WPO: pairs weighted by how likely the policy writes them.",
    "dpop": "DPOP: the winner's likelihood may not fall below the reference's.",
    "f_dpo": "f-DPO: other divergences than the reverse KL.",
    "rainbow_po": "RainbowPO: seven components, each a switch.",
    "sppo": "SPPO: every completion is regressed to its win rate.",
    "nca": "NCA: noise-contrastive alignment on pairs.",
    "exo": "EXO: reverse KL to smoothed labels.",
    "apo_zero": "APO-zero: winners up, losers down.",
    "apo_down": "APO-down: both down, losers more.",
    "discopop": "DiscoPOP: a loss that was found by search.",
    "bco": "BCO: a classifier of single completions.",
    "aot": "AOT: quantiles of margins over a batch.",
    "aot_unpaired": "AOT on winners and losers that are no pairs.",
    "kto": "KTO: single completions, desirable or not.",
}
METHODS: tuple[Method, ...] = tuple(
    OnTexts(name, about, options_of(name)()) for name, about in ABOUT.items()
)
