"""Every loss for language models by name, with its own settings and their defaults.

Defaults that come from authors are named in docs/preferences_lm.md; the others are ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, make_dataclass
from functools import cache
from typing import Any, Literal, get_args, get_type_hints

from scoreward.losses import links, methods, shapes
from scoreward.losses.language import PreferenceLoss
from scoreward.losses.links import Link
from scoreward.objectives.base import Objective
from scoreward.objectives.texts.batch import AOT, BCO
from scoreward.objectives.texts.kto import KTO
from scoreward.objectives.texts.language import LanguagePreferences, PairLoss, Separate

Name = Literal[
    "dpo",
    "conservative_dpo",
    "robust_dpo",
    "ln_dpo",
    "ipo",
    "ipo_rescaled",
    "ipo_per_token",
    "slic",
    "hinge_dpo",
    "rso",
    "cpo",
    "simpo",
    "alpha_po",
    "orpo",
    "r_dpo",
    "odpo",
    "mallows_dpo",
    "mallows_ipo",
    "mallows_ipo_rescaled",
    "wpo",
    "dpop",
    "f_dpo",
    "rainbow_po",
    "sppo",
    "nca",
    "exo",
    "apo_zero",
    "apo_down",
    "discopop",
    "bco",
    "aot",
    "aot_unpaired",
    "kto",
]
LinkName = Literal["logistic", "square", "hinge", "squared_hinge", "cauchy", "exponential"]
Divergence = Literal["js", "forward_kl", "alpha"]
LINKS: Mapping[LinkName, Callable[[], Link]] = {
    "logistic": links.Logistic,
    "square": links.Square,
    "hinge": links.Hinge,
    "squared_hinge": links.SquaredHinge,
    "cauchy": links.Cauchy,
    "exponential": links.Exponential,
}

# the settings each method has, with their defaults
OWN: Mapping[str, Mapping[str, Any]] = {
    "dpo": {"beta": 0.1},
    "conservative_dpo": {"beta": 0.1, "flip": 0.1},
    "robust_dpo": {"beta": 0.1, "flip": 0.1},
    "ln_dpo": {"beta": 10.0},
    "ipo": {"tau": 0.1},
    "ipo_rescaled": {"beta": 0.1},
    "ipo_per_token": {"tau": 0.1},
    "slic": {"width": 1.0, "sft": 0.1},
    "hinge_dpo": {"beta": 0.1},
    "rso": {"beta": 0.1, "link": "logistic"},
    "cpo": {"beta": 0.1, "sft": 1.0, "per_token": True},
    "simpo": {"beta": 10.0, "gamma": 3.0},
    "alpha_po": {"a": 0.25, "beta": 2.5, "gamma": 1.375},
    "orpo": {"weight": 0.1},
    "r_dpo": {"beta": 0.1, "a": 0.02, "sign": 1},
    "odpo": {"beta": 0.1, "a": 1.0, "growth": "log"},
    "mallows_dpo": {"beta": 0.1, "norm": "data"},
    "mallows_ipo": {"tau": 0.1, "norm": "data"},
    "mallows_ipo_rescaled": {"beta": 0.1, "norm": "data"},
    "wpo": {"beta": 0.1},
    "dpop": {"beta": 0.1, "penalty": 5.0},
    "f_dpo": {"beta": 0.1, "divergence": "js", "a": 0.5},
    "rainbow_po": {
        "beta": 10.0,
        "alpha": 0.25,
        "gamma": 0.1,
        "norm": "data",
        "link": "logistic",
        "sft": 0.0,
        "length_exponent": 1.0,
    },
    "sppo": {"beta": 0.1},
    "nca": {"beta": 0.1},
    "exo": {"beta": 0.1, "flip": 1e-3},
    "apo_zero": {"beta": 0.1},
    "apo_down": {"beta": 0.1},
    "discopop": {"beta": 0.1, "tau": 0.05},
    "bco": {"beta": 0.1, "running": True},
    "aot": {"beta": 0.1},
    "aot_unpaired": {"beta": 0.1},
    "kto": {"beta": 0.1, "weight_desirable": 1.0, "weight_undesirable": 1.0},
}
BATCHED = ("kto", "bco", "aot", "aot_unpaired")  # losses that look at a batch, not at pairs
SEPARATE = ("sppo", "nca", "exo", "apo_zero", "apo_down", "discopop")


@dataclass(frozen=True)
class TextLoss:
    """Which loss, by name, and its numbers; what is not given has the method's own default."""

    name: Name = "dpo"
    beta: float | None = None  # inverse temperature, 1/nats
    tau: float | None = None  # IPO's regularisation; DiscoPOP's temperature
    gamma: float | None = None  # by how much the winner has to be ahead
    alpha: float | None = None  # exponent of the reference in RainbowPO; 1 is no mixing
    a: float | None = None  # per token in R-DPO, of the gap in ODPO, of the shape elsewhere
    flip: float | None = None  # share of wrong labels
    norm: float | Literal["data", "off"] | None = None  # of φ: estimated from the pairs, or no φ
    link: LinkName | None = None
    length_exponent: float | None = None  # 1 compares means per token, 0 sums
    sft: float | None = None  # weight of the winner's likelihood
    width: float | None = None  # of SLiC's hinge, nats
    weight: float | None = None  # of ORPO's odds
    penalty: float | None = None  # DPOP's λ
    growth: Literal["log", "identity"] | None = None  # of ODPO's gap of scores
    sign: Literal[1, -1] | None = None  # of R-DPO; 1 is derived by us, a survey prints -1
    divergence: Divergence | None = None  # of f-DPO
    per_token: bool | None = None  # whether CPO's likelihood is a mean
    running: bool | None = None  # whether BCO's shift follows the rewards
    weight_desirable: float | None = None  # KTO's λ_D
    weight_undesirable: float | None = None  # KTO's λ_U
    tail: float = 1.0  # LD-DPO: how much tokens beyond the shorter completion count

    def __post_init__(self) -> None:
        own = OWN[self.name]
        for field in fields(self):
            given = getattr(self, field.name)
            if field.name in ("name", "tail") or given is None or field.name in own:
                continue
            raise ValueError(
                f"{self.name} has no setting {field.name!r}, got {given}; it has {', '.join(own)}"
            )
        if self.tail != 1 and self.name in BATCHED:
            raise ValueError(f"`tail` is for losses on pairs one by one, not for {self.name}")

    def settings(self) -> dict[str, Any]:
        """All settings of the method, defaults filled in."""
        given = {name: getattr(self, name) for name in OWN[self.name]}
        return {n: OWN[self.name][n] if v is None else v for n, v in given.items()}

    def objective(self) -> Objective:
        """What the trainer trains."""
        settings = self.settings()
        match self.name:
            case "kto":
                return KTO(**settings)
            case "bco":
                return BCO(**settings)
            case "aot" | "aot_unpaired":
                return AOT(paired=self.name == "aot", **settings)
        return self.preferences()

    def preferences(self) -> LanguagePreferences:
        """The same for losses on pairs one by one; for the others DPO, to measure with."""
        if self.name in BATCHED:
            return LanguagePreferences(methods.dpo(self.settings()["beta"]))
        return LanguagePreferences(self._loss(), self.tail, self.settings().get("norm") == "data")

    @property
    def entropy(self) -> bool:
        """Whether the reference's entropies are needed."""
        return self.settings().get("norm", "off") != "off"

    @property
    def reference(self) -> bool:
        """Whether the reference's log-probabilities are needed."""
        loss = self.preferences().method
        return not isinstance(loss, PreferenceLoss) or loss.reference_exponent > 0 or self.entropy

    def _loss(self) -> PairLoss:
        settings = self.settings()
        if self.name in SEPARATE:
            return Separate(self.name, **settings)  # pyright: ignore[reportArgumentType]
        if "link" in settings:
            settings["link"] = LINKS[settings["link"]]()
        if "norm" in settings:
            settings["norm"] = _norm(settings["norm"], self.name)
        if self.name == "f_dpo":
            return methods.f_dpo(settings["beta"], _shape(**settings))
        return getattr(methods, self.name)(**settings)


def _norm(norm: float | str, name: str) -> float | None:
    """A number for φ; "data" is replaced once the pairs' entropies are known."""
    if norm == "off" and name == "rainbow_po":
        return None
    if norm == "off":
        raise ValueError(f"{name} without φ is the method it scales; take that one")
    return methods.RAINBOW_NORM if norm == "data" else float(norm)


def _shape(divergence: Divergence, a: float, beta: float) -> shapes.Shape:
    match divergence:
        case "js":
            return shapes.JensenShannon()
        case "forward_kl":
            return shapes.ForwardKL()
        case "alpha":
            return shapes.AlphaDivergence(a)


@cache
def options_of(name: Name) -> type:
    """The settings of one loss as a dataclass of its own, so that it has no others."""
    hints = get_type_hints(TextLoss)
    made: list[tuple[str, Any, Any]] = [
        (field, _known(hints[field]), default) for field, default in OWN[name].items()
    ]
    if name not in BATCHED:
        made.append(("tail", float, 1.0))
    title = "".join(part.title() for part in name.split("_"))
    return make_dataclass(title, made, frozen=True)


def _known(hint: Any) -> Any:
    """A type without None."""
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    known = kinds[0]
    for kind in kinds[1:]:
        known = known | kind
    return known
