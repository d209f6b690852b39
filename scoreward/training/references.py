"""What the frozen reference says of texts: computed once, kept on disk, refused where it differs.

The file carries hashes of everything that decides its numbers: the reference's weights, the
tokenizer, the chat template, the truncation rule, the texts as tokens and the precision.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scoreward.losses import tokens
from scoreward.models.cached import cache_folder
from scoreward.models.texts.language import LanguageModel, Wanted
from scoreward.models.texts.loading import fingerprints
from scoreward.models.weights import Weights
from scoreward.training.sources.combining import in_pieces
from scoreward.training.team import Team

Encoded = tuple[list[int], int]
"""Tokens of prompt and completion, and how many are prompt."""
Reader = Callable[[Any, Any, Any], Any]
"""(tokens, mask, wanted) → models.texts.language.Said."""


@dataclass(frozen=True)
class ReferenceFile:
    """What to ask the reference, and where its answers are kept."""

    wanted: bool = True  # methods without a reference never ask it
    entropy: bool = False  # also its entropies, for contextual scaling
    file: Path | None = None  # default: the user's cache, under a name that only equal data finds
    batch: int = 32  # texts at once; memory only


@dataclass(frozen=True)
class Known:
    """Of each text the sums of log-probability before and beyond `shared`, and the entropy."""

    sums: Float[Tensor, "texts two"]
    entropy: Float[Tensor, " texts"] | None = None


@dataclass
class References:
    """Texts of a data set and the reference's numbers of them; `ask` computes or reads them.

    `shared` is the length from which a completion counts as tail.
    """

    model: LanguageModel
    texts: Sequence[Encoded]
    shared: Sequence[int]
    asked: ReferenceFile = ReferenceFile()
    read: bool = field(default=False, init=False)  # whether the numbers came from the disk
    known: Known | None = field(default=None, init=False)

    @torch.no_grad()
    def ask(self, reading: Reader, weights: Weights | None, team: Team) -> Known:
        """The numbers, the same on every process.  Raises ValueError for a file of other things."""
        if self.known is not None:
            return self.known
        if weights is None:
            raise ValueError("a source of texts needs the trainer's snapshots in its `Work`")
        precision, texts = team.precision, json.dumps([list(self.texts), list(self.shared)])
        made_of = fingerprints(self.model, weights.snapshot("reference")) | {
            "data": hashlib.sha256(texts.encode()).hexdigest(),
            "entropies": str(self.asked.entropy),
            "precision": "of the weights" if precision is None else str(precision),
        }
        path = self.asked.file or _address(made_of)
        stored = team.leader(_read(path, made_of)) if team.size > 1 else _read(path, made_of)
        self.read = stored is not None
        self.known = stored or self._computed(reading, team)
        if stored is None and team.leads:
            _write(path, self.known, made_of)
        team.wait()
        return self.known

    def _computed(self, reading: Reader, team: Team) -> Known:
        def numbers(some: Sequence[int]) -> list[list[float]]:
            block = self.model.padded([self.texts[i] for i in some]).to(team.device)
            said = reading(block.token, block.mask, Wanted(entropy=self.asked.entropy))
            shared = torch.tensor([self.shared[i] for i in some], device=team.device)
            head = tokens.length_desensitised(said.log_prob, block.mask, shared, 0.0)
            columns = [head, tokens.summed(said.log_prob, block.mask) - head]
            columns += [] if said.entropy is None else [said.entropy]
            return torch.stack(columns, 1).float().tolist()

        # longest texts last, so that a batch holds texts of one length
        order = sorted(range(len(self.texts)), key=lambda i: len(self.texts[i][0]))
        mine = order[team.rank :: team.size]
        table = torch.tensor(in_pieces(mine, self.asked.batch, numbers, team))
        return Known(table[:, :2].clone(), table[:, 2].clone() if self.asked.entropy else None)


def _address(made_of: dict[str, str]) -> Path:
    name = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "references" / name[:2] / f"{name}.safetensors"


def _read(path: Path, made_of: dict[str, str]) -> Known | None:
    """What a file holds, None where there is none; a file of something else is refused."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as stored:
            theirs = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{path} is not a readable file of reference log-probabilities ({error}); delete it"
        ) from None
    other = [name for name, value in made_of.items() if theirs.get(name) != value]
    if other:
        raise ValueError(
            f"{path} holds reference log-probabilities of other {', '.join(other)}; delete it, "
            "or name another file"
        )
    return Known(tensors["sums"], tensors.get("entropy"))


def _write(path: Path, known: Known, made_of: dict[str, str]) -> None:
    """Aside and renamed, so that the file is never half there."""
    tensors = {"sums": known.sums}
    if known.entropy is not None:
        tensors["entropy"] = known.entropy
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".{os.getpid()}.writing")
    save_file(tensors, aside, metadata=made_of)
    aside.replace(path)
