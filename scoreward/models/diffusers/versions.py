"""The versions of diffusers that the adapters are tested with."""

from importlib.metadata import PackageNotFoundError, version

OLDEST, BEFORE = (0, 35), (1, 0)
"""The oldest minor version that passes the tests, and the first that nobody has tried."""


def check_diffusers() -> None:
    """Raises ImportError unless a supported diffusers is installed."""
    supported = f">={OLDEST[0]}.{OLDEST[1]},<{BEFORE[0]}.{BEFORE[1]}"
    try:
        found = version("diffusers")
    except PackageNotFoundError:
        raise ImportError(
            "this model is a diffusers pipeline, and diffusers is not installed; install it with: "
            'pip install "scoreward[diffusers]"'
        ) from None
    major, minor = (int(piece) for piece in found.split(".")[:2])
    if not OLDEST <= (major, minor) < BEFORE:
        raise ImportError(
            f"diffusers {found} is not supported, the adapters need {supported}; install one with: "
            f'pip install "diffusers{supported}"'
        )
