"""Finding recipes and turning their settings into options."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import field, make_dataclass
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, cast, get_type_hints

import tyro

from scoreward.own import own
from scoreward.training.run import Run

T = TypeVar("T")
Recipe = Callable[..., Run]

PATHS = (
    "ddpo",
    "dpok",
    "score_as_action",
    "flow_grpo",
    "flow_grpo_fast",
    "cps",
    "dance_grpo",
    "mixgrpo",
    "mixgrpo_flash",
    "branch_grpo",
    "temp_flow",
    "temp_flow_window",
    "grpo_guard",
    "flow_dppo",
    "fdfo",
)
SAMPLES = (
    "diffusion_nft",
    "awm",
    "fpo",
    "epg",
    "pepg",
    "par",
    "ram",
    "dgpo",
    "crd",
    "refl",
    "draft",
    "align_prop",
)
ON_PAIRS = (
    "diffusion_dpo",
    "flow_dpo",
    "diffusion_kto",
    "mapo",
    "diffusion_orpo",
    "dspo",
    "inpo",
    "smpo",
    "dmpo",
    "sdpo",
    "pnapo",
    "curriculum_dpo",
    "rainbow_po",
)
ON_STEPS = ("d3po", "spo", "lpo")
DIFFERENTIATING = ("refl", "draft", "align_prop", "swift_direct")
BUILT_IN = {
    "portraits_vgrpo": "scoreward.recipes.portraits",
    "portraits_pretrain": "scoreward.recipes.portraits",
    **{f"portraits_{method}": "scoreward.recipes.portraits_paths" for method in PATHS},
    **{f"portraits_{method}": "scoreward.recipes.portraits_samples" for method in SAMPLES},
    **{f"portraits_{method}": "scoreward.recipes.portraits_preferences" for method in ON_PAIRS},
    **{
        f"portraits_{method}": "scoreward.recipes.portraits_preference_steps" for method in ON_STEPS
    },
    "portraits_few_step": "scoreward.recipes.portraits_few_step",
    "portraits_swift": "scoreward.recipes.portraits_swift",
    "portraits_swift_direct": "scoreward.recipes.portraits_swift",
    "toy_vgrpo": "scoreward.recipes.toy",
    "lettering_pretrain": "scoreward.recipes.lettering",
    "emoji_pretrain": "scoreward.recipes.emoji",
    "digits_compressed_pretrain": "scoreward.recipes.digits_compressed",
    "digits_compressed_vgrpo": "scoreward.recipes.digits_compressed",
}
PRETRAINED = {
    "pretrained_sd35": (
        "sd35_vgrpo",
        "sd35_diffusion_nft",
        "sd35_mixgrpo",
        "sd35_flow_grpo",
        "sd35_flow_grpo_fast",
        "sd35_awm",
        "sd35_awm_geneval",
        "sd35_awm_ocr",
    ),
    "pretrained_flux": (
        "flux_vgrpo",
        "flux_diffusion_nft",
        "flux_mixgrpo",
        "flux_dance_grpo",
        "flux_flow_grpo",
        "kontext_vgrpo",
    ),
    "pretrained_epg": ("sd35_epg", "sd35_pepg", "sd35_par"),
    "pretrained_branches": ("sd35_temp_flow", "flux_temp_flow"),
    "pretrained_sft": ("sd35_sft",),
    "pretrained_preferences": ("sd15_diffusion_dpo", "sdxl_diffusion_dpo", "sd35_flow_dpo"),
    "pretrained_more": (
        "sd15_ddpo",
        "sd15_score_as_action",
        "sd15_vgrpo",
        "sdxl_ddpo",
        "wan_flow_grpo",
        "wan_vgrpo",
    ),
}
LANGUAGE = ("tiny_llama_dpo", "smollm_dpo", "smollm_simpo", "smollm_rainbow_po")
BUILT_IN |= dict.fromkeys(LANGUAGE, "scoreward.recipes.language")
BUILT_IN |= {name: f"scoreward.recipes.{f}" for f, names in PRETRAINED.items() for name in names}
TASKS = {"lettering": "scoreward.recipes.lettering", "emoji": "scoreward.recipes.emoji"}
ONLINE = ("vgrpo", "swift", *PATHS, *SAMPLES, "swift_direct")
MOVED = {
    f"{task}_{method}": f"portraits_{method}"
    for task in TASKS
    for method in ONLINE
    if task != "lettering" or method not in DIFFERENTIATING
}


def find(name: str) -> Recipe:
    """A built-in recipe by name, or a function of the user's own as FILE.py:FUNCTION."""
    if ":" in name:
        return _from_file(name)
    task, _, method = name.partition("_")
    if task in TASKS and method in ONLINE:
        return importlib.import_module(TASKS[task]).moved(find(f"portraits_{method}"))
    if name not in BUILT_IN:
        close = get_close_matches(name, [*BUILT_IN, *MOVED], 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"unknown recipe {name!r}{hint}; recipes are {', '.join([*BUILT_IN, *MOVED])}, "
            "or a function of your own as my_recipe.py:run"
        )
    return getattr(importlib.import_module(BUILT_IN[name]), name)


def _from_file(name: str) -> Recipe:
    recipe = own(name, "recipe")
    path, _, function = name.rpartition(":")
    if not callable(recipe):
        raise ValueError(f"{path!r} has no function {function!r} that could be a recipe")
    return cast(Recipe, recipe)


def parse(recipe: Recipe, options: type[T], words: list[str], program: str) -> tuple[T, Run]:
    """Read `options` and the recipe's settings from one command line, and call the recipe.

    Exits with tyro's message for unknown options, which suggests the nearest one.
    """
    hints = get_type_hints(recipe, include_extras=True)
    parameters = inspect.signature(recipe).parameters
    if bare := [n for n in parameters if n not in hints]:
        raise ValueError(
            f"setting {bare[0]!r} of the recipe has no type, so it cannot become an option; write "
            f"{bare[0]}: int = 3, for example"
        )
    settings = [(n, hints[n], _default(p)) for n, p in parameters.items()]
    flat = Annotated[options, tyro.conf.arg(prefix_name=False, name="")]
    whole = make_dataclass("Settings", [("own_options", flat), *settings])
    whole.__doc__ = recipe.__doc__
    parsed: Any = tyro.cli(whole, args=words, prog=program)
    run = recipe(**{n: getattr(parsed, n) for n in parameters})
    if not isinstance(run, Run):
        raise ValueError(f"the recipe returned a {type(run).__name__}; it must return a Run")
    return parsed.own_options, run


def _default(parameter: inspect.Parameter) -> Any:
    if parameter.default is inspect.Parameter.empty:
        return field()
    value = parameter.default
    return field(default_factory=lambda: value)
