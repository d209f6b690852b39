"""Two readers and what their readings are worth."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from scoreward.data import lettering as data
from scoreward.rewards import ocr
from scoreward.rewards.base import RewardError, scored
from scoreward.rewards.ocr import Confidence, ExactText, Legible, PaddleReader, TesseractReader

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


READERS = [PADDLE, pytest.param(TESSERACT, marks=pytest.mark.tesseract)]


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
