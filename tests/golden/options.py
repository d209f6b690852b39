"""What can be set: every settings class once, and which of them each pair has.

python -m tests.golden.options writes options.json anew.
"""

import json
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import fields, is_dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from scoreward.cli import COMMANDS, main
from scoreward.methods.base import Setting
from scoreward.recipes import every


def agreed() -> dict[str, dict[str, str]]:
    """The fields of each class, and the settings of each pair with their classes."""
    classes: dict[str, str] = {}
    pairs: dict[str, str] = {}
    for pair in every():
        parts = []
        for name, setting in pair.settings.items():
            value = setting.default
            classes |= dict(_classes(value))
            parts.append(f"{name}:{type(value).__name__}" if is_dataclass(value) else name)
        pairs.setdefault(" ".join(parts), []).append(pair.name)  # pyright: ignore
    return {
        "classes": dict(sorted(classes.items())),
        "pairs": {" ".join(sorted(names)): said for said, names in sorted(pairs.items())},
    }


def _classes(value: Any) -> Iterator[tuple[str, str]]:
    """The fields of a settings class, and of those inside it."""
    if not is_dataclass(value):
        return
    yield type(value).__name__, " ".join(f.name for f in fields(value) if f.init)
    for field in fields(value):
        yield from _classes(getattr(value, field.name))


def fields_of(setting: Setting) -> list[str]:
    """The names of a setting's fields, if it is a dataclass."""
    return (
        [f.name for f in fields(setting.default) if f.init] if is_dataclass(setting.default) else []
    )


def options_of(command: str) -> str:
    """The options that a command names in its help."""
    out = StringIO()
    try:
        with redirect_stdout(out):
            main([command, "--help"])
    except SystemExit:
        pass
    found = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9.-]*[a-z0-9]", out.getvalue()))
    return " ".join(sorted(found - {"--help"}))


if __name__ == "__main__":
    commands = {name: options_of(name) for name in sorted(set(COMMANDS) - {"train", "pretrain"})}
    path = Path(__file__).with_name("options.json")
    path.write_text(json.dumps(agreed() | {"commands": commands}, indent=1) + "\n")
