"""Rewards by name, for the command line and the reward server.

`find("pickscore")` builds a reward with its usual weights, `find("pickscore=FOLDER")` with those in
a folder or of another hub id, `find("my_reward.py:score")` takes a function of your own, and
`find("http://127.0.0.1:8000/pickscore")` asks a reward server. Nothing is imported before it is
asked for, and weights are read at a reward's first call. Where several are
asked for each has a name of its own, `NAME=` before any of these, or the one it has anyway.
"""

import importlib
import re
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple, cast

from scoreward.made_of import note
from scoreward.own import own
from scoreward.rewards.base import Reward


class Entry(NamedTuple):
    """Where a reward is built, what it is, what may follow its name after `=`."""

    module: str
    constructor: str
    what: str
    takes: str = ""
    gradient: bool = True  # whether it can be differentiated in the media


LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RESERVED = ("reward", "judge", "mean", "std", "std_in_group", "diversity", "drift")
"""What a run measures besides the rewards that are asked for."""
FOLDER = "FOLDER_OR_HUB_ID"
NAMES: dict[str, Entry] = {
    "legible": Entry("ocr", "Legible", "share of the quoted text that OCR reads", gradient=False),
    "exact_text": Entry(
        "ocr", "ExactText", "1 where OCR reads exactly the quoted text", gradient=False
    ),
    "portraits": Entry("portraits", "portraits", "attributes of the pixel portraits, probability"),
    "jpeg_compressibility": Entry(
        "rules", "Compressible", "minus kB as JPEG of quality 95", gradient=False
    ),
    "jpeg_incompressibility": Entry(
        "rules", "Incompressible", "kB as JPEG of quality 95", gradient=False
    ),
    "colorfulness": Entry("rules", "Colorfulness", "Hasler and Süsstrunk's, 0 to about 110"),
    "contrast": Entry("rules", "Contrast", "standard deviation of the brightness, 0 to 0.5"),
    "saturation": Entry("rules", "Saturation", "mean saturation as in HSV, 0 to 1"),
    "symmetry": Entry("rules", "Symmetry", "likeness to the mirror image, 0 to 1"),
    "counting": Entry(
        "rules", "Counting", "number of blobs of a colour: 'three red circles'", gradient=False
    ),
    "color_share": Entry(
        "rules", "ColorShare", "share of pixels in the named colour", gradient=False
    ),
    "clip_score": Entry("clip", "clip_score", "CLIP: likeness of picture and prompt", FOLDER),
    "siglip_score": Entry("clip", "siglip_score", "SigLIP: likeness to the prompt", FOLDER),
    "pickscore": Entry("clip", "pickscore", "PickScore: what users picked, / 26", FOLDER),
    "hpsv2": Entry("clip", "hpsv2", "HPSv2.1: human preference, the cosine", "FOLDER_OR_FILE"),
    "aesthetic": Entry("clip", "Aesthetic", "LAION's aesthetic score, 1 to 10", "FOLDER_OR_FILE"),
    "hpsv3": Entry("hpsv3", "HPSv3", "HPSv3: human preference, by Qwen2-VL", "FOLDER_OR_FILE"),
    "image_reward": Entry("image_reward", "ImageReward", "ImageReward, −2 to 2", "FOLDER_OR_FILE"),
    "unified_reward": Entry(
        "judge", "unified_reward", "a vision-language judge, 0.2 to 1", "URL", gradient=False
    ),
    "checklist": Entry(
        "judge", "checklist", "a judge that answers yes or no, 0 to 1", "URL", gradient=False
    ),
    "geneval": Entry(
        "detection",
        "geneval",
        "1 if all objects asked for are there",
        "METADATA.jsonl",
        gradient=False,
    ),
    "geneval_graded": Entry(
        "detection",
        "geneval_graded",
        "the same with partial credit",
        "METADATA.jsonl",
        gradient=False,
    ),
    "imagenet_class": Entry(
        "imagenet", "imagenet_class", "p(class) of EfficientNet-lite0", "NUMBER"
    ),
    "variety": Entry("rules", "Variety", "distance to the other samples of the prompt"),
}


def parted(spec: str) -> tuple[str, str]:
    """(what a reward is called, what `find` takes) of [NAME=]REWARD."""
    head, equals, rest = spec.partition("=")
    path, _, function = spec.rpartition(":")
    if path.endswith(".py") and (not equals or Path(path).is_file()):
        return function, spec
    known = rest.partition("=")[0] in NAMES or ".py:" in rest or "://" in rest
    if equals and known and head not in NAMES and LABEL.fullmatch(head):
        return head, rest
    return (spec.rpartition("/")[2] if "://" in head else head), spec


def named(specs: Sequence[str], taken: Collection[str] = ()) -> dict[str, str]:
    """What each of several rewards is called, and what `find` takes for it, in their order.

    Raises ValueError for a name that two have, and of several for one in RESERVED or `taken`; one
    alone is measured as "reward", whatever it is called.
    """
    found: dict[str, str] = {}
    for spec in specs:
        name, what = parted(spec)
        more = f"; give it another name: my_{name}={what}"
        if name in found:
            raise ValueError(f"two rewards are called {name!r}: {found[name]} and {what}{more}")
        own = name in RESERVED or name in taken or name.startswith("judge_")
        if own and len(specs) > 1:
            raise ValueError(
                f"the reward {what} is called {name!r}, and something else that is measured is "
                f"called that{more}"
            )
        if not LABEL.fullmatch(name):
            raise ValueError(
                f"a reward is called by letters, digits and _, got {name!r} of {spec!r}; "
                "expected NAME=REWARD"
            )
        found[name] = what
    return found


def find(name: str) -> Reward:
    """The reward that `name` means: NAME, NAME=WEIGHTS, FILE.py:FUNCTION or URL of a server's."""
    if name.startswith(("http://", "https://")):
        return importlib.import_module("scoreward.rewards.remote.client").addressed(name)
    known, equals, weights = name.partition("=")
    if known not in NAMES and ".py:" in name:
        reward = own(name, "reward")
        path, _, function = name.rpartition(":")
        if not callable(reward) or isinstance(reward, type):
            raise ValueError(
                f"{path!r} has no function {function!r}; expected a function or object that takes "
                "(media, prompts) and returns one number per sample"
            )
        return cast(Reward, reward)
    if known not in NAMES:
        near = get_close_matches(known, NAMES, 3, 0.5)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise ValueError(
            f"unknown reward {name!r}{hint}; `scoreward rewards` lists them all, and one of your "
            "own is a function in a file: my_reward.py:score"
        )
    entry = NAMES[known]
    if equals and not entry.takes:
        raise ValueError(
            f"reward {known!r} takes nothing after `=`, got {weights!r}; write {known}"
        )
    if equals and not weights:
        raise ValueError(f"nothing follows `=` in {name!r}; expected {known}={entry.takes}")
    if equals and Path(weights).exists():
        note(Path(weights))
    module = importlib.import_module(f"scoreward.rewards.{entry.module}")
    build = getattr(module, entry.constructor)
    return build(weights) if equals else build()
