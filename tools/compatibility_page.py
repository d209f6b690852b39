"""Write docs/compatibility.md from the results of tools/compatibility.py."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scoreward.models.diffusers.families import FAMILIES
from scoreward.models.diffusers.versions import BEFORE, OLDEST

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "compatibility.json"
PAGE = ROOT / "docs" / "compatibility.md"

Table = dict[str, Any]
"""The results of one combination of versions, as compatibility.json has them."""

HEADS = {
    "loads": "loads",
    "predicts": "predicts as upstream",
    "guided": "the same with guidance",
    "path": "trains: paths",
    "samples": "trains: samples",
    "contrast": "trains: contrast",
    "starts": "trains: gradient",
    "adapters": "LoRA file in plain diffusers",
    "whole": "merged model in plain diffusers",
}
MARKS = {"passed": "yes", "failed": "**no**", "absent": "–", "none": "–"}
PINS = ("diffusers", "transformers", "peft", "huggingface_hub", "numpy", "torch", "python")

HEAD = """# Compatibility

Which families of diffusers pipelines work with which versions. **No real weights have been run
here:** every entry comes from a tiny pipeline of the family with random weights and random text
encoders, built from its config, saved to disk and loaded as a published one is, in float32 on a
CPU. It shows that our mathematics and formats are those of that version of diffusers, not that a
published model trains well.

Supported is diffusers `{supported}`; other versions are refused when a model is loaded, with this
range. A pipeline that the installed diffusers does not have yet is refused by its name, before
anything is loaded.

This page is generated. `make compatibility` makes an environment for each combination below, runs
`pytest -m "not slow" tests/families` in it and writes `docs/compatibility.json` and this page;
`python -m tools.compatibility --only VERSION` does it for one version of diffusers. A test fails
when the installed versions are not among the results, and when a result is not green.
"""

MEANING = """
- *loads*: `scoreward.models.diffusers.load` reads the saved folder, and the latents of media are
  the inverse of decoding in scale and layout.
- *predicts as upstream*: at every step of the pipeline's own run, the state and the prediction
  agree within 2e-4, and so do the final pictures or videos.
- *the same with guidance*: the pictures agree within 3e-4 at a guidance of 3. Not compared for
  Qwen-Image, which rescales its guided answer, FLUX.2 dev, which has guidance as an input only,
  and FLUX Kontext.
- *trains*: a round of the trainer moves the adapters and nothing else, from a ratio of 1, with one
  objective of each class: Flow-GRPO or DDPO on stored *paths*, V-GRPO on *samples*, DiffusionNFT
  by *contrast*, DRaFT through the *gradient* of the reward.
- *LoRA file in plain diffusers*, *merged model in plain diffusers*: what a model's `save` writes,
  read by `pipe.load_lora_weights` or by `DiffusionPipeline.from_pretrained` without scoreward,
  draws what our model drew, within 3e-4. diffusers has no LoRA files for PixArt.

Not among the tiny pipelines: PixArt-α (its adapter is that of PixArt-Σ), Wan 2.2 5B with a time
for every token, bases in 4 or 8 bits, and half precision beyond one call of SD3.
"""

OLDER = """
What older versions want besides: in diffusers 0.35 and 0.36 the Wan pipeline cannot read
prompts without the package ftfy. With `HF_HUB_OFFLINE=1` most of them do not look for the LoRA
file in a folder; name it there:
`pipe.load_lora_weights(FOLDER, weight_name="pytorch_lora_weights.safetensors")`.

Some pipelines are refused although that diffusers has them. Wan before 0.35: the second network of
Wan 2.2 would be left out without an error. Qwen-Image before 0.37: its network ignored the mask of
padded prompts, so that an answer depended on the other prompts of its batch. FLUX.2 before 0.37:
its config does not say whether the network takes guidance as an input. Z-Image before 0.39: the
pipeline spent its last step at t = 0, on other times than ours.
"""


def read() -> list[Table]:
    """All combinations, oldest first."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def page(tables: Sequence[Table]) -> str:
    """The whole page as text."""
    newest = tables[-1]
    supported = f">={OLDEST[0]}.{OLDEST[1]},<{BEFORE[0]}.{BEFORE[1]}"
    title = f"diffusers {newest['diffusers']}, transformers {newest['transformers']}"
    pieces = [
        HEAD.format(supported=supported),
        f"## The newest: {title}\n",
        columns_of(newest),
        MEANING,
        "## All versions\n",
        "diffusers / transformers. *yes*: all of the table above; *–*: refused by name.",
        "",
        side_by_side(tables),
        OLDER,
        "What was installed:\n",
        pins(tables),
    ]
    return "\n".join(pieces) + "\n"


def columns_of(table: Table) -> str:
    """Family × column of one combination."""
    rows = [
        [name, *(MARKS[table["families"][name][column]] for column in HEADS)]
        for name in ordered(table)
    ]
    return grid(["pipeline", *HEADS.values()], rows)


def side_by_side(tables: Sequence[Table]) -> str:
    """Family × combination."""
    heads = [f"{t['diffusers']} / {t['transformers']}" for t in tables]
    rows = [
        [name, *(summed(table["families"].get(name, {})) for table in tables)]
        for name in ordered(tables[-1])
    ]
    return grid(["pipeline", *heads], rows)


def summed(results: dict[str, str]) -> str:
    """All columns of a family in one word, or the columns that failed."""
    failed = [HEADS[column] for column in HEADS if results.get(column) == "failed"]
    if failed:
        return f"**no**: {', '.join(failed)}"
    return "yes" if results.get("loads") == "passed" else "–"


def pins(tables: Sequence[Table]) -> str:
    rows = [
        [*(t[name] for name in PINS), f"{t['tests'].get('passed', 0)}", t["date"]] for t in tables
    ]
    return grid([*PINS, "tests passed", "date"], rows)


def ordered(table: Table) -> list[str]:
    """Tiny pipelines in the order of the adapters."""
    from tests.families import tiny

    places = {n: place for place, family in enumerate(FAMILIES) for n in family.pipelines}
    return sorted(table["families"], key=lambda name: (places[tiny.CLASSES[name]], name))


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write() -> None:
    PAGE.write_text(page(read()), encoding="utf-8")


if __name__ == "__main__":
    write()
