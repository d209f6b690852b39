"""Is the text that a prompt asks for in the picture?  Readers, unlike each other.

`PaddleReader` is the recogniser of the package rapidocr (PP-OCR, a network) for pictures that are a
line, `SceneReader` finds lines anywhere in a picture before it reads them, `TesseractReader` is the
program tesseract with its dictionaries off. The text a prompt asks for is what it has in quotation
marks; a prompt without them is the text itself. Capitals do not matter, nor does anything but
letters and digits; a prompt that asks for none of these cannot be judged.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from scoreward.data.quotes import quoted, quotes

MODEL, DETECTOR = "PP-OCRv6_rec_small.onnx", "PP-OCRv6_det_small.onnx"
HEIGHT = 48  # pixels of a line, as the recogniser was trained
MULTIPLE = 8  # of its widths
BATCH = 64  # pictures at once; memory only
TILE = 32  # pixels that divide the sides that the detector looks at
SIDES = (384, 1280)  # least shorter and greatest longer side that the detector looks at; ours
LOOKED_AT = 4  # pictures in the detector at once; memory only
BOXES = (0.3, 0.5, 1000, 1.6, "fast", True)  # how boxes are made; rapidocr's own configuration
ENLARGED = 128  # pixels of a line for tesseract, which wants capitals of 20 pixels or more; ours
LOOKALIKES = str.maketrans("01|", "OII")  # read as letters where no digit is asked for


@runtime_checkable
class Reader(Protocol):
    """Reads the text of each picture; media in [0, 1]."""

    def read(self, media: Float[Tensor, "batch 3 height width"]) -> list[str]: ...


def wanted_text(prompt: str) -> str:
    """The text that a prompt asks for; "" if its quotation marks have nothing between them."""
    return quoted(prompt) or ("" if quotes(prompt) else prompt)


def unreadable(prompt: str) -> str | None:
    """Why no reading can be compared with what a prompt asks for; None if one can."""
    text = wanted_text(prompt)
    if folded(text):
        return None
    return f"it asks for the text {text!r}, which has neither letters nor digits to compare"


def readable(prompts: Sequence[str]) -> list[str]:
    """The texts that prompts ask for.  Raises ValueError where one asks for nothing."""
    for prompt in prompts:
        if said := unreadable(prompt):
            raise ValueError(f"the prompt {str(prompt)!r} cannot be judged: {said}")
    return [wanted_text(prompt) for prompt in prompts]


def folded(text: str, digits: bool = False) -> str:
    """Capital letters and digits alone; without `digits`, 0 and 1 are taken for O and I."""
    upper = text.upper() if digits else text.upper().translate(LOOKALIKES)
    return "".join(c for c in upper if c.isalnum())


def distance(a: str, b: str) -> int:
    """Levenshtein's: the fewest insertions, deletions and replacements from a to b."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


@dataclass(frozen=True)
class PaddleReader:
    """PP-OCR's recogniser, called directly and in batches: about 9 ms for a 32 x 64 picture."""

    threads: int = 1

    def read(self, media: Float[Tensor, "batch 3 height width"]) -> list[str]:
        if not len(media):
            return []
        characters = self._characters
        return [
            "".join(characters[c] for c, before in zip(row, [0, *row]) if c not in (0, before))
            for row in self.probabilities(media).argmax(-1).tolist()
        ]

    def log_likelihood(
        self, media: Float[Tensor, "batch 3 height width"], texts: Sequence[str]
    ) -> Float[Tensor, " batch"]:
        """log p of each text by the network's CTC, in nats; -inf if it cannot be written."""
        if said := next(filter(None, map(self.unwritable, texts)), None):
            raise ValueError(said)
        ids = [[self._index[c] for c in text] for text in texts]
        lengths = torch.tensor([len(i) for i in ids])
        log_p = self.probabilities(media).clamp_min(1e-8).log().transpose(0, 1)
        frames = torch.full((len(ids),), len(log_p))
        flat = torch.tensor([c for row in ids for c in row])
        return -F.ctc_loss(log_p, flat, frames, lengths, reduction="none").to(media.device)

    def unwritable(self, text: str) -> str | None:
        """Why the recogniser cannot write a text; None if it can."""
        unknown = [c for c in text if c not in self._index]
        return f"the recogniser knows no {unknown[0]!r} of the text {text!r}" if unknown else None

    def probabilities(
        self, media: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch frames characters"]:
        """What the network says of each frame, "blank" first."""
        session, parts = self._session, []
        name = session.get_inputs()[0].name
        for piece in media.detach().float().cpu().split(BATCH):
            x = (fitted(piece) * 2 - 1).flip(1).numpy()  # blue, green, red
            parts.append(torch.from_numpy(session.run(None, {name: x})[0]))
        return torch.cat(parts)

    @cached_property
    def _session(self) -> Any:
        return session(MODEL, self.threads)

    @cached_property
    def _characters(self) -> list[str]:
        known = self._session.get_modelmeta().custom_metadata_map["character"].splitlines()
        return ["", *known, " "]

    @cached_property
    def _index(self) -> dict[str, int]:
        return {c: i for i, c in enumerate(self._characters) if i}


def session(model: str, threads: int) -> Any:
    """A network of the package rapidocr, on the CPU."""
    package = find_spec("rapidocr")
    if package is None or package.origin is None or find_spec("onnxruntime") is None:
        raise ModuleNotFoundError(
            "reading text needs the packages rapidocr and onnxruntime; install them with: "
            "pip install 'scoreward[ocr]'"
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    path = Path(package.origin).parent / "models" / model
    if not path.is_file():
        raise FileNotFoundError(
            f"the installed rapidocr has no {model}; scoreward was tested with rapidocr 3.10"
        )
    return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])


