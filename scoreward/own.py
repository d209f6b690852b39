"""Functions of a user's own, written FILE.py:FUNCTION."""

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scoreward.made_of import note


def own(name: str, what: str) -> Any:
    """What FILE.py:FUNCTION names; `what` it is to be, for the sentence.

    The file may import its neighbours. Raises ValueError for a file that is not there or does not
    run; what else the file raises is said with its line.
    """
    path, _, function = name.rpartition(":")
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"there is no file {path!r}; a {what} is written FILE.py:FUNCTION")
    note(file)
    known = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"{file.stem}_{known}", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path!r} is not a Python file; a {what} is written FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its classes are looked for: types, help, pickles
    try:
        with _neighbours(file.resolve().parent):
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise ValueError(f"{path} does not run: {_where(error, file)}") from error
    return getattr(module, function, None)


_BROUGHT: dict[str, Path] = {}  # modules that stand beside files of the user's, by their folder
_FOLDERS: list[str] = []  # of such files, the latest first


@contextmanager
def _neighbours(folder: Path) -> Iterator[None]:
    """Modules of a folder can be imported, and those of other users' folders do not hide them.

    The folder stays on the path for imports inside functions, behind what is installed, so that no
    file of theirs hides a package.
    """
    for name in [n for n, other in _BROUGHT.items() if other != folder]:
        sys.modules.pop(name, None)
        del _BROUGHT[name]
    known, others = set(sys.modules), [p for p in _FOLDERS if p != str(folder)]
    sys.path[:] = [p for p in sys.path if p not in _FOLDERS]
    _FOLDERS[:] = [p for p in [str(folder), *others] if p not in sys.path]
    sys.path += _FOLDERS
    try:
        yield
    finally:
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).resolve().parent == folder:
                _BROUGHT[name] = folder


def _where(error: Exception, file: Path) -> str:
    """An error of the file with the line that raised it."""
    line, trace = getattr(error, "lineno", None), error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    said = " ".join(str(getattr(error, "msg", error)).split()) or "no message"
    return f"{type(error).__name__}: {said}" + ("" if line is None else f" (line {line})")
