"""Every task by name, where a method can be used: `tasks["sd35"]`, `list(tasks)`.

>>> import scoreward as sw
>>> sw.tasks["flux"].about
'FLUX.1-dev'
>>> len(sw.tasks) > 10
True
"""

import sys
from importlib import import_module

from scoreward.listed import Listed
from scoreward.tasks.base import Task

PLACES = {
    "portraits": "portraits:PORTRAITS",
    "emoji": "emoji:EMOJI",
    "lettering": "lettering:LETTERING",
    "digits_compressed": "digits:DIGITS",
    "toy": "toy:TOY",
    "sd15": "models:MODELS",
    "sdxl": "models:MODELS",
    "sd35": "models:MODELS",
    "flux": "models:MODELS",
    "kontext": "models:MODELS",
    "wan": "models:MODELS",
    "diffusers": "models:MODELS",
    "tiny_llama": "texts:TEXTS",
    "smollm": "texts:TEXTS",
}
"""Where each row stands; a module is imported when its task is asked for."""


def task(name: str) -> Task:
    """A task by name.  KeyError, with all names, for one that there is not."""
    if name not in PLACES:
        raise KeyError(f"there is no task {name!r}; have {', '.join(PLACES)}")
    module, _, rows = PLACES[name].partition(":")
    found = getattr(import_module(f"scoreward.tasks.{module}"), rows)
    return found if isinstance(found, Task) else next(one for one in found if one.name == name)


def names() -> list[str]:
    """Every task."""
    return list(PLACES)


named = task
sys.modules[__name__].__class__ = Listed
