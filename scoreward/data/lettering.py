"""Lettering: words of two to five letters, drawn on 32 x 64 pixels in many looks.

A prompt is any text with a word in quotes ('a sign that says "cat"'), or the word alone. Pictures
are drawn here, on request, with the DejaVu fonts that matplotlib carries; the words are a common
English list, split by word, so that no word of "validation" or "test" occurs in "train".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from scoreward.data.packs import ASSETS, SPLITS, number_of, share_of_texts
from scoreward.data.quotes import quoted
from scoreward.data.waves import place_waves

HEIGHT, WIDTH = 32, 64
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LONGEST = 5  # letters of a word
HELD_OUT = 400  # words of "validation", and of "test"
FONTS = (  # of fixed width: a letter's place depends on its number and on the word's length
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
)
SIZE = 20  # of the font: a letter is 12 pixels wide
SHIFT = (1, 3)  # furthest from the middle, in pixels to the right and downwards
DARK = (0.0, 0.35)  # range of the darker of ink and paper
LIGHT = (0.7, 1.0)  # range of the lighter
ADVANCE = 12  # pixels from a letter to the next
WAVES = 32  # numbers that say where a letter stands
DIM = len(ALPHABET) + WAVES  # of a letter's vector: which, where
SCALE = 4.0  # of the entry that says which letter; the waves have unit scale


@dataclass(frozen=True)
class Look:
    """How a word is drawn."""

    font: int  # index into FONTS
    right: int  # of the middle, in pixels
    down: int  # of the middle, in pixels
    ink: float  # brightness of the letters
    paper: float  # brightness of the rest


@dataclass(frozen=True)
class Lettering:
    """Pictures with their words and captions."""

    images: Float[Tensor, "n 1 32 64"]  # in [-1, 1]
    words: list[str]
    captions: list[str]

    def __len__(self) -> int:
        return len(self.words)


@lru_cache(maxsize=len(SPLITS))
def words(split: str) -> tuple[str, ...]:
    """The words of "train", "validation" or "test" in a fixed random order, in lower case."""
    every = (ASSETS / "lettering" / "words.txt").read_text().split()
    return share_of_texts(every, split, HELD_OUT)


def captions(split: str) -> list[str]:
    """One caption per word of a split."""
    return [caption(word) for word in words(split)]


def caption(word: str) -> str:
    """The prompt that asks for a word."""
    return f'the word "{word}"'


def word_of(prompt: str) -> str:
    """The word a prompt asks for, in capitals; "" for a prompt without any text.

    Raises ValueError for anything but two to five letters A to Z.
    """
    word = (quoted(prompt) or prompt).strip().upper()
    if word and (not 2 <= len(word) <= LONGEST or set(word) - set(ALPHABET)):
        raise ValueError(
            f"the lettering model draws one word of 2 to {LONGEST} letters A to Z, got the prompt "
            f"'{prompt}'; put the word in quotes, as in '{caption('cat')}'"
        )
    return word


def encode(prompts: Sequence[str]) -> Float[Tensor, "batch 5 58"]:
    """One vector per letter: which letter, and where it stands; zeros for no letter."""
    if isinstance(prompts, str):
        raise ValueError(
            f'expected a list of prompts, got the string "{prompts}"; put it in a list'
        )
    out = torch.zeros(len(prompts), LONGEST, DIM)
    for row, prompt in zip(out, prompts):
        word = word_of(prompt)
        for place, letter in enumerate(word):
            row[place, ALPHABET.index(letter)] = SCALE
            row[place, len(ALPHABET) :] = _where(2 * place + 1 - len(word))
    return out


@lru_cache(maxsize=2 * LONGEST)
def _where(half_letters: int) -> Float[Tensor, " waves"]:
    """Waves of a letter's middle, counted in half letters from the picture's."""
    middle = torch.tensor([WIDTH / 2 + half_letters * ADVANCE / 2])
    return place_waves(middle, WAVES)[0]


def looks(count: int, seed: int) -> list[Look]:
    """Random looks: any font, three quarters dark on light."""
    generator = np.random.default_rng(seed)
    result = []
    for _ in range(count):
        dark, light = generator.uniform(*DARK), generator.uniform(*LIGHT)
        ink, paper = (dark, light) if generator.random() < 0.75 else (light, dark)
        result.append(
            Look(
                font=int(generator.integers(len(FONTS))),
                right=int(generator.integers(-SHIFT[0], SHIFT[0] + 1)),
                down=int(generator.integers(-SHIFT[1], SHIFT[1] + 1)),
                ink=ink,
                paper=paper,
            )
        )
    return result


def draw(word: str, look: Look) -> Float[np.ndarray, "32 64"]:
    """One picture, in [0, 1]."""
    mask = Image.new("L", (WIDTH, HEIGHT), 0)
    middle = (WIDTH // 2 + look.right, HEIGHT // 2 + look.down)
    font = _font(look.font)
    ImageDraw.Draw(mask).text(middle, word.upper(), fill=255, font=font, anchor="mm")
    share = np.asarray(mask, dtype=np.float32) / 255
    return look.paper + (look.ink - look.paper) * share


@lru_cache(maxsize=len(FONTS))
def _font(index: int) -> ImageFont.FreeTypeFont:
    found = find_spec("matplotlib")  # the package is not imported: only its fonts are used
    if found is None or found.origin is None:
        raise ModuleNotFoundError("the fonts of lettering come with matplotlib: pip install it")
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / f"{FONTS[index]}.ttf"), SIZE)


@lru_cache(maxsize=4)
def load(split: str, each: int = 1) -> Lettering:
    """`each` pictures of every word of a split, in fixed random looks."""
    every = [word for word in words(split) for _ in range(each)]
    drawn = looks(len(every), number_of(split))
    pictures = np.stack([draw(word, look) for word, look in zip(every, drawn)])
    images = torch.from_numpy(pictures.astype(np.float32)) * 2 - 1
    return Lettering(images[:, None], every, [caption(word) for word in every])
