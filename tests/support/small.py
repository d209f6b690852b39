"""Options that make any method on any task small enough to try."""

from pathlib import Path

from scoreward.methods.drawn import Drawn
from scoreward.recipes import Recipe
from tests.families import tiny
from tests.systems import on_device

PIPELINES = {
    "sd35": "sd3",
    "flux": "flux_dev",
    "kontext": "flux_kontext",
    "wan": "wan21",
    "diffusers": "sana",
}


def words_of(pair: Recipe, folder: Path) -> list[str]:
    """For one round; what is not drawn is in `folder`."""
    words = [*_model(pair, folder), *_data(pair, folder), "--geometry.prompts", "2"]
    method = pair.method
    if method.data == "captioned pictures":
        return [*words, "--geometry.minibatches", "1"]
    if not isinstance(method, Drawn):
        return words
    group = 2 if method.splits is None else 2 ** len(method.splits)
    words += ["--geometry.group", str(group), "--geometry.minibatches", "1"]
    steps = 10 if method.window is not None or method.name == "temp_flow" else 8
    words += [f"--{method.called}.steps", str(steps)]
    if method.name == "score_as_action":
        words += ["--objective.value.first-passes", "1", "--objective.value.passes", "1"]
    return words


def _model(pair: Recipe, folder: Path) -> list[str]:
    """A tiny pipeline for a pretrained model, and little to measure."""
    if "loading" not in pair.settings:
        return ["--held-out.prompts", "2", "--held-out.steps", "2"]
    name = PIPELINES.get(pair.task.name, pair.task.name)
    size = [w for k, v in tiny.size_of(name).items() for w in (f"--loading.{k}", str(v))]
    return [
        *("--model", str(on_device._pipeline(folder, name)), *size),
        *("--loading.rank", "2", "--loading.dtype", "float32", "--loading.tokens", "32"),
        *("--reward", "colorfulness", "--prompts", str(on_device._prompts(folder))),
        *("--measured.steps", "2", "--measured.prompts", "2"),
    ]


def _data(pair: Recipe, folder: Path) -> list[str]:
    """Files of pairs or pictures, or few pairs of the model's own."""
    settings = pair.settings
    if "pictures" in settings:
        return ["--pictures", str(on_device._captioned(folder))]
    if "paired" not in settings:
        return []
    if "loading" in settings:
        return ["--pairs", str(on_device._pictures(folder, 40))]
    return ["--making.prompts", "6", "--making.group", "3", "--making.held-out", "2"]
