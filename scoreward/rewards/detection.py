"""GenEval's checks as a reward, with any object detector of transformers.

GenEval itself uses Mask2Former of mmdetection and CLIP for colours, so numbers from here are not
comparable with published ones; they are good for training and for comparing runs with each other.
Prompts are GenEval's, looked up in its metadata, or the metadata itself as JSON. Not
differentiable.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.rewards.clip import CLIP_L, Towers
from scoreward.rewards.geneval import COLORS, Detection, Scene, graded, kept, read_metadata, strict
from scoreward.rewards.pictures import checked, eight_bit
from scoreward.rewards.rules import pixels_of
from scoreward.rewards.weights import first_line, missing, needs, pretrained

OWL = "google/owlvit-base-patch32"
DETR = "facebook/detr-resnet-50"
LEAST = 0.05  # detections below are not even handed over; memory only


@runtime_checkable
class Detector(Protocol):
    """Finds objects of the named kinds, a list of kinds per picture."""

    def find(
        self, media: Float[Tensor, "batch 3 height width"], kinds: Sequence[Sequence[str]]
    ) -> list[list[Detection]]: ...


@dataclass(frozen=True)
class OpenDetector:
    """A detector that looks for what it is told, such as OWL-ViT."""

    weights: str = OWL
    phrase: str = "a photo of a {kind}"
    batch: int = 8

    @torch.no_grad()
    def find(
        self, media: Float[Tensor, "batch 3 height width"], kinds: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        found: list[list[Detection]] = [[] for _ in kinds]
        for count in {len(row) for row in kinds}:  # filled-up texts would be found, too
            same = [i for i, row in enumerate(kinds) if len(row) == count]
            for start in range(0, len(same), self.batch):
                part = same[start : start + self.batch]
                for i, row in zip(part, self._some(media[part], [kinds[i] for i in part])):
                    found[i] = row
        return found

    def _some(self, media: Tensor, kinds: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Of pictures with equally many kinds."""
        texts = [[self.phrase.replace("{kind}", kind) for kind in row] for row in kinds]
        pictures = eight_bit(media)
        given = self._processor(text=texts, images=pictures, return_tensors="pt", truncation=True)
        output = self._model.to(media.device)(**given.to(media.device))
        rows = self._processor.image_processor.post_process_object_detection(
            output, threshold=LEAST, target_sizes=_sizes(media)
        )
        return [_listed(row, dict(enumerate(names))) for row, names in zip(rows, kinds)]

    @cached_property
    def _model(self) -> Any:
        return pretrained(
            "geneval", "AutoModelForZeroShotObjectDetection", self.weights, torch.float32
        )

    @cached_property
    def _processor(self) -> Any:
        return _processor("AutoProcessor", self.weights)


