"""Losses on preferences between texts: each as a run on pairs, or on labelled completions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from scoreward.data.preferences.records import Prompt, TextBinary, TextPair
from scoreward.data.preferences.sorting import text_halves
from scoreward.losses import methods as losses
from scoreward.losses import separate
from scoreward.losses.language import PreferenceLoss
from scoreward.losses.pairs import TextLoss
from scoreward.methods.base import Draws, Given, Method, Setting, Settings
from scoreward.models.texts.generation import TextSampling, Writer
from scoreward.models.texts.language import LanguageModel
from scoreward.objectives.base import Objective
from scoreward.objectives.texts.batch import AOT, BCO, Sorted, UnpairedAOT
from scoreward.objectives.texts.kto import KTO
from scoreward.objectives.texts.language import LanguagePreferences
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
        room, chosen = model.text.context - self.tokens, list[Prompt]()
        for prompt in prompts:
            if len(chosen) == self.prompts:
                break
            if len(model.text.prompt_tokens(prompt)) <= room:
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
    facts: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

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


TextMethod = TextLoss | Sorted | BCO | KTO
"""A loss on pairs one by one, or an objective that looks at a batch."""


def measured(method: TextMethod) -> LanguagePreferences:
    """A loss on pairs one by one, and for the others DPO, to measure with."""
    if not isinstance(method, TextLoss):
        return LanguagePreferences(PreferenceLoss(beta=method.beta))
    of_data = isinstance(method, losses.Scaled) and method.norm == "data"
    return LanguagePreferences(method.loss(), method.tail, of_data)


def trained(method: TextMethod) -> Objective:
    """What the trainer trains."""
    return measured(method) if isinstance(method, TextLoss) else method


@dataclass(frozen=True)
class OnTexts(Method):
    """A loss on preferences between texts."""

    draws: ClassVar[Draws] = "texts"
    data = "pairs of texts"

    objective: TextMethod

    @property
    def settings(self) -> Settings:
        return {"objective": Setting(self.objective)}

    def run(self, place: TextPlace, given: Given) -> Run:
        name = f"{place.name}_{self.name}"
        settings = (given[n] for n in ("objective", "shared", "held_out", "reference"))
        return on_texts(name, place.model, place.data, *settings)


def on_texts(
    name: str,
    model: LanguageModel,
    data: TextData,
    method: TextMethod,
    shared: TextSettings,
    held_out: HeldOutTexts,
    reference: Cached,
) -> Run:
    """A run on pairs, or of KTO on labelled completions."""
    measure, batch = measured(method), reference.batch
    asked = ReferenceFile(measure.reference, measure.entropy, reference.file, batch)
    beside = ReferenceFile(True, measure.entropy, batch=batch)
    pairs = [r for r in data.train if isinstance(r, TextPair)]
    labelled = [r for r in data.train if isinstance(r, TextBinary)]
    source: Source
    if isinstance(method, KTO):  # of which a pair is a wanted and an unwanted completion
        labelled = labelled or list(text_halves(pairs))
        source = LabelledSource(model, labelled, shared.geometry, asked)
    elif labelled:
        called = next((n for n, one in LOSSES.items() if type(one) is type(method)), name)
        raise ValueError(
            f"the data are {len(labelled)} labelled completions, and {called} learns from "
            "pairs; only kto learns from labels: scoreward train kto"
        )
    else:
        source = PairSource(PairTexts(model, pairs, asked), shared.geometry)
    shown = held_out.every, held_out.batch, data.writing
    away = [r for r in data.held_out if isinstance(r, TextBinary)]
    if away:
        judged = LabelledSource(model, away, reference=beside)
        evaluation = LabelledEvaluation(judged, measure.method.beta, *shown)
    else:
        other = PairTexts(model, [r for r in data.held_out if isinstance(r, TextPair)], beside)
        evaluation = TextEvaluation(other, measure, *shown)
    return Run(
        name=name,
        model=model,
        objective=trained(method),
        source=source,
        optimizer=shared.optimizer,
        budget=shared.budget,
        evaluation=evaluation,
        keeping=Keeping(every=held_out.every),
        origin=data.facts,
    )


ABOUT: Mapping[str, str] = {
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
LOSSES: Mapping[str, TextMethod] = {
    "dpo": losses.DPO(),
    "conservative_dpo": losses.ConservativeDPO(),
    "robust_dpo": losses.RobustDPO(),
    "ln_dpo": losses.LNDPO(),
    "ipo": losses.IPO(),
    "ipo_rescaled": losses.IPORescaled(),
    "ipo_per_token": losses.IPOPerToken(),
    "slic": losses.SLiC(),
    "hinge_dpo": losses.HingeDPO(),
    "rso": losses.RSO(),
    "cpo": losses.CPO(),
    "simpo": losses.SimPO(),
    "alpha_po": losses.AlphaPO(),
    "orpo": losses.ORPO(),
    "r_dpo": losses.RDPO(),
    "odpo": losses.ODPO(),
    "mallows_dpo": losses.MallowsDPO(),
    "mallows_ipo": losses.MallowsIPO(),
    "mallows_ipo_rescaled": losses.MallowsIPORescaled(),
    "wpo": losses.WPO(),
    "dpop": losses.DPOP(),
    "f_dpo": losses.FDPO(),
    "rainbow_po": losses.RainbowPO(),
    "sppo": separate.SPPO(),
    "nca": separate.NCA(),
    "exo": separate.EXO(),
    "apo_zero": separate.APOZero(),
    "apo_down": separate.APODown(),
    "discopop": separate.DiscoPOP(),
    "bco": BCO(),
    "aot": AOT(),
    "aot_unpaired": UnpairedAOT(),
    "kto": KTO(),
}
METHODS: tuple[OnTexts, ...] = tuple(OnTexts(n, ABOUT[n], loss) for n, loss in LOSSES.items())
