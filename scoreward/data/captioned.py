"""Folders of pictures with captions: a metadata.jsonl, or a text file beside each picture."""

import json
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class CaptionsError(ValueError):
    """A folder whose pictures have no captions."""


def captioned(folder: Path) -> list[tuple[Path, str]]:
    """(picture, caption), in the order of the list or of the names.  Raises CaptionsError."""
    if not folder.is_dir():
        raise CaptionsError(f"there is no folder {folder}; it should hold pictures and captions")
    listing = folder / "metadata.jsonl"
    found = list(_listed(listing) if listing.is_file() else _beside(folder))
    if not found:
        raise CaptionsError(
            f"{folder} has no captioned picture: give it a metadata.jsonl with file_name and text, "
            f"or a .txt beside each of its {', '.join(SUFFIXES)}"
        )
    return found


def _listed(listing: Path) -> Iterator[tuple[Path, str]]:
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            name, text = str(entry["file_name"]), str(entry["text"])
        except (ValueError, KeyError, TypeError):
            raise CaptionsError(
                f"line {number} of {listing} is not a JSON object with file_name and text"
            ) from None
        path = listing.parent / name
        if not path.is_file():
            raise CaptionsError(f"line {number} of {listing} names {name}, which is not there")
        yield path, text


def _beside(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES):
        caption = path.with_suffix(".txt")
        if not caption.is_file():
            raise CaptionsError(f"{path.name} in {folder} has no caption {caption.name}")
        yield path, caption.read_text(encoding="utf-8").strip()
