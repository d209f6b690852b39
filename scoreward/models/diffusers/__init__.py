"""Hugging Face diffusers pipelines as models: one adapter a family, one loader for all."""

from scoreward.models.diffusers.families import FAMILIES, UnsupportedPipeline, family_of
from scoreward.models.diffusers.family import Family, Network, Size
from scoreward.models.diffusers.pretrained import Loading, PretrainedError, load
from scoreward.models.diffusers.text import Text

__all__ = [
    "FAMILIES",
    "Family",
    "Loading",
    "Network",
    "PretrainedError",
    "Size",
    "Text",
    "UnsupportedPipeline",
    "family_of",
    "load",
]
