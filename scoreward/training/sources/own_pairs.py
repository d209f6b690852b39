"""Pairs that a model makes itself: several samples per prompt, the best against the worst.

They depend on the weights, the prompts, the sampler, the reward and a seed alone, so they are made
once and kept on disk under a hash of all of these.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scoreward.core.chain import Sampler, draw
from scoreward.core.keys import Key, normal_each
from scoreward.data.store import TensorStore
from scoreward.models.base import Model
from scoreward.rewards.base import Reward, scored
from scoreward.training.sources.pairs import NAMES, PairData


@dataclass(frozen=True)
class OwnPairs:
    """How a model makes pairs.  `store` None makes them anew each time."""

    sampler: Sampler
    reward: Reward
    group: int = 8  # samples per prompt
    seed: int = 0
    batch: int = 64  # samples at once; memory only
    least: float = 0.0  # a smaller gap of rewards is a tie; ties are dropped
    judged: str = ""  # what identifies the reward: its name and weights; a store needs it
    store: TensorStore | None = None

    def __post_init__(self) -> None:
        if self.group < 2:
            raise ValueError(f"a pair needs at least 2 samples per prompt, got {self.group}")
        if self.least < 0:
            raise ValueError(f"`least` is a gap of rewards, not negative, got {self.least}")
        if self.store is not None and not self.judged:
            raise ValueError(
                "pairs that are kept on disk need `judged`, what identifies the reward; without it "
                "another reward would find them"
            )

    def make(self, model: Model, prompts: Sequence[str]) -> PairData:
        """The pairs, one a prompt at most.  Raises ValueError if all are ties."""
        key = self._key(model, prompts)
        known = None if self.store is None else self.store.read(key)
        if known is None:
            known = self._made(model, prompts)
            if self.store is not None:
                self.store.write(key, known)
        chosen: list[str] = [prompts[int(i)] for i in known["prompt"]]
        if not chosen:
            raise ValueError(
                f"all {len(prompts)} prompts gave ties: no sample earned more than another; raise "
                "the number of samples per prompt, or take a reward that tells them apart"
            )
        return PairData(prompts=chosen, **{name: known[name] for name in NAMES})

    @torch.no_grad()
    def _made(self, model: Model, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Winners, losers, gaps, noises and the numbers of their prompts, a few prompts a time."""
        whole, size = max(1, self.batch // self.group), self.group
        device = next(model.network.parameters()).device
        parts: dict[str, list[Tensor]] = {name: [] for name in (*NAMES, "prompt")}
        for first in range(0, len(prompts), whole):
            some = prompts[first : first + whole]
            words = [prompt for prompt in some for _ in range(size)]
            keys = [Key(("pairs", self.seed, prompt, n)) for prompt in some for n in range(size)]
            noise = normal_each((k / "start" for k in keys), model.shape)
            start = (noise * self.sampler.start(model.process)).to(device)
            cond = model.encode(words)
            cond = None if cond is None else cond.to(device)
            x0 = draw(self.sampler, model.denoiser, start, keys, cond)
            reward = scored("pairs", self.reward, model.decode(x0), words).reshape(-1, size)
            best, worst = reward.argmax(1).cpu(), reward.argmin(1).cpu()
            x0, reward, rows = x0.cpu(), reward.cpu(), torch.arange(len(some))
            gap = reward[rows, best] - reward[rows, worst]
            kept = gap > self.least
            high, low = ((rows * size + at)[kept] for at in (best, worst))
            parts["winner"].append(x0[high])
            parts["loser"].append(x0[low])
            parts["gap"].append(gap[kept].float())
            parts["winner_noise"].append(noise[high])
            parts["loser_noise"].append(noise[low])
            parts["prompt"].append(rows[kept] + first)
        return {name: torch.cat(values) for name, values in parts.items()}

    def _key(self, model: Model, prompts: Sequence[str]) -> str:
        """Everything that decides the pairs."""
        settings = (model.name, model.shape, self.sampler.times, self.group, self.seed, self.least)
        times = torch.tensor(self.sampler.times, dtype=torch.float64)
        steps = [
            f"{type(k).__name__} {k.std(model.process, times[i], times[i + 1]).item():.9g}"
            for i, k in enumerate(self.sampler.kernels)
        ]
        lines = [repr(settings), *steps, self.judged, content(model.network), *prompts]
        return "\n".join(lines)


def content(network: nn.Module) -> str:
    """A hash of all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
