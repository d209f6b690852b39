"""Every family's tiny pipeline, saved once; a cache of prompts that is nobody's."""

from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import transformers

from tests.families import tiny


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOREWARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _folders_are_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, older versions refuse to find the LoRA file even in a folder on the disk."""
    monkeypatch.setattr("diffusers.loaders.lora_base.HF_HUB_OFFLINE", False)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny pipeline by its name; skips where diffusers is too old to have it."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if (reason := tiny.lacking(name)) is not None:
            pytest.skip(reason)
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            tiny.build(name).save_pretrained(made[name])
        return made[name]

    return folder
