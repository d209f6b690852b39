"""The layout of a file, by its columns or by name."""

from collections.abc import Sequence

from scoreward.data.preferences.faults import PreferenceError
from scoreward.data.preferences.layouts import OWN, Layout
from scoreward.data.preferences.layouts_images import PUBLIC_IMAGES
from scoreward.data.preferences.layouts_texts import PUBLIC_TEXTS

KNOWN = (*OWN, *PUBLIC_IMAGES, *PUBLIC_TEXTS)  # of two that fit, the earlier one is meant


def recognise(file: str, columns: Sequence[str], layout: str = "auto") -> Layout:
    """The layout named, or the first that fits the columns.  Raises PreferenceError."""
    named = [one for one in KNOWN if layout in ("auto", one.name)]
    if not named:
        names = ", ".join(one.name for one in KNOWN)
        raise PreferenceError(f"there is no layout {layout!r}; there are auto, {names}")
    fitting = [one for one in named if one.columns <= set(columns)]
    if fitting:
        return fitting[0]
    nearest = min(named, key=lambda one: len(one.columns - set(columns)) / len(one.columns))
    missing = ", ".join(sorted(nearest.columns - set(columns)))
    raise PreferenceError(
        f"{file} has the columns {', '.join(columns) or '(none)'}, which fit no layout that is "
        f"asked for; {nearest.name}, the nearest, also needs {missing}; layouts are "
        f"{'; '.join(map(str, named))}"
    )
