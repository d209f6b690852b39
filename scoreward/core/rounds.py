"""What a round leaves, of images and of control alike."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Round:
    """A finished round: its number (from 1) and its metrics."""

    index: int
    metrics: dict[str, float]
