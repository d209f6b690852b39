"""The records of a run folder, one class a kind of record; `reading` makes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from scoreward.records.fields import Json, Numbers, Series

Level = Literal["ok", "warn", "alarm"]
LEVELS: tuple[Level, ...] = ("ok", "warn", "alarm")  # the worst last
SAMPLERS = ("ode", "sde")  # the order in which scores are looked for and shown
NOT_SCORES = ("diversity", "nearest", "palette", "drift")  # measured beside, with own limits


@dataclass(frozen=True)
class HeldApart:
    """What was held out of one kind, and whether that is too little to tell much."""

    held: int
    few: bool
    sentence: str


@dataclass(frozen=True)
class Commit:
    """The state of the checkout that trained."""

    name: str
    dirty: bool


@dataclass(frozen=True)
class StoredUse:
    """The stored preferences that were trained on; `held_out` is missing in earlier versions."""

    source: str
    used: int | None
    ties: int | None
    skipped: int | None
    held_out: int | None
    reasons: Mapping[str, int]


@dataclass(frozen=True)
class RunAbout:
    """run.json: what a run is, and how it ended."""

    recipe: str = ""
    origin_recipe: str = ""  # "" if it was started from Python
    command: str = ""
    arguments: Sequence[str] = ()
    status: str = ""
    reason: str = ""
    started: str = ""  # an ISO time
    seed: int | None = None
    settings: dict[str, Json] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    git: Commit | None = None
    held_out: Sequence[HeldApart] = ()  # runs of earlier versions do not say
    rewards: Mapping[str, float] = field(default_factory=dict)  # what trained, and its weight
    unread: Sequence[str] = ()  # what of the prompts was not seen, in sentences
    data: StoredUse | None = None
    task: str = ""  # "" in runs of earlier versions, and of those that no recipe made
    method: str = ""


@dataclass(frozen=True)
class RunProgress:
    """Where in a run something was recorded."""

    round: int | None = None
    seconds: float | None = None
    spent: Numbers = field(default_factory=dict)  # evaluations by kind, a backward pass as two

    @property
    def total(self) -> float | None:
        """All network evaluations so far."""
        return sum(self.spent.values()) if self.spent else None


@dataclass(frozen=True)
class RoundRecord:
    """The metrics of a round, finished or refused."""

    at: RunProgress
    metrics: Numbers


@dataclass(frozen=True)
class Scores:
    """What one sampler scored; attributes are shares of pictures."""

    numbers: Numbers = field(default_factory=dict)
    attributes: Numbers = field(default_factory=dict)


NOTHING = Scores()


@dataclass(frozen=True)
class EvaluationRecord:
    """One evaluation; `gap` is SDE less ODE."""

    at: RunProgress
    samplers: Mapping[str, Scores]
    gap: Numbers

    def scores(self, sampler: str) -> Scores:
        return self.samplers.get(sampler, NOTHING)


@dataclass(frozen=True)
class EachRecord:
    """What every held-out row of one kind scored at one evaluation, under one sampler.

    Rows keep their order from one evaluation to the next; those of one group share a prompt.
    """

    round: int
    sampler: str
    unit: str  # what a row is, in the plural: pictures, pairs, texts
    groups: Sequence[int]
    values: Mapping[str, Series]  # by score; the mean over rows is the number of the evaluation


@dataclass(frozen=True)
class HealthRecord:
    """One check of one round; a level that we do not know is a warning rather than fine."""

    round: int | None
    check: str
    level: Level
    value: float | None = None
    message: str = ""


@dataclass(frozen=True)
class PromptEstimate:
    """A mean over prompts with its standard error and 95 % interval."""

    value: float
    error: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.4f} ± {self.high - self.value:.4f}"


@dataclass(frozen=True)
class GapRecord:
    """One sampler at one moment, by score: `gap` to the ODE, `grid` to the converged grid."""

    round: int
    eta: float
    steps: int
    converged: bool
    mean: Mapping[str, PromptEstimate]
    gap: Mapping[str, PromptEstimate]
    grid: Mapping[str, PromptEstimate]


@dataclass(frozen=True)
class Profile:
    """Where the time of training went."""

    seconds: Numbers = field(default_factory=dict)
    share_in_network: float | None = None


@dataclass(frozen=True)
class RunSummary:
    """summary.json: before and after, by sampler."""

    before: Mapping[str, Scores] = field(default_factory=dict)
    after: Mapping[str, Scores] = field(default_factory=dict)
    total_seconds: float | None = None
    training_seconds: float | None = None
    spent: Numbers = field(default_factory=dict)  # backward passes are counted already


@dataclass(frozen=True)
class KeptPictures:
    """samples/index.json: grids of pictures by round, and what was said of each, by sampler."""

    prompts: Sequence[str]
    rounds: Sequence[int]
    columns: int
    size: tuple[int, int]  # width and height of a tile
    right: Mapping[int, Mapping[str, Sequence[bool | None]]]
    scores: Mapping[int, Mapping[str, Mapping[str, Series]]]


@dataclass(frozen=True)
class KeptTexts:
    """samples/texts.json: what was written for each prompt, by round, and its scores."""

    prompts: Sequence[str]
    texts: Mapping[int, Sequence[str]]
    scores: Mapping[int, Mapping[str, Series]]


@dataclass(frozen=True)
class ProbeStep:
    """A few rounds at a multiple of the learning rate: what they gained over not learning."""

    factor: float
    gain: float
    error: float
    broken: bool
    learns: bool


@dataclass(frozen=True)
class Probed:
    """What training/probe.py measured; without a ladder nothing was."""

    ladder: Sequence[ProbeStep] = ()
    redrawn: float = 0.0  # relative difference of samples drawn again
    rescored: float = 0.0  # share of samples that earn another reward when it is asked for alone
    signal_to_noise: float | None = None

    @property
    def learns(self) -> bool:
        return any(rung.learns for rung in self.ladder)


@dataclass(frozen=True)
class ReferenceCurve:
    """The committed curve of a recipe with its own settings."""

    lr: float | None = None
    reward: Sequence[float] = ()
    evaluations: Sequence[float] = ()


@dataclass(frozen=True)
class SavedRun:
    """The contents of one run folder, sorted by round."""

    folder: Path
    about: RunAbout
    rounds: list[RoundRecord]
    evaluations: list[EvaluationRecord]
    health: list[HealthRecord]
    profile: Profile  # the last one measured
    pictures: KeptPictures
    texts: KeptTexts
    summary: RunSummary
    notes: list[str]  # what was left out, in sentences
    failures: list[RoundRecord] = field(default_factory=list)  # rounds that were refused
    gaps: list[GapRecord] = field(default_factory=list)  # one per noise, grid and round measured
    each: list[EachRecord] = field(default_factory=list)  # none in runs of earlier versions
    probe: Probed = Probed()  # of an earlier diagnosis
    reference: ReferenceCurve = field(default_factory=ReferenceCurve)  # of the same recipe

    @property
    def title(self) -> str:
        return self.about.recipe or self.folder.resolve().name

    @property
    def unseen(self) -> bool:
        """Whether something of every kind is held out."""
        return all(one.held for one in self.about.held_out)

    @property
    def measured_on(self) -> str:
        """What the prompts that are measured on may be called."""
        return "held-out prompts" if self.unseen else "training prompts"

    @property
    def last_round(self) -> int:
        return max((r.at.round or 0 for r in (*self.rounds, *self.evaluations)), default=0)

    @property
    def samplers(self) -> list[str]:
        """Names of the samplers that were evaluated, the known ones first."""
        each = (self.summary.before, self.summary.after, *(e.samplers for e in self.evaluations))
        found = {name for one in each for name in one}
        return [s for s in SAMPLERS if s in found] + sorted(found - set(SAMPLERS))

    def scorers(self, sampler: str) -> list[str]:
        """Names of the scores under one sampler: reward, judge, strict, then any other."""
        each = [e.scores(sampler) for e in self.evaluations]
        each += [end.get(sampler, NOTHING) for end in (self.summary.before, self.summary.after)]
        found = dict.fromkeys(n for one in each for n in one.numbers if n not in NOT_SCORES)
        known = [k for k in ("reward", "judge", "strict") if k in found]
        return known + [k for k in found if k not in known]

    def series(self, sampler: str, name: str) -> Series:
        """One score at every evaluation."""
        return [e.scores(sampler).numbers.get(name) for e in self.evaluations]

    @property
    def scored(self) -> list[str]:
        """The scores that the records of the gap hold."""
        return list(dict.fromkeys(name for r in self.gaps for name in r.mean))
