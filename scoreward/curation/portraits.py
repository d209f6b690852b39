"""Rich pairs of pixel portraits without a model server: verifier, template, the model as editor.

The critic is the attribute verifier that decides, and says in words what is wrong. The editor is
the built-in model itself: it finds the region where the picture as it is and the picture as it
should be differ in its own eyes, noises the picture to an intermediate time and draws that region
anew. Outside the region the pixels stay what they were. Models and thresholds are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional as F

from scoreward.core.chain import Sampler, draw, uniform
from scoreward.core.denoiser import Cond, Denoiser, Guided
from scoreward.core.device import placed
from scoreward.core.kernel import DDIM, generalised
from scoreward.core.keys import Key, normal_each
from scoreward.core.prediction import Prediction
from scoreward.core.rows import moved
from scoreward.curation.pictures import media, picture
from scoreward.curation.records import Complaint, Critique, Instructions
from scoreward.curation.stages import Edit
from scoreward.data.portraits import FIELDS, UNSAID, caption
from scoreward.models.base import Model
from scoreward.rewards.portraits import Verifier, labels_of

THINGS = {
    "hair": "the hair",
    "hair_color": "the hair",
    "clothes": "the shirt",
    "mouth": "the person",
    "hat": "the hat",
}
WHOLE = {
    ("glasses", "none"): ("there should be no glasses", "take the glasses off"),
    ("glasses", "dark"): ("there should be sunglasses", "put on sunglasses"),
    ("glasses", "light"): ("there should be clear glasses", "put on clear glasses"),
    ("hat", "none"): ("there should be no hat", "take the hat off"),
    ("earrings", "no"): ("there should be no earrings", "take the earrings off"),
    ("earrings", "yes"): ("there should be earrings", "add earrings"),
}
"""(attribute, wanted) → the complaint, the instruction."""


def complaint(name: str, found: str, wanted: str) -> Complaint:
    """An attribute that is not as the prompt asks, in words."""
    fault = "missing" if found in ("none", "no") else "wrong"
    if (name, wanted) in WHOLE:
        return Complaint(name, fault, WHOLE[name, wanted][0], found, wanted)
    if fault == "missing":
        return Complaint(name, fault, f"there should be a {wanted} {name}", found, wanted)
    return Complaint(name, fault, f"{THINGS[name]} should be {wanted}, not {found}", found, wanted)


def instruction(name: str, wanted: str) -> str:
    """What to tell an editor."""
    if (name, wanted) in WHOLE:
        return WHOLE[name, wanted][1]
    return f"put on a {wanted} hat" if name == "hat" else f"make {THINGS[name]} {wanted}"


MEANING = {instruction(n, v): (n, v) for n, values in FIELDS.items() for v in values}


@dataclass(frozen=True)
class ModelGenerator:
    """A model with its sampler as a generator."""

    model: Model
    sampler: Sampler
    name: str
    guidance: float = 1.0  # classifier-free; 1 is none

    @property
    def evaluations(self) -> int:
        return self.sampler.calls * (1 + (self.guidance != 1))

    def __call__(self, prompts: Sequence[str], keys: Sequence[Key]) -> list[Image]:
        noise = normal_each(keys, self.model.shape) * self.sampler.start(self.model.process)
        noise, cond = placed(noise, self.model.device), _encoded(self.model, prompts)
        denoiser = self.model.denoiser
        if self.guidance != 1:
            denoiser = Guided(denoiser, self.guidance, self.model.null)
        x = draw(self.sampler, denoiser, noise, keys, cond)
        return [picture(one) for one in self.model.decode(x)]


@dataclass(frozen=True)
class AttributeCritic:
    """Names the attributes that a verifier finds wrong.  [rpo] (critique)"""

    verifier: Verifier
    name: str = "attribute verifier"
    device: torch.device = torch.device("cpu")  # where it looks at pictures

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], images: Sequence[Image]) -> list[Critique]:
        found = torch.stack(
            [logits.argmax(1) for logits in self.verifier(media(images).to(self.device))], 1
        )
        critiques = []
        for labels, shown in zip(labels_of(prompts).tolist(), found.tolist()):
            wrong = tuple(
                complaint(name, values[value], values[label])
                for (name, values), label, value in zip(FIELDS.items(), labels, shown, strict=True)
                if label not in (UNSAID, value)
            )
            named = sum(label != UNSAID for label in labels)
            critiques.append(Critique(wrong, 10 - 9 * len(wrong) / max(named, 1)))
        return critiques


@dataclass(frozen=True)
class Template:
    """One instruction per complaint, the first `most` of them.  [rpo] (instruct)"""

    most: int = 3
    name: str = "template"

    def __call__(
        self, prompts: Sequence[str], images: Sequence[Image], critiques: Sequence[Critique]
    ) -> list[Instructions]:
        return [
            Instructions(tuple(instruction(c.about, c.wanted) for c in one.complaints[: self.most]))
            for one in critiques
        ]


@dataclass(frozen=True)
class PortraitEditing:
    """How the model edits; chosen on validation prompts, see benchmarks/preferences/editing."""

    start: float = 0.85  # time to noise the picture to; 1 forgets it
    steps: int = 8
    guidance: float = 2.0  # from the picture as it is described to as it should be; 1 is none
    masked: bool = True  # keep the pixels that need not change
    mask_at: float = 0.7  # time at which the two descriptions are compared
    mask_above: float = 0.3  # least difference of x0, summed over channels, of a pixel to redraw
    mask_noises: int = 4  # noises the difference is averaged over

    def __post_init__(self) -> None:
        if not (0 < self.start <= 1 and 0 < self.mask_at < 1):
            raise ValueError(f"times lie from 0 to 1, got {self.start} and {self.mask_at}")
        if self.steps < 1 or self.mask_noises < 1:
            raise ValueError("`steps` and `mask_noises` must be at least 1")

    @property
    def sampler(self) -> Sampler:
        return uniform(DDIM(generalised(0.0)), self.steps, start=self.start)

    @property
    def evaluations(self) -> int:
        """Network evaluations of one edited picture."""
        return self.steps * (1 + (self.guidance != 1)) + 2 * self.mask_noises * self.masked


@dataclass(frozen=True)
class ModelEditor:
    """Noise the picture to an intermediate time and draw it anew as told.  [sdedit] (Alg. 1)

    The picture is described as the critique says it is, and as it is after the instructions;
    guidance leads from the one description to the other.
    """

    model: Model
    editing: PortraitEditing = PortraitEditing()

    @property
    def name(self) -> str:
        return f"the model itself, {self.editing}"

    @property
    def evaluations(self) -> int:
        return self.editing.evaluations

    @torch.no_grad()
    def __call__(self, edits: Sequence[Edit], keys: Sequence[Key]) -> list[Image]:
        x0 = media([edit.image for edit in edits]).to(self.model.device) * 2 - 1
        is_now, should_be = zip(*(descriptions(edit) for edit in edits), strict=True)
        source, target = (_encoded(self.model, texts) for texts in (is_now, should_be))
        eps = normal_each((key / "start" for key in keys), self.model.shape).to(x0)
        denoiser = self.guided(source)
        if self.editing.masked:
            mask = self._region(x0, source, target, keys)
            denoiser = InpaintingDenoiser(denoiser, mask, x0, eps)
        x = _noised(self.model, x0, eps, self.editing.start)
        edited = draw(self.editing.sampler, denoiser, x, keys, target)
        return [picture(one) for one in self.model.decode(edited)]

    def guided(self, source: Cond) -> Denoiser:
        """The network's answer to a description, led away from `source`."""
        plain = self.model.denoiser
        if self.editing.guidance == 1:
            return plain
        return Guided(plain, self.editing.guidance, lambda _: source)

    def _region(
        self, x0: Tensor, source: Cond, target: Cond, keys: Sequence[Key]
    ) -> Float[Tensor, "batch 1 height width"]:
        """1 where the two descriptions make different pictures, and beside.  [diffedit] (Step 1)

        The paper normalises the difference of noises; this one is of x0, in units of the pixels.
        """
        differences = []
        for number in range(self.editing.mask_noises):
            eps = normal_each((key / "mask" / number for key in keys), self.model.shape).to(x0)
            x_t = _noised(self.model, x0, eps, self.editing.mask_at)
            t = x0.new_full((len(x0),), self.editing.mask_at)
            one, other = (self.model.denoiser(x_t, t, cond).x0 for cond in (source, target))
            differences.append((one - other).abs().sum(1, keepdim=True))
        difference = F.max_pool2d(torch.stack(differences).mean(0), 3, 1, 1)
        return (difference > self.editing.mask_above).to(x0)


