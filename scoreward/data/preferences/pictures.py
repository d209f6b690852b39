"""Pictures in a file: bytes, or a path beside the file; decoded when asked for."""

from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from scoreward.data.preferences.faults import Unusable

_KEPT = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # modes that PNG holds without loss


def stored(picture: Image.Image) -> dict[str, Any]:
    """A picture as `datasets` stores one, without loss."""
    if picture.mode not in _KEPT:
        picture = picture.convert("RGB")
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def opened(name: str, value: Any, folder: Path) -> Image.Image:
    """The picture of one cell: bytes, a path, or both as `datasets` stores them.

    Only its header is read here; PIL decodes the rest at first use.  Raises Unusable.
    """
    content = value.get("bytes") or value.get("path") if isinstance(value, dict) else value
    if not content:
        raise Unusable(f"there is no picture in {name}")
    if isinstance(content, str):
        content = folder / content
        if not content.is_file():
            raise Unusable(
                f"{name} names a picture that is not there, {content}; --pictures says where "
                f"such paths begin"
            )
    elif not isinstance(content, bytes):
        raise Unusable(f"{name} is {type(content).__name__}, not a picture's bytes or path")
    try:
        return Image.open(BytesIO(content) if isinstance(content, bytes) else content)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise Unusable(f"the picture in {name} does not decode") from None


def decode(picture: Image.Image) -> None:
    """Read the whole of a picture now.  Raises Unusable."""
    try:
        picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise Unusable("a picture does not decode; its file is damaged or cut off") from None


def same(one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures agree in every pixel."""
    return (one.mode, one.size, one.tobytes()) == (other.mode, other.size, other.tobytes())
