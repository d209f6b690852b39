"""Which settings a method has on a task, where they are other than its own: one row a pair."""

from scoreward.settings.builtin import ON_OTHERS, ON_PORTRAITS
from scoreward.settings.pretrained import ON_FLUX, ON_MORE, ON_SD35
from scoreward.settings.row import Row

ROWS = ON_PORTRAITS + ON_OTHERS + ON_SD35 + ON_FLUX + ON_MORE
FOUND = {(r.method, r.task, r.variant): r for r in ROWS}


def found(method: str, task: str, like: str = "", variant: str = "") -> Row | None:
    """The row of a method on a task, or on the task whose settings hold there too."""
    own = FOUND.get((method, task, variant))
    return own if own is not None or not like else FOUND.get((method, like, variant))
