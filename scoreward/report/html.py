"""The page machine: a template of `pages/` with its styles becomes a file, whole or not at all."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from scoreward.verdict import words

PAGES = Path(__file__).parent / "pages"
COMMON = "report"  # whose style every page shares


def page(name: str, content: Mapping[str, object]) -> str:
    """The template `name` as text; a page's own style follows the common one."""
    environment = Environment(
        loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(show=words.show, plural=words.plural)
    styles = dict.fromkeys((COMMON, name))
    css = "".join((PAGES / f"{style}.css").read_text(encoding="utf-8") for style in styles)
    return environment.get_template(f"{name}.html.j2").render(content, css=Markup(css))


def write(target: Path, text: str) -> Path:
    """Write beside the target and rename, so that a full disk leaves the old page whole."""
    if target.is_dir() or not target.parent.is_dir():
        raise ValueError(f"`out` must be a file in a folder that exists, got {target}")
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".report-", suffix=".html")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target
