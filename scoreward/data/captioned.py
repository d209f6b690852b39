"""Folders of pictures with captions: a table of both, or a text file beside each picture."""

from collections.abc import Iterator
from pathlib import Path

from scoreward.data.texts import TextError, checked, table, text_of
from scoreward.made_of import note

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
LISTINGS = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


class CaptionsError(ValueError):
    """A folder whose pictures have no captions."""


def captioned(folder: Path) -> list[tuple[Path, str]]:
    """(picture, caption), in the order of the list or of the names.  Raises CaptionsError."""
    if not folder.is_dir():
        raise CaptionsError(f"there is no folder {folder}; it should hold pictures and captions")
    folder = folder.resolve()  # pictures are read later, and from another working folder maybe
    note(folder)
    listing = next((folder / n for n in LISTINGS if (folder / n).is_file()), None)
    try:
        found = list(_beside(folder) if listing is None else _listed(listing))
    except TextError as error:
        raise CaptionsError(str(error)) from None
    if not found:
        raise CaptionsError(
            f"{folder} has no captioned picture: give it a metadata.jsonl with file_name and text, "
            f"or a .txt beside each of its {', '.join(SUFFIXES)}"
        )
    return found


def _listed(listing: Path) -> Iterator[tuple[Path, str]]:
    for row in table(listing, "text"):
        name, text = row.text("file_name"), row.text("text")
        path = listing.parent / name
        if not path.is_file():
            raise CaptionsError(f"{row.place} names {name}, which is not there")
        yield path, text


def _beside(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES):
        caption = path.with_suffix(".txt")
        if not caption.is_file():
            raise CaptionsError(f"{path.name} in {folder} has no caption {caption.name}")
        yield path, checked(text_of(caption), f"{caption}")
