"""The versions of diffusers that the adapters are tested with."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from logging import ERROR, getLogger

OLDEST, BEFORE = (0, 33), (1, 0)
"""The oldest minor version that passes the tests, and the first that nobody has tried."""


def check_diffusers(oldest: tuple[int, int] = OLDEST) -> None:
    """Raises ImportError unless a supported diffusers is installed; some models need newer ones."""
    supported = f">={oldest[0]}.{oldest[1]},<{BEFORE[0]}.{BEFORE[1]}"
    try:
        found = version("diffusers")
    except PackageNotFoundError:
        raise ImportError(
            "this model is a diffusers pipeline, and diffusers is not installed; install it with: "
            'pip install "scoreward[diffusers]"'
        ) from None
    major, minor = (int(piece) for piece in found.split(".")[:2])
    if not oldest <= (major, minor) < BEFORE:
        raise ImportError(
            f"diffusers {found} is not supported, this model's adapter needs {supported}; install "
            f'one with: pip install "diffusers{supported}"'
        )


@contextmanager
def quietly() -> Iterator[None]:
    """Without progress bars of loading, and without advice meant for callers of newer versions."""
    from diffusers.utils import logging as ours
    from transformers.utils import logging as theirs

    getLogger("bitsandbytes.backends.cpu.ops").setLevel(ERROR)  # what its CPU kernels lack
    bars = ours.is_progress_bar_enabled(), theirs.is_progress_bar_enabled()
    loudness = ours.get_verbosity(), theirs.get_verbosity()
    ours.disable_progress_bar()
    theirs.disable_progress_bar()
    ours.set_verbosity_error()
    theirs.set_verbosity_error()  # it warns that torchvision is absent, which nothing here needs
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch_dtype.*")
            yield
    finally:
        ours.set_verbosity(loudness[0])
        theirs.set_verbosity(loudness[1])
        for module, shown in zip((ours, theirs), bars, strict=True):
            if shown:
                module.enable_progress_bar()
