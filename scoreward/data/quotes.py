"""The text a prompt asks for: what stands in quotation marks."""

import re

_QUOTED = re.compile(r'"([^"]*)"|“([^”]*)”|(?<!\w)\'([^\']*)\'(?!\w)')


def quoted(prompt: str) -> str | None:
    """The last text in quotation marks, None for a prompt without any."""
    found = [part for groups in _QUOTED.findall(prompt) for part in groups if part]
    return found[-1].strip() if found else None
