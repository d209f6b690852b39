"""Small preference files in the layouts people have, made by the tests themselves."""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from datasets import config
from PIL import Image
from pyarrow import parquet

Rows = list[dict[str, Any]]
Write = Callable[[str, Rows], Path]


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What `datasets` keeps of the files it reads goes where pytest cleans up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


def picture(shade: int, size: int = 6) -> Image.Image:
    """A picture whose every pixel tells its position and its shade."""
    made = Image.new("RGB", (size, size))
    made.putdata([(shade % 256, 40 * (i % 6), 40 * (i // 6 % 6)) for i in range(size * size)])
    return made


def coded(shade: int, kind: str = "PNG") -> bytes:
    """The same as the bytes of a file."""
    buffer = BytesIO()
    picture(shade).save(buffer, format=kind)
    return buffer.getvalue()


@pytest.fixture
def put(tmp_path: Path) -> Write:
    """Write rows as they are to a file by name: Parquet, JSON lines or a JSON array."""

    def write(name: str, rows: Rows) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        elif path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            path.write_text(json.dumps(rows))
        return path

    return write
