"""What is kept on disk is there whole or not at all, and never taken for something else."""

from pathlib import Path

import pytest
import torch

from scoreward.data.store import TensorStore, address, read, write, written_whole

WHAT = "answers"
ONE = {"x": torch.arange(3.0)}


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    with written_whole(path) as aside:
        aside.write_text("whole")
        assert not path.exists()

    def cut_off() -> None:
        with written_whole(path) as aside:
            aside.write_text("half")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        cut_off()
    assert path.read_text() == "whole"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_file_of_something_else_is_refused_by_the_name_of_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert read(path, WHAT, {"data": "a"}) is None
    write(path, ONE, {"data": "a", "weights": "b"})
    found = read(path, WHAT, {"data": "a", "weights": "b"})
    assert found is not None
    assert torch.equal(found["x"], ONE["x"])
    with pytest.raises(ValueError, match=r"file holds answers of other data; delete it, or name"):
        read(path, WHAT, {"data": "c", "weights": "b"})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"file is not a readable file of answers \("):
        read(path, WHAT, {"data": "a", "weights": "b"})


def test_keys_and_salts_part_entries(tmp_path: Path) -> None:
    store, other = (TensorStore(tmp_path, salt) for salt in ("first", "second"))
    store.write("key", ONE)
    assert store.read("key") is not None
    assert store.read("other") is other.read("key") is None
    assert TensorStore(None, "first").read("key") is None


def test_addresses_are_those_that_older_entries_have() -> None:
    """sha256 of the content, in a folder of its first two digits, which `sha256sum` gives too."""
    name = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert address(Path(), "abc") == address(Path(), b"abc") == Path("ba") / f"{name}.safetensors"
