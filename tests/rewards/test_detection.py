"""Detectors of the real classes with tiny random weights, and the reward that asks them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from scoreward.rewards import detection
from scoreward.rewards.base import RewardError, scored
from scoreward.rewards.catalogue import find
from scoreward.rewards.clip import Towers
from scoreward.rewards.detection import (
    ColorByClip,
    GenEval,
    OpenDetector,
    TrainedDetector,
    color_by_pixels,
)
from scoreward.rewards.geneval import COLORS, Detection, Scene
from tests.rewards.tiny import as_files, photograph, save_clip, save_detr, save_owl

KINDS = [["cat", "red circle"], ["square"], ["blue cat", "a", "two"]]


@pytest.fixture(scope="module")
def owl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("owl")
    save_owl(made)
    return made


@pytest.fixture(scope="module")
def detr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("detr")
    save_detr(made)
    return made


def pictures() -> Tensor:
    return torch.cat([photograph(40, 56, seed) for seed in range(3)])


def same(mine: Sequence[Detection], expected: dict[str, Any], names: Sequence[str]) -> None:
    assert len(mine) == len(expected["scores"]) > 0
    assert [f.label for f in mine] == [names[i] for i in expected["labels"].tolist()]
    scores = torch.tensor([f.score for f in mine])
    torch.testing.assert_close(scores, expected["scores"], atol=1e-4, rtol=1e-4)
    boxes = torch.tensor([f.box for f in mine])
    torch.testing.assert_close(boxes, expected["boxes"], atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_an_open_detector_finds_what_transformers_finds_one_by_one(owl: Path, batch: int) -> None:
    """Also when pictures of a batch are asked for different numbers of kinds."""
    found = OpenDetector(str(owl), batch=batch).find(pictures(), KINDS)
    model = transformers.OwlViTForObjectDetection.from_pretrained(owl).eval()
    processor: Any = transformers.OwlViTProcessor.from_pretrained(owl)
    for mine, image, kinds in zip(found, as_files(pictures()), KINDS, strict=True):
        texts = [[f"a photo of a {kind}" for kind in kinds]]
        given = processor(text=texts, images=image, return_tensors="pt", truncation=True)
        with torch.no_grad():
            output = model(**given)
        (expected,) = processor.post_process_grounded_object_detection(
            output, threshold=detection.LEAST, target_sizes=[(40, 56)]
        )
        same(mine, expected, kinds)


def test_a_trained_detector_finds_what_transformers_finds(
    detr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection, "LEAST", 0.01)
    found = TrainedDetector(str(detr), batch=2).find(pictures(), [["cat"], ["dog"], ["kite"]])
    model = transformers.DetrForObjectDetection.from_pretrained(detr).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(detr)
    for mine, image in zip(found, as_files(pictures()), strict=True):
        with torch.no_grad():
            output = model(**processor(images=image, return_tensors="pt"))
        (expected,) = processor.post_process_object_detection(
            output, threshold=0.01, target_sizes=[(40, 56)]
        )
        same(mine, expected, ["cat", "dog", "kite"])


def test_kinds_that_a_trained_detector_does_not_know_are_refused(detr: Path) -> None:
    with pytest.raises(ValueError, match="knows no 'zebra'; it knows cat, dog, kite; or use Open"):
        TrainedDetector(str(detr)).find(pictures()[:1], [["cat", "zebra"]])


@dataclass(frozen=True)
class Says:
    """A detector that has found what it is told to have found."""

    found: list[list[Detection]]
    asked: list[Sequence[str]] = field(default_factory=list)

    def find(self, media: Tensor, kinds: Sequence[Sequence[str]]) -> list[list[Detection]]:
        self.asked.extend(kinds)
        return self.found


def box(label: str, left: float, score: float = 0.95) -> Detection:
    return Detection(label, score, (left, 8.0, left + 8.0, 16.0))


def drawn(*colors: tuple[float, float, float]) -> Tensor:
    """One picture with a square of each colour, from the left."""
    media = torch.full((1, 3, 24, 48), 0.6)
    for i, color in enumerate(colors):
        media[0, :, 8:16, 16 * i + 2 : 16 * i + 10] = torch.tensor(color)[:, None, None]
    return media


def test_the_reward_puts_detector_colours_and_logic_together() -> None:
    media = drawn((0.9, 0.1, 0.1), (0.1, 0.2, 0.9)).repeat(2, 1, 1, 1)
    found = [box("dog", 2), box("cat", 18)]
    detector = Says([found, found])
    right = {"include": [{"class": "dog", "color": "red"}, {"class": "cat", "color": "blue"}]}
    wrong = {"include": [{"class": "dog", "color": "blue"}, {"class": "cat", "color": "blue"}]}
    known = {"a red dog and a blue cat": Scene.read(right)}
    prompts = ["a red dog and a blue cat", json.dumps(wrong)]
    assert scored("geneval", GenEval(detector, known), media, prompts).tolist() == [1, 0]
    assert detector.asked == [("dog", "cat"), ("dog", "cat")]
    assert GenEval(detector, known, partial=True)(media, prompts).tolist() == [1, 0.75]


def test_thresholds_are_higher_where_objects_are_counted() -> None:
    media = drawn()
    detector = Says([[box("dog", 2, 0.5), box("dog", 30, 0.95)]])
    two = {"include": [{"class": "dog", "count": 2}]}
    assert GenEval(detector)(media, [json.dumps(two)]).tolist() == [1]
    assert GenEval(detector)(media, [json.dumps({**two, "tag": "counting"})]).tolist() == [0]
    doubled = Says([[box("dog", 2, 0.95), box("dog", 3, 0.95)]])
    assert GenEval(doubled)(media, [json.dumps(two)]).tolist() == [1]
    assert GenEval(doubled, overlap=0.5)(media, [json.dumps(two)]).tolist() == [0]


def test_colours_are_those_of_the_middle_of_the_box() -> None:
    media = drawn((0.95, 0.85, 0.1), (0.1, 0.6, 0.2), (0.02, 0.02, 0.02))[0]
    colors = [color_by_pixels(media, box("x", left)) for left in (2, 18, 34)]
    assert colors == ["yellow", "green", "black"]
    half_outside = Detection("x", 0.9, (-30.0, 8.0, 10.0, 16.0))
    assert color_by_pixels(media, half_outside) in COLORS
    assert color_by_pixels(media, Detection("x", 0.9, (60.0, 30.0, 70.0, 40.0))) in COLORS


def test_clip_names_the_colour_whose_phrases_are_closest(tmp_path: Path) -> None:
    save_clip(tmp_path)
    towers = Towers("test", str(tmp_path))
    media = drawn((0.9, 0.1, 0.1), (0.1, 0.2, 0.9))[0]
    found = box("cat", 18)
    named = ColorByClip(towers)(media, found)
    picture = towers.pictures(media[None, :, 8:16, 18:26])[0]
    likeness = {}
    for color in COLORS:
        phrases = [f"a photo of a {color} cat", f"a photo of a {color}-colored cat"]
        phrases += [f"a photo of a {color} object"]
        mean = towers.prompts(phrases, media.device).mean(0)
        likeness[color] = float(mean @ picture / mean.norm())
    assert named == max(likeness, key=likeness.__getitem__)
    assert len(set(likeness.values())) == len(COLORS)


def test_prompts_must_say_what_they_ask_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing is known of what 'a dog' asks for"):
        GenEval(Says([[]]))(drawn(), ["a dog"])
    row = {"prompt": "a dog", "include": [{"class": "dog"}]}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    reward: Any = find(f"geneval={tmp_path / 'metadata.jsonl'}")
    assert reward.scene("a dog").kinds == ("dog",)
    assert not reward.partial
    graded: Any = find("geneval_graded")
    assert graded.partial
    with pytest.raises(RewardError, match="needs the weights 'google/owlvit-base-patch32'"):
        scored("geneval", reward, drawn(), ["a dog"])


def test_the_whole_way_from_a_named_reward_to_a_number(owl: Path) -> None:
    """Random weights find nothing in particular; the number is one of the two."""
    reward = GenEval(OpenDetector(str(owl)), threshold=0.05)
    prompt = json.dumps({"include": [{"class": "cat"}], "exclude": [{"class": "cat", "count": 99}]})
    value = scored("geneval", reward, pictures(), [prompt] * 3)
    found = OpenDetector(str(owl)).find(pictures(), [["cat"]] * 3)
    assert value.tolist() == [float(len(f) > 0) for f in found]
    assert value.sum() > 0
