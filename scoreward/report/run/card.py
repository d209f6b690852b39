"""The README.md beside exported weights: what they are, how they were made, what was measured."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

from scoreward.report.folder import read_run

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
    base = str(about.get("settings", {}).get("model", {}).get("name", ""))
    lines = [*_head(about, base, kind), "", f"# {about.get('recipe', 'a run')}", ""]
    command = shlex.join(_placeless(shlex.split(about.get("command", "from Python"))))
    lines += [f"Trained with scoreward: `{command}`.", ""]
    lines += _use(base, kind)
    lines += _measured(summary, found.measured_on)
    if _copied(run, target):
        lines += ["", f"![pictures of {found.measured_on}]({SAMPLES})"]
    settings = json.dumps(_placeless(about.get("settings")), indent=1)
    lines += ["", "## Settings", "", "```json", settings, "```"]
    return "\n".join(lines) + "\n"


def _head(about: dict[str, Any], base: str, kind: str) -> list[str]:
    """The head that model hubs read; a base that is a folder of somebody's machine is left out."""
    tags = ["scoreward", str(about.get("recipe", "")), *(["lora"] if kind == "lora" else [])]
    lines = ["---"]
    if kind != "weights":
        lines.append("library_name: diffusers")
    if base.count("/") == 1 and not Path(base).exists():
        lines.append(f"base_model: {json.dumps(base)}")
    return [*lines, f"tags: {json.dumps(tags)}", "---"]


def _use(base: str, kind: str) -> list[str]:
    if kind not in USE:
        takes = "take it as `--model.weights`, or as `--model.file` where data are compressed."
        return [f"`model.safetensors` holds the weights. Recipes of this model {takes}", ""]
    call = USE[kind].format(base=json.dumps(base), here='"this folder"')
    return ["```python", "from diffusers import DiffusionPipeline", "", call, "```", ""]


def _placeless(said: Any) -> Any:
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


def _measured(summary: dict[str, Any], prompts: str) -> list[str]:
    """Before and after, by sampler."""
    rows = []
    for sampler, after in summary.get("after", {}).items():
        before = summary.get("before", {}).get(sampler, {})
        for name, value in after.items():
            rows.append(f"| {sampler} | {name} | {_number(before.get(name))} | {_number(value)} |")
    if not rows:
        return ["Nothing was measured: the run has no summary yet."]
    return [f"| sampler | {prompts} | before | after |", "|---|---|---|---|", *rows]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "–"


def _copied(run: Path, target: Path) -> bool:
    """The newest pictures of the deterministic sampler, if there are any."""
    found = sorted((run / "samples").glob("*_ode.png"))
    if found:
        shutil.copyfile(found[-1], target / SAMPLES)
    return bool(found)