def _encoded(model: Model, prompts: Sequence[str]) -> Cond:
    """What the prompts say, where the network is."""
    cond = model.encode(prompts)
    return None if cond is None else moved(cond, model.device)


def _noised(model: Model, x0: Tensor, eps: Tensor, t: float) -> Tensor:
    """α x0 + σ ε."""
    time = x0.new_full((len(x0), *[1] * (x0.ndim - 1)), t)
    return model.process.alpha(time) * x0 + model.process.sigma(time) * eps


def descriptions(edit: Edit) -> tuple[str, str]:
    """The picture in words, as it is and as it is to be after the instructions."""
    wanted = labels_of([edit.prompt])[0].tolist()
    names, values = list(FIELDS), list(FIELDS.values())
    is_now = [max(label, 0) for label in wanted]
    for one in edit.critique.complaints:
        k = names.index(one.about)
        is_now[k] = values[k].index(one.found)
    should_be = list(is_now)
    for line in edit.instructions:
        if line not in MEANING:
            raise ValueError(f"the portraits' editor does not understand {line!r}")
        name, value = MEANING[line]
        should_be[names.index(name)] = values[names.index(name)].index(value)
    return caption(is_now, 0), caption(should_be, 0)


@dataclass(frozen=True)
class InpaintingDenoiser:
    """A denoiser that knows the pixels outside of a mask: they end as they were.

    A step without noise then takes them from α_t x0 + σ_t ε to α_s x0 + σ_s ε, as [repaint] (8)
    does by drawing them anew at every step.
    """

    denoiser: Denoiser
    mask: Float[Tensor, "batch 1 height width"]
    x0: Float[Tensor, "batch channels height width"]
    eps: Float[Tensor, "batch channels height width"]

    def __call__(self, x_t: Tensor, t: Tensor, cond: Cond) -> Prediction:
        prediction = self.denoiser(x_t, t, cond)
        x0, eps = (
            torch.where(self.mask > 0, new, old)
            for new, old in ((prediction.x0, self.x0), (prediction.eps, self.eps))
        )
        return Prediction(x_t, t, x0, eps, prediction.process)

    @cached_property
    def share(self) -> Float[Tensor, " batch"]:
        """Share of pixels that may change."""
        return self.mask.flatten(1).mean(1)