@dataclass(frozen=True)
class TrainedDetector:
    """A detector with a fixed list of kinds, such as DETR or YOLOS on COCO's."""

    weights: str = DETR
    batch: int = 8

    @torch.no_grad()
    def find(
        self, media: Float[Tensor, "batch 3 height width"], kinds: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        model, found = self._model.to(media.device), []
        names = model.config.id2label
        if unknown := {kind for row in kinds for kind in row} - set(names.values()):
            raise ValueError(
                f"{self.weights!r} knows no {sorted(unknown)[0]!r}; it knows "
                f"{', '.join(sorted(names.values()))}; or use OpenDetector"
            )
        for i in range(0, len(media), self.batch):
            part = media[i : i + self.batch]
            given = self._processor(images=eight_bit(part), return_tensors="pt")
            output = model(**given.to(media.device))
            rows = self._processor.post_process_object_detection(
                output, threshold=LEAST, target_sizes=_sizes(part)
            )
            found += [_listed(row, names) for row in rows]
        return found

    @cached_property
    def _model(self) -> Any:
        return pretrained("geneval", "AutoModelForObjectDetection", self.weights, torch.float32)

    @cached_property
    def _processor(self) -> Any:
        return _processor("AutoImageProcessor", self.weights)


def _processor(kind: str, where: str) -> Any:
    needs("geneval", "transformers", "rewards")
    import transformers

    try:
        return getattr(transformers, kind).from_pretrained(where)
    except (OSError, ValueError, ImportError) as error:
        raise missing("geneval", where, f"no processor ({first_line(error)})") from error


def _sizes(media: Tensor) -> list[tuple[int, int]]:
    return [(media.shape[2], media.shape[3])] * len(media)


def _listed(row: Mapping[str, Tensor], names: Mapping[int, str]) -> list[Detection]:
    boxes = [tuple(box) for box in row["boxes"].tolist()]
    triples = zip(row["labels"].tolist(), row["scores"].tolist(), boxes)
    return [Detection(names[label], score, box) for label, score, box in triples]


ColorReader = Callable[[Tensor, Detection], str]
"""(picture [3, height, width], an object in it) → the name of its colour."""


def color_by_pixels(picture: Float[Tensor, "3 height width"], found: Detection) -> str:
    """The commonest named colour in the middle half of the box; ours, needs no weights."""
    left, top, right, bottom = _inside(picture, found.box, 0.25)
    middle = picture[None, :, top:bottom, left:right]
    shares = [float(pixels_of(middle, color).float().mean()) for color in COLORS]
    return COLORS[max(range(len(COLORS)), key=shares.__getitem__)]


@dataclass(frozen=True)
class ColorByClip:
    """GenEval's way: CLIP compares the part of the picture with three phrases per colour.

    The phrases are GenEval's; their vectors are averaged per colour. GenEval greys out what is
    around the object's mask, for which a box has no information.
    """

    towers: Towers = Towers("geneval", CLIP_L)

    @torch.no_grad()
    def __call__(self, picture: Float[Tensor, "3 height width"], found: Detection) -> str:
        left, top, right, bottom = _inside(picture, found.box, 0.0)
        vector = self.towers.pictures(picture[None, :, top:bottom, left:right])[0]
        forms = ("a photo of a {c} {k}", "a photo of a {c}-colored {k}", "a photo of a {c} object")
        texts = [f.replace("{c}", c).replace("{k}", found.label) for c in COLORS for f in forms]
        each = self.towers.prompts(texts, picture.device).unflatten(0, (len(COLORS), len(forms)))
        likeness = torch.nn.functional.normalize(each.mean(1), dim=-1) @ vector
        return COLORS[int(likeness.argmax())]


def _inside(
    picture: Tensor, box: tuple[float, float, float, float], margin: float
) -> tuple[int, int, int, int]:
    """The box without `margin` of its size on each side, in whole pixels, at least one."""
    height, width = picture.shape[1:]
    edges = []
    for low, high, size in ((box[0], box[2], width), (box[1], box[3], height)):
        cut = margin * (high - low)
        first = min(max(round(low + cut), 0), size - 1)
        edges.append((first, max(first + 1, min(round(high - cut), size))))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


@dataclass(frozen=True)
class GenEval:
    """1 where a picture holds what its prompt asks for, else 0; or partial credit.

    The thresholds are GenEval's, for its detector; a surer one is asked where objects are counted.
    """

    detector: Detector
    wanted: Mapping[str, Scene] = field(default_factory=dict)  # of prompts that are not JSON
    partial: bool = False
    color: ColorReader = color_by_pixels
    threshold: float = 0.3
    counting_threshold: float = 0.9
    overlap: float = 1.0  # two of a kind that share this much are one; 1 for never

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        pictures, asked = checked(media, prompts), [self.asked(prompt) for prompt in prompts]
        all_found = self.detector.find(pictures, [wanted.kinds for wanted in asked])
        values = [self._one(*each) for each in zip(pictures, asked, all_found, strict=True)]
        return torch.tensor(values, device=media.device)

    def _one(self, picture: Tensor, wanted: Scene, found: list[Detection]) -> float:
        least = self.counting_threshold if wanted.tag == "counting" else self.threshold
        sure = kept(found, least, self.overlap)

        def color_of(one: Detection) -> str:
            return self.color(picture, one)

        if self.partial:
            return graded(sure, wanted, color_of)
        return float(strict(sure, wanted, color_of))

    def asked(self, prompt: str) -> Scene:
        if prompt in self.wanted:
            return self.wanted[prompt]
        if not prompt.lstrip().startswith("{"):
            raise ValueError(
                f"nothing is known of what {prompt!r} asks for; expected a prompt of the metadata "
                f"({len(self.wanted)} prompts), or GenEval's metadata itself as JSON"
            )
        return Scene.read(json.loads(prompt))


def geneval(metadata: str = "") -> GenEval:
    """Strict, with OWL-ViT; its thresholds are ours, and not tuned on its real weights."""
    return _with_owl(metadata, partial=False)


def geneval_graded(metadata: str = "") -> GenEval:
    return _with_owl(metadata, partial=True)


def _with_owl(metadata: str, partial: bool) -> GenEval:
    wanted = read_metadata(metadata) if metadata else {}
    return GenEval(
        OpenDetector(), wanted, partial, threshold=0.2, counting_threshold=0.3, overlap=0.5
    )