def fitted(media: Float[Tensor, "batch 3 height width"]) -> Tensor:
    """Pictures at the height that the recogniser reads."""
    wide = HEIGHT * media.shape[3] / media.shape[2]
    width = max(4 * MULTIPLE, int(wide / MULTIPLE) * MULTIPLE)
    size = (HEIGHT, width)
    return F.interpolate(media, size, mode="bicubic", antialias=True).clamp(0, 1)


Box = Float[np.ndarray, "4 2"]
"""Corners of a line: top left, top right, bottom right, bottom left; pixels (x, y)."""


@dataclass(frozen=True)
class SceneReader:
    """Reads all lines of text in a picture, from the top: 0.25 s for 512 x 512 pixels on a core.

    PP-OCR's detector finds them, and rapidocr makes boxes of its answer and cuts them out. What is
    no higher than a line of the recogniser is read as one: 32 x 64 pixels of lettering cost and say
    what they do with `PaddleReader`.
    """

    reader: PaddleReader = PaddleReader()

    def read(self, media: Float[Tensor, "batch 3 height width"]) -> list[str]:
        if not len(media) or media.shape[2] <= HEIGHT:
            return self.reader.read(media)
        from rapidocr.utils.process_img import get_rotate_crop_image

        x, lines = media.detach().float().cpu(), dict[tuple[int, int], Tensor]()
        for i, (picture, boxes) in enumerate(zip(x, self.boxes(x), strict=True)):
            whole = picture.permute(1, 2, 0).numpy()
            for n, box in enumerate(ordered(boxes)):
                upright = np.ascontiguousarray(get_rotate_crop_image(whole, box.copy()))
                lines[i, n] = torch.from_numpy(upright).permute(2, 0, 1).clamp(0, 1)
        texts: dict[tuple[int, int], str] = {}
        for shape in {line.shape for line in lines.values()}:  # those of one size at once
            same = [at for at, line in lines.items() if line.shape == shape]
            texts |= zip(same, self.reader.read(torch.stack([lines[at] for at in same])))
        return [" ".join(texts[at] for at in lines if at[0] == i) for i in range(len(x))]

    def boxes(self, media: Float[Tensor, "batch 3 height width"]) -> list[list[Box]]:
        """Where each picture has lines of text."""
        height, width = media.shape[2:]
        scale = max(1.0, SIDES[0] / min(height, width))
        scale = min(scale, SIDES[1] / max(height, width))
        sides = [max(1, round(side * scale / TILE)) * TILE for side in (height, width)]
        (network, boxed), found = self._detector, []
        name = network.get_inputs()[0].name
        for piece in media.split(LOOKED_AT):
            seen = F.interpolate(piece, sides, mode="bilinear", antialias=True)
            answer = network.run(None, {name: (seen * 2 - 1).flip(1).numpy()})[0]  # BGR
            found += [list(boxed(one[None], (height, width))[0]) for one in answer]
        return found

    @cached_property
    def _detector(self) -> tuple[Any, Any]:
        """The network, and what makes boxes of its answer."""
        network = session(DETECTOR, self.reader.threads)
        from rapidocr.ch_ppocr_det.utils import DBPostProcess

        return network, DBPostProcess(*BOXES)


