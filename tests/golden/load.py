"""Expected numbers from outside of this code; each file says where its numbers come from."""

import json
from pathlib import Path
from typing import Any


def golden(name: str) -> dict[str, Any]:
    """One file of numbers, as written."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
