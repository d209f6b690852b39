"""The README.md beside exported weights: what they are, how they were made, what was measured."""

import json
import shlex
import shutil
from pathlib import Path

from scoreward.records.fields import Json
from scoreward.records.reading import read_run
from scoreward.records.run import NOTHING
from scoreward.verdict.decisions import ends

USE = {
    "lora": """pipe = DiffusionPipeline.from_pretrained({base})
pipe.load_lora_weights({here})""",
    "pipeline": "pipe = DiffusionPipeline.from_pretrained({here})",
}
SAMPLES = "samples.png"


def model_card(run: Path, target: Path, kind: str) -> str:
    """Markdown with a YAML head; the newest pictures are copied to `target`."""
    found = read_run(run)
    about, summary = found.about, found.summary
    model = about.settings.get("model")
    base = str(model.get("name", "")) if isinstance(model, dict) else ""
    tags = ["scoreward", about.recipe, *(["lora"] if kind == "lora" else [])]
    lines = ["---"]
    if kind != "weights":
        lines.append("library_name: diffusers")
    if base.count("/") == 1 and not Path(base).exists():  # not a folder of somebody's machine
        lines.append(f"base_model: {json.dumps(base)}")
    lines += [f"tags: {json.dumps(tags)}", "---", "", f"# {about.recipe or 'a run'}", ""]
    command = shlex.join(str(_placeless(w)) for w in shlex.split(about.command or "from Python"))
    lines += [f"Trained with scoreward: `{command}`.", ""]
    if kind in USE:
        call = USE[kind].format(base=json.dumps(base), here='"this folder"')
        lines += ["```python", "from diffusers import DiffusionPipeline", "", call, "```", ""]
    else:
        takes = "take it as `--model.weights`, or as `--model.file` where data are compressed."
        lines += [f"`model.safetensors` holds the weights. Recipes of this model {takes}", ""]
    rows = []
    for sampler, after in summary.after.items():
        pair = ends(found, sampler)
        for name, value in after.numbers.items():
            before = summary.before.get(sampler, NOTHING).numbers.get(name)
            start, moved = "–" if before is None else f"{before:.4g}", pair.moved.get(name)
            change = f"{moved.told}: {moved.word}" if moved and moved.prompts else ""
            rows.append(f"| {sampler} | {name} | {start} | {value:.4g} | {change} |")
    on, change = found.measured_on, "change, 95 % interval"
    head = [f"| sampler | {on} | before | after | {change} |", "|---|---|---|---|---|"]
    lines += [*head, *rows] if rows else ["Nothing was measured: the run has no summary yet."]
    pictures = sorted((run / "samples").glob("*_ode.png"))
    if pictures:
        shutil.copyfile(pictures[-1], target / SAMPLES)
        lines += ["", f"![pictures of {found.measured_on}]({SAMPLES})"]
    settings = json.dumps(_placeless(about.settings), indent=1)
    lines += ["", "## Settings", "", "```json", settings, "```"]
    return "\n".join(lines) + "\n"


def _placeless(said: Json) -> Json:
    """The same with absolute paths cut down to their last name: a machine is nobody's business."""
    match said:
        case dict():
            return {k: _placeless(v) for k, v in said.items()}
        case list():
            return [_placeless(v) for v in said]
        case str():
            option, equals, value = said.rpartition("=")
            return option + equals + Path(value).name if Path(value).is_absolute() else said
    return said
