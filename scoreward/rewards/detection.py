"""GenEval's checks as a reward, with any object detector of transformers.

GenEval itself uses Mask2Former of mmdetection and CLIP for colours, so numbers from here are not
comparable with published ones; they are good for training and for comparing runs with each other.
Prompts are GenEval's, looked up in its metadata, or the metadata itself as JSON. Not
differentiable.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.rewards.base import refusal
from scoreward.rewards.clip import CLIP_L, Towers
from scoreward.rewards.geneval import (
    COLORS,
    Detection,
    Scene,
    confident,
    graded,
    read_metadata,
    strict,
)
from scoreward.rewards.pictures import checked, eight_bit
from scoreward.rewards.rules import pixels_of
from scoreward.rewards.weights import pretrained, reading

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
                texts = [[self.phrase.replace("{kind}", k) for k in kinds[i]] for i in part]
                inputs = self._processor(
                    text=texts, images=eight_bit(media[part]), return_tensors="pt", truncation=True
                )
                rows = _boxes(self._model, inputs, self._processor.image_processor, media[part])
                for i, row in zip(part, rows):
                    found[i] = _detections(row, dict(enumerate(kinds[i])))
        return found

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
        names, found = self._model.config.id2label, []
        if unknown := {kind for row in kinds for kind in row} - set(names.values()):
            raise ValueError(
                f"{self.weights!r} knows no {sorted(unknown)[0]!r}; it knows "
                f"{', '.join(sorted(names.values()))}; or use OpenDetector"
            )
        for part in media.split(self.batch) if len(media) else ():
            inputs = self._processor(images=eight_bit(part), return_tensors="pt")
            rows = _boxes(self._model, inputs, self._processor, part)
            found += [_detections(row, names) for row in rows]
        return found

    @cached_property
    def _model(self) -> Any:
        return pretrained("geneval", "AutoModelForObjectDetection", self.weights, torch.float32)

    @cached_property
    def _processor(self) -> Any:
        return _processor("AutoImageProcessor", self.weights)


def _processor(kind: str, where: str) -> Any:
    with reading("geneval", where, "processor", ImportError):
        import transformers

        return getattr(transformers, kind).from_pretrained(where)


def _boxes(model: Any, inputs: Any, processor: Any, media: Tensor) -> list[Mapping[str, Tensor]]:
    """What the network finds in each picture, as its processor reads the answer."""
    output = model.to(media.device)(**inputs.to(media.device))
    sizes = [(media.shape[2], media.shape[3])] * len(media)
    return processor.post_process_object_detection(output, threshold=LEAST, target_sizes=sizes)


def _detections(row: Mapping[str, Tensor], names: Mapping[int, str]) -> list[Detection]:
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
        pictures, scenes = checked(media, prompts), [self.scene(prompt) for prompt in prompts]
        detected = self.detector.find(pictures, [scene.kinds for scene in scenes])
        grade, values = graded if self.partial else strict, []
        for picture, scene, found in zip(pictures, scenes, detected, strict=True):
            least = self.counting_threshold if scene.tag == "counting" else self.threshold
            sure = confident(found, least, self.overlap)
            values.append(float(grade(sure, scene, partial(self.color, picture))))
        return torch.tensor(values, device=media.device)

    def unfit(self, prompt: str) -> str | None:
        return refusal(self.scene, prompt)

    def scene(self, prompt: str) -> Scene:
        """What the metadata, else the prompt's own row of a file, else the prompt itself says."""
        if prompt in self.wanted:
            return self.wanted[prompt]
        row = getattr(prompt, "fields", {})
        if "include" in row:
            return Scene.read(row)
        if not prompt.lstrip().startswith("{"):
            raise ValueError(
                f"nothing is known of what {prompt!r} asks for; expected a prompt of the metadata "
                f"({len(self.wanted)} prompts), a row of a prompts file with its `include`, or "
                "GenEval's metadata itself as JSON"
            )
        return Scene.read(json.loads(prompt))


def geneval(metadata: str = "", partial: bool = False) -> GenEval:
    """With OWL-ViT, strict or not; its thresholds are ours, and not tuned on its real weights."""
    wanted = read_metadata(metadata) if metadata else {}
    return GenEval(
        OpenDetector(), wanted, partial, threshold=0.2, counting_threshold=0.3, overlap=0.5
    )


def geneval_graded(metadata: str = "") -> GenEval:
    return geneval(metadata, partial=True)
