"""What the frozen reference says of texts: computed once, kept on disk, refused where it differs.

The file carries hashes of everything that decides its numbers: the reference's weights, the
tokenizer, the chat template, the truncation rule, the texts as tokens and the precision.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.data import store
from scoreward.data.store import cache_folder
from scoreward.losses import tokens
from scoreward.models.texts.endings import Encoded
from scoreward.models.texts.language import LanguageModel, LanguageReader, Wanted
from scoreward.models.texts.loading import fingerprints
from scoreward.models.weights import Weights
from scoreward.training.sources.combining import in_pieces
from scoreward.training.team import Team


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
    def ask(self, reading: LanguageReader, weights: Weights | None, team: Team) -> Known:
        """The numbers, the same on every process.  Raises ValueError for a file of other things."""
        if self.known is not None:
            return self.known
        if weights is None:
            raise ValueError("a source of texts needs the trainer's snapshots in its `Work`")
        precision, texts = team.precision, json.dumps([list(self.texts), list(self.shared)])
        if any(text.gaps for text in self.texts):
            texts += json.dumps([text.gaps for text in self.texts])
        made_of = fingerprints(self.model, weights.snapshot("reference")) | {
            "data": hashlib.sha256(texts.encode()).hexdigest(),
            "entropies": str(self.asked.entropy),
            "precision": "of the weights" if precision is None else str(precision),
        }
        path, folder = self.asked.file, cache_folder() / "references"
        path = path or store.address(folder, json.dumps(made_of, sort_keys=True))
        stored = store.read(path, "reference log-probabilities", made_of)
        stored = team.leader(stored) if team.size > 1 else stored
        self.read = stored is not None
        found = self._computed(reading, team) if stored is None else stored
        if stored is None and team.leads:
            store.write(path, found, made_of)
        team.wait()
        self.known = Known(found["sums"], found.get("entropy"))
        return self.known

    def _computed(self, reading: LanguageReader, team: Team) -> dict[str, Tensor]:
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
        found = {"sums": table[:, :2].clone()}
        return found | ({"entropy": table[:, 2].clone()} if self.asked.entropy else {})
