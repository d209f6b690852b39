"""Functions of a user's own, written FILE.py:FUNCTION."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import Any


def own(name: str, what: str) -> Any:
    """What FILE.py:FUNCTION names; `what` it is to be, for the sentence.  Raises ValueError."""
    path, _, function = name.rpartition(":")
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"there is no file {path!r}; a {what} is written FILE.py:FUNCTION")
    known = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"{file.stem}_{known}", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path!r} is not a Python file; a {what} is written FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its classes are looked for: types, help, pickles
    spec.loader.exec_module(module)
    return getattr(module, function, None)
