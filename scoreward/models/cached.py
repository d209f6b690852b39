"""The user's cache folder."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$SCOREWARD_CACHE, or the user's cache folder."""
    given = os.environ.get("SCOREWARD_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scoreward"
