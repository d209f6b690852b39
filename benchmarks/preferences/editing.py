"""How to edit a portrait with its own model: time, guidance, mask, on validation prompts.

    python benchmarks/preferences/editing.py choose    the grid, editing.jsonl
    python benchmarks/preferences/editing.py compare   against best of n, editing_compare.json

For each setting: the share of faulty pictures that become a pair (verifier A's probability rises by
at least 0.1), how often verifier B, which decides nothing, finds the winner better, equal or worse,
the share of pixels that changed, and network evaluations of one candidate. Beside them plain
pairs: the best of as many fresh samples of the prompt in place of the edit.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL.Image import Image

from scoreward.core.keys import Key
from scoreward.curation.pictures import media, same_pixels
from scoreward.curation.portraits import (
    AttributeCritic,
    ModelEditor,
    ModelGenerator,
    PortraitEditing,
    Template,
)
from scoreward.curation.stages import Edit
from scoreward.data import portraits as data
from scoreward.data.preferences.winrate import wilson
from scoreward.methods.sampling import Sampling
from scoreward.models.builtin import portraits as builtin
from scoreward.rewards.portraits import AttributeReward, ShareRight
from scoreward.tasks.portraits import verifier

HERE = Path(__file__).parent
TRIED = 4  # candidates of each picture
GAP = 0.1
GRID = [
    *(
        PortraitEditing(start=t, guidance=w, masked=False)
        for t in (0.5, 0.7, 0.85)
        for w in (1.0, 2.0)
    ),
    *(PortraitEditing(start=t, guidance=w) for t in (0.7, 0.85, 1.0) for w in (1.0, 2.0, 4.0)),
    *(PortraitEditing(mask_above=above) for above in (0.15, 0.6)),
    PortraitEditing(mask_noises=1),
    PortraitEditing(steps=4),
    PortraitEditing(steps=16),
]


def faulty(split: str, count: int) -> list[Edit]:
    """Pictures of the base in which the critic finds a fault, ready to be edited."""
    drawn = ModelGenerator(builtin.portraits(), Sampling().sampler(), "")
    prompts = list(dict.fromkeys(data.load(split).captions))[:count]
    critic, writer = AttributeCritic(verifier("a")), Template()
    found: list[Edit] = []
    for first in range(0, len(prompts), 64):
        part = prompts[first : first + 64]
        images = drawn(part, [Key(("editing", prompt)) for prompt in part])
        critiques = critic(part, images)
        told = writer(part, images, critiques)
        rows = zip(images, part, critiques, told)
        found += [Edit(i, p, c, t.lines) for i, p, c, t in rows if c.complaints]
    return found


def keys(edits: Sequence[Edit], number: int) -> list[Key]:
    return [Key(("editing", edit.prompt, "candidate", number)) for edit in edits]


def measured(edits: Sequence[Edit], tried: Sequence[Sequence[Image]]) -> dict:
    """What comes of the best candidate by verifier A."""
    prompts = [edit.prompt for edit in edits]
    decides, judges = AttributeReward(verifier("a")), ShareRight(verifier("b"))
    before = [edit.image for edit in edits]
    scores = torch.stack([decides(media(images), prompts) for images in tried])
    best = [tried[n][i] for i, n in enumerate(scores.argmax(0).tolist())]
    kept = (scores.amax(0) - decides(media(before), prompts)) >= GAP
    gains = (judges(media(best), prompts) - judges(media(before), prompts))[kept]
    alike = [same for same, good in zip(same_pixels(before, best), kept.tolist()) if good]
    better, count = int((gains > 1e-6).sum()), len(gains)
    rate = wilson(better, count)
    return {
        "faulty": len(edits),
        "kept": round(count / len(edits), 3),
        "better": round(rate.value, 3),
        "interval": [round(v, 3) for v in (rate.low, rate.high)],
        "equal": round(float((gains.abs() <= 1e-6).double().mean()), 3),
        "worse": round(float((gains < -1e-6).double().mean()), 3),
        "changed": round(1 - sum(alike) / count, 3),
        "attributes_gained": round(7 * float(gains.mean()), 2),
    }


def edited(edits: Sequence[Edit], editing: PortraitEditing) -> list[list[Image]]:
    editor = ModelEditor(builtin.portraits(), editing)
    return [
        [
            image
            for first in range(0, len(edits), 64)
            for image in editor(edits[first : first + 64], keys(edits[first : first + 64], n))
        ]
        for n in range(TRIED)
    ]


def fresh(edits: Sequence[Edit]) -> list[list[Image]]:
    """New samples of the prompts."""
    drawn = ModelGenerator(builtin.portraits(), Sampling().sampler(), "")
    return [drawn([e.prompt for e in edits], keys(edits, n)) for n in range(TRIED)]


def choose() -> None:
    path = HERE / "editing.jsonl"
    done = path.read_text() if path.exists() else ""
    edits = faulty("validation", 256)
    for editing in GRID:
        if json.dumps(str(editing)) in done:
            continue
        start = time.perf_counter()
        result = measured(edits, edited(edits, editing))
        seconds = round(time.perf_counter() - start, 1)
        result = {
            "editing": str(editing),
            "evaluations": editing.evaluations,
            **result,
            "seconds": seconds,
        }
        print(json.dumps(result), flush=True)
        with path.open("a") as stream:
            stream.write(json.dumps(result) + "\n")


def compare() -> None:
    """On training prompts, which is where pairs come from."""
    edits = faulty("train", 1300)
    result = {
        "edited": {
            "evaluations": PortraitEditing().evaluations,
            **measured(edits, edited(edits, PortraitEditing())),
        },
        "fresh samples": {"evaluations": 10, **measured(edits, fresh(edits))},
    }
    print(json.dumps(result, indent=1))
    (HERE / "editing_compare.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    steps = {"choose": choose, "compare": compare}
    if len(sys.argv) != 2 or sys.argv[1] not in steps:
        raise SystemExit(f"say which: {', '.join(steps)}")
    steps[sys.argv[1]]()