def ordered(boxes: Sequence[Box]) -> list[Box]:
    """As one reads: boxes that stand beside one another are a line, from the left."""
    rows: list[list[Box]] = []
    for box in sorted(boxes, key=lambda b: b[:, 1].mean()):
        above = rows[-1][-1][:, 1] if rows else box[:0, 1]
        if len(above) and above.min() < box[:, 1].mean() < above.max():
            rows[-1].append(box)
        else:
            rows.append([box])
    return [box for row in rows for box in sorted(row, key=lambda b: b[:, 0].min())]


@dataclass(frozen=True)
class TesseractReader:
    """The program tesseract without its dictionaries: about 5 ms for a 32 x 64 picture.

    It is told that the picture is one word; looking for a line instead, it crashes on some noise.

    `characters` limits what it may read; "" allows everything.
    """

    characters: str = ""
    seconds: float = field(default=120.0, repr=False)  # before it is given up

    def read(self, media: Float[Tensor, "batch 3 height width"]) -> list[str]:
        if not len(media):
            return []
        if shutil.which("tesseract") is None:
            raise FileNotFoundError(
                "the judge of lettering is the program tesseract, which is not installed; on "
                "Debian: apt-get install tesseract-ocr"
            )
        with TemporaryDirectory() as folder:
            names = [str(Path(folder) / f"{i}.png") for i in range(len(media))]
            for picture, name in zip(media.detach().float().cpu(), names):
                enlarged(picture).save(name)
            listing = Path(folder) / "list"
            listing.write_text("\n".join(names))
            settings = [f"load_{which}_dawg=0" for which in ("system", "freq")]
            if self.characters:
                settings.append(f"tessedit_char_whitelist={self.characters}")
            switches = [word for setting in settings for word in ("-c", setting)]
            call = ["tesseract", str(listing), "-", "--psm", "8", "-l", "eng", *switches]
            alone = dict(os.environ, OMP_THREAD_LIMIT="1")
            done = subprocess.run(
                call, capture_output=True, text=True, timeout=self.seconds, env=alone, check=False
            )
        pages = [page.strip() for page in done.stdout.split("\f")][: len(names)]
        if done.returncode or len(pages) != len(names):
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"tesseract read {len(pages)} of {len(names)} pictures: {last}")
        return pages


def enlarged(picture: Float[Tensor, "3 height width"]) -> Image.Image:
    """Grey, dark on light and large, as tesseract likes it."""
    grey = picture.mean(0)
    if grey.median() < 0.5:
        grey = 1 - grey
    whole = Image.fromarray((grey.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
    scale = ENLARGED / whole.height
    return whole.resize((round(whole.width * scale), ENLARGED), Image.Resampling.BICUBIC)


@dataclass(frozen=True)
class Legible:
    """1 − edit distance / length of the text asked for, at least 0.  [flow-grpo] (text reward)"""

    reader: Reader = SceneReader()

    def unfit(self, prompt: str) -> str | None:
        return unreadable(prompt)

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        both = pairs(self.reader, media, prompts)
        wrong = [distance(a, b) / len(a) for a, b in both]
        return (1 - torch.tensor(wrong, device=media.device)).clamp(min=0)


@dataclass(frozen=True)
class ExactText:
    """1 where exactly the text asked for is read, else 0."""

    reader: Reader = SceneReader()

    def unfit(self, prompt: str) -> str | None:
        return unreadable(prompt)

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        same = [float(a == b) for a, b in pairs(self.reader, media, prompts)]
        return torch.tensor(same, device=media.device)


@dataclass(frozen=True)
class Confidence:
    """Geometric mean over the letters of the reader's probability for the text, in [0, 1]."""

    reader: PaddleReader

    def unfit(self, prompt: str) -> str | None:
        return unreadable(prompt) or self.reader.unwritable(wanted_text(prompt).upper())

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        texts = [text.upper() for text in readable(prompts)]
        lengths = torch.tensor([len(text) for text in texts], device=media.device)
        return (self.reader.log_likelihood(media, texts) / lengths).exp()


def pairs(reader: Reader, media: Tensor, prompts: Sequence[str]) -> list[tuple[str, str]]:
    """(asked for, read), made comparable.  Raises ValueError where nothing is asked for."""
    texts = readable(prompts)
    digits = [any(c.isdigit() for c in text) for text in texts]
    rows = zip(texts, reader.read(media), digits, strict=True)
    return [(folded(text, d), folded(line, d)) for text, line, d in rows]
