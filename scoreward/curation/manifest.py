"""The manifest: one line per candidate pair, only ever appended to, each line flushed.

A process that is killed while it writes leaves at most one torn line at the end, which is cut off
when the manifest is opened again; what it said is done anew.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from scoreward.curation.records import PairEntry, entry
from scoreward.data.store import written_whole


class Manifest:
    """Entries by id, in the order of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, PairEntry] = {}
        if path.exists():
            whole = 0
            for number, line in enumerate(path.read_bytes().splitlines(keepends=True)):
                read = _read(line)
                if read is None and whole + len(line) < path.stat().st_size:
                    raise ValueError(
                        f"line {number + 1} of {path} cannot be read; it was changed by something "
                        "other than scoreward, so restore it or start in another folder"
                    )
                if read is None:
                    break
                self.entries[read.id] = read
                whole += len(line)
            os.truncate(path, whole)

    def append(self, entries: Iterable[PairEntry]) -> None:
        """Add entries, and have them on the disk."""
        with self.path.open("a", encoding="utf-8") as file:
            for one in entries:
                file.write(one.line() + "\n")
                file.flush()
                self.entries[one.id] = one
            os.fsync(file.fileno())


def _read(line: bytes) -> PairEntry | None:
    """None for a line without an end, or one that is no entry."""
    if not line.endswith(b"\n"):
        return None
    try:
        return entry(json.loads(line))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def write_aside(path: Path, text: str) -> None:
    """A small file, whole or not at all."""
    with written_whole(path) as aside:
        aside.write_text(text, encoding="utf-8")
