"""Functions of a user's own, written FILE.py:FUNCTION."""

import importlib.util
from pathlib import Path
from typing import Any


def own(name: str, what: str) -> Any:
    """What FILE.py:FUNCTION names; `what` it is to be, for the sentence.  Raises ValueError."""
    path, _, function = name.rpartition(":")
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"there is no file {path!r}; a {what} is written FILE.py:FUNCTION")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path!r} is not a Python file; a {what} is written FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, function, None)
