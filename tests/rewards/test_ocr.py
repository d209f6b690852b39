"""Two readers and what their readings are worth."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from scoreward.data import lettering as data
from scoreward.rewards import ocr
from scoreward.rewards.base import RewardError, scored, unjudged
from scoreward.rewards.catalogue import find
from scoreward.rewards.combine import Combined, Scaled, minimum
from scoreward.rewards.ocr import (
    Confidence,
    ExactText,
    Legible,
    PaddleReader,
    SceneReader,
    TesseractReader,
)
from scoreward.rewards.pictures import Frames

SCENE = SceneReader()
PADDLE, TESSERACT = PaddleReader(), TesseractReader(data.ALPHABET)


def drawn(count: int = 64) -> tuple[Tensor, list[str]]:
    pictures = data.load("validation")
    media = (pictures.images[:count] / 2 + 0.5).expand(-1, 3, -1, -1)
    return media, pictures.captions[:count]


@dataclass(frozen=True)
class Says:
    """A reader that says what it is told to."""

    lines: Sequence[str]

    def read(self, media: Tensor) -> list[str]:
        return list(self.lines)


def value(reward: type, asked: str, read: str) -> float:
    return float(reward(Says([read]))(torch.zeros(1, 3, 4, 8), [asked])[0])


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [("", "", 0), ("cat", "", 3), ("kitten", "sitting", 3), ("cat", "act", 2), ("ab", "abc", 1)],
)
def test_edit_distances(a: str, b: str, expected: int) -> None:
    assert ocr.distance(a, b) == ocr.distance(b, a) == expected


def test_legible_counts_edits_per_letter_of_the_text() -> None:
    """[flow-grpo] (text reward): by hand."""
    assert value(Legible, 'a sign "OPEN"', "open") == 1
    assert value(Legible, 'a sign "OPEN"', "opem") == 0.75
    assert value(Legible, 'a sign "OPEN"', "o pen!") == 1  # blanks and signs do not count
    assert value(Legible, 'a sign "OPEN"', "") == 0
    assert value(Legible, '"AT"', "ELEPHANT") == 0  # never below 0


def test_exact_is_all_or_nothing() -> None:
    assert value(ExactText, '"zoo"', "Z00") == 1  # no digit is asked for
    assert value(ExactText, '"R2"', "R2") == 1
    assert value(ExactText, '"10"', "IO") == 0  # here digits are
    assert value(ExactText, '"open"', "opens") == 0


READERS = [PADDLE, SCENE, pytest.param(TESSERACT, marks=pytest.mark.tesseract)]


@pytest.mark.parametrize("reader", READERS)
def test_drawn_words_are_read(reader: PaddleReader | TesseractReader) -> None:
    assert float(ExactText(reader)(*drawn()).mean()) >= 0.95
    assert float(Legible(reader)(*drawn()).mean()) >= 0.98


@pytest.mark.parametrize("reader", READERS)
def test_other_words_and_noise_earn_little(reader: PaddleReader | TesseractReader) -> None:
    media, prompts = drawn(32)
    others = prompts[1:] + prompts[:1]
    assert float(Legible(reader)(media, others).mean()) < 0.4
    noise = torch.rand(8, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    assert float(Legible(reader)(noise, prompts[:8]).mean()) < 0.1


@pytest.mark.tesseract
def test_a_batch_is_read_as_its_pictures_are_one_by_one() -> None:
    media, _ = drawn(5)
    for reader in (PADDLE, TESSERACT):
        assert reader.read(media) == [reader.read(m[None])[0] for m in media]
        assert reader.read(media[:0]) == []


def test_confidence_is_high_for_what_is_written_and_low_for_the_rest() -> None:
    media, prompts = drawn(16)
    right = Confidence(PADDLE)(media, prompts)
    wrong = Confidence(PADDLE)(media, prompts[1:] + prompts[:1])
    assert right.shape == (16,)
    assert float(right.median()) > 0.9
    assert float(wrong.max()) < 0.5


def test_the_log_likelihood_is_that_of_all_ways_to_write_the_text() -> None:
    """CTC by hand for one frame-wise certain reading: p(text) = Σ over alignments."""
    probabilities = torch.tensor([[[0.6, 0.4], [0.6, 0.4]]])  # blank, "A"; two frames

    class Two(PaddleReader):
        def probabilities(self, media: Tensor) -> Tensor:
            return probabilities

        _index: ClassVar = {"A": 1}  # pyright: ignore

    answer = Two().log_likelihood(torch.zeros(1, 3, 4, 8), ["A"])
    expected = torch.tensor([0.4 * 0.6 + 0.6 * 0.4 + 0.4 * 0.4]).log()  # A–, –A, AA
    torch.testing.assert_close(answer, expected)


def test_repeated_frames_are_one_letter_and_blanks_part_two() -> None:
    frames = torch.tensor([[1, 1, 0, 1, 2, 2, 0]])

    class Told(PaddleReader):
        def probabilities(self, media: Tensor) -> Tensor:
            return torch.nn.functional.one_hot(frames, 3).float()

        _characters: ClassVar = ["", "A", "B"]  # pyright: ignore

    assert Told().read(torch.zeros(1, 3, 4, 8)) == ["AAB"]


def test_light_letters_on_dark_are_handed_over_as_dark_ones_on_light() -> None:
    picture = torch.full((3, 32, 64), 0.1)
    picture[:, 10:20, 10:20] = 0.9
    light, dark = (np.asarray(ocr.enlarged(p)).astype(int) for p in (picture, 1 - picture))
    assert light.shape == (128, 256)
    assert abs(light - dark).max() <= 1
    assert light[0, 0] > light[60, 60]


def test_a_missing_program_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr.shutil, "which", lambda name: None)
    media, prompts = drawn(2)
    with pytest.raises(RewardError, match="apt-get install tesseract-ocr"):
        scored("judge", ExactText(TESSERACT), media, prompts)


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "find_spec", lambda name: None)
    media, prompts = drawn(2)
    with pytest.raises(RewardError, match=r"pip install 'scoreward\[ocr\]'"):
        scored("reward", ExactText(PaddleReader(threads=2)), media, prompts)


@pytest.mark.tesseract
def test_a_program_that_stops_half_way_is_an_error_not_a_low_score(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def half(call: list[str], **given: object) -> subprocess.CompletedProcess:
        return subprocess.CompletedProcess(call, 1, "CAT\n", "Error in pixRead: no memory")

    monkeypatch.setattr(ocr.subprocess, "run", half)
    media, _ = drawn(2)
    with pytest.raises(RuntimeError, match="tesseract read 1 of 2 pictures: Error in pixRead"):
        TESSERACT.read(media)


def scene(
    *lines: tuple[str, int, int, int],
    size: tuple[int, int] = (512, 512),
    paper: str = "white",
    ink: str = "black",
    turned: float = 0,
) -> Tensor:
    """Lines of text, each (text, left, top, pixels of the font), on a sheet of (width, height)."""
    image = Image.new("RGB", size, paper)
    for text, left, top, pixels in lines:
        font = data._font(1).font_variant(size=pixels)
        ImageDraw.Draw(image).text((left, top), text, fill=ink, font=font)
    whole = np.asarray(image.rotate(turned, fillcolor=paper))
    return torch.from_numpy(whole.copy()).permute(2, 0, 1)[None].float() / 255


HELLO = 'a sign that says "HELLO"'
SCENES = {
    "60 px in 512": (scene(("HELLO", 100, 200, 60)), HELLO),
    "16 px in 512": (scene(("HELLO", 30, 300, 16)), HELLO),
    "150 px in 512": (scene(("HELLO", 20, 200, 150)), HELLO),
    "in a corner": (scene(("HELLO", 0, 0, 40)), HELLO),
    "in the other corner": (scene(("HELLO", 380, 460, 40)), HELLO),
    "light on dark": (scene(("HELLO", 100, 200, 60), paper="black", ink="yellow"), HELLO),
    "red on green": (scene(("HELLO", 100, 200, 60), paper="darkgreen", ink="red"), HELLO),
    "faint": (scene(("HELLO", 100, 200, 60), paper="#808080", ink="#a0a0a0"), HELLO),
    "turned": (scene(("HELLO", 160, 220, 60), turned=15), HELLO),
    "wide": (scene(("HELLO", 300, 200, 60), size=(768, 384)), HELLO),
    "small": (scene(("HELLO", 20, 50, 24), size=(128, 128)), HELLO),
    "two lines": (scene(("HELLO", 100, 120, 60), ("WORLD", 150, 260, 60)), '"Hello world"'),
    "two words apart": (scene(("WORLD", 310, 130, 50), ("HELLO", 10, 120, 50)), '"Hello, world!"'),
    "two lines of two": (
        scene(("WE", 9, 90, 50), ("ARE", 300, 99, 50), ("NOT", 9, 300, 50), ("IN", 300, 290, 50)),
        '"we are not in"',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(SCENES))
def test_text_is_found_in_a_picture_before_it_is_read(name: str) -> None:
    """Read as one line, as before, most of these earned 0."""
    media, prompt = SCENES[name]
    for reward in ("legible", "exact_text"):
        assert scored(reward, find(reward), media, [prompt]).tolist() == [1.0]


def test_pictures_of_a_batch_are_found_and_read_each_for_itself() -> None:
    texts = ("OPEN", "", "HELLO", "42 TAXI")
    media = torch.cat([scene((text, 60 + 20 * i, 90 * i, 60)) for i, text in enumerate(texts)])
    assert SCENE.read(media) == list(texts)
    assert [SCENE.read(one[None])[0] for one in media] == list(texts)
    assert SCENE.read(media[:0]) == []
    boxes = SCENE.boxes(media)
    assert [len(found) for found in boxes] == [1, 0, 1, 1]
    (box,) = boxes[2]  # drawn at (100, 180), 60 pixels high: five letters of 36
    assert np.abs(box[0] - (100, 192)).max() < 16
    assert np.abs(box[2] - (282, 240)).max() < 16


def test_a_picture_without_text_says_nothing() -> None:
    made = torch.Generator().manual_seed(0)
    media = torch.stack([torch.ones(3, 256, 256), torch.rand(3, 256, 256, generator=made)])
    assert SCENE.read(media) == ["", ""]


def test_pictures_that_are_a_line_are_read_as_before() -> None:
    """32 x 64 pixels of lettering: the same readings, without the detector."""
    media, _ = drawn(16)

    class Unused(SceneReader):
        def boxes(self, media: Tensor) -> list:
            raise AssertionError("looked for lines in a line")

    assert Unused().read(media) == PADDLE.read(media)


def test_boxes_are_read_line_by_line_from_the_left() -> None:
    def box(left: float, top: float) -> np.ndarray:
        return np.array([(left, top), (left + 9, top), (left + 9, top + 6), (left, top + 6)], float)

    places = [(50, 2), (0, 0), (25, 20), (0, 22), (80, 4)]
    order = [tuple(b[0]) for b in ocr.ordered([box(*place) for place in places])]
    assert order == [(0, 0), (50, 2), (80, 4), (0, 22), (25, 20)]
    assert ocr.ordered([]) == []


NOTHING = ('a sign "!!!"', 'a sign "$$$"', 'a sign ""', "ein Schild „“", "「…」", "“ ”", "!?")


@pytest.mark.parametrize("prompt", NOTHING)
@pytest.mark.parametrize("reward", [Legible(), ExactText(), Confidence(PADDLE)])
def test_a_prompt_that_asks_for_nothing_to_compare_is_refused(prompt: str, reward: Any) -> None:
    """A blank picture earned 1."""
    with pytest.raises(RewardError, match="neither letters nor digits to compare"):
        scored("text", reward, torch.ones(1, 3, 32, 64), [prompt])
    assert "neither letters nor digits" in (reward.unfit(prompt) or "")


def test_confidence_names_a_letter_that_the_recogniser_does_not_have() -> None:
    assert Confidence(PADDLE).unfit('"cat"') is None
    with pytest.raises(RewardError, match="the recogniser knows no '\u1681' of the text"):
        scored("text", Confidence(PADDLE), torch.ones(1, 3, 32, 64), ['"\u1681"'])


def test_prompts_that_cannot_be_judged_are_named_before_anything_is_drawn() -> None:
    prompts = ['a sign "OPEN"', *NOTHING, "a sign «BONJOUR»", "a poster 「HELLO」", "a plain cat"]
    said = unjudged({"colour": find("contrast"), "text": Legible()}, prompts)
    assert said is not None
    assert "reward 'text' can say nothing of 7 of the prompts, such as 'a sign \"!!!\"'" in said
    assert said.count("a sign") == 3  # the first three, and no more
    both = Combined({"text": Legible(), "contrast": find("contrast")}, minimum)
    for reward in (both, Scaled(Legible()), Frames(Legible())):
        assert unjudged({"whole": reward}, prompts) is not None
        assert unjudged({"whole": reward}, [prompts[0], *prompts[-3:]]) is None


OTHERS = {
    "counting": (["three red circles"], ["red circles", "three circles", ""]),
    "color_share": (["a red circle"], ["a circle"]),
    "geneval": (['{"include": [{"class": "cat"}]}'], ["a cat", "{not JSON", '{"include": 3}']),
}


@pytest.mark.parametrize("name", list(OTHERS))
def test_other_rewards_that_read_their_prompts_say_so_at_the_start_too(name: str) -> None:
    good, bad = OTHERS[name]
    assert unjudged({name: find(name)}, good) is None
    for prompt in bad:
        assert f"reward {name!r} can say nothing of 1 of the prompts" in (
            unjudged({name: find(name)}, [*good, prompt]) or ""
        )
