"""Rewards that are computed elsewhere: `Remote` asks one or more reward servers.

    reward = Remote("pickscore", ("http://127.0.0.1:8000", "http://127.0.0.1:8001"))

A batch is cut into pieces that are sent while earlier ones are being scored. A server that dies
loses nothing: its pieces go to the others. No number is ever invented: what was not answered by the
deadline is an error that says what happened with which server.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import unquote, urlsplit

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.rewards.base import admitted
from scoreward.rewards.encodings import encoded
from scoreward.rewards.remote.fleet import Asking, Fleet, Piece
from scoreward.rewards.remote.wire import TOKEN, Secret

LANES = 8  # pieces on their way to each server; the others wait to be encoded
NUMBERS = 4 << 20  # in a piece, unless one sample has more: larger ones would be waited for
FIRST = 2  # samples of the first piece, so that a server starts soon; the next are larger


@dataclass(frozen=True)
class Remote:
    """One reward of one or more servers."""

    name: str
    servers: tuple[str, ...]
    how: Asking = Asking()
    there: bool = False  # a server that is not there when first asked is refused, not waited for

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        if self.there:
            _ = self._met
        return together(self._fleet, (self.name,), media, prompts)[self.name]

    def __post_init__(self) -> None:
        _ = self._fleet  # made now, so that a wrong address is refused at once

    @cached_property
    def _fleet(self) -> Fleet:
        return Fleet(self.servers, self.how)

    @cached_property
    def _met(self) -> None:
        self._fleet.meet(self.name)


def addressed(url: str) -> Remote:
    """The reward that is the last part of a URL; the token is SCOREWARD_TOKEN's, if there is one.

    Raises ValueError for a URL without a reward.
    """
    server, _, name = url.rpartition("/")
    parts = urlsplit(server)
    if not parts.hostname or parts.query or parts.fragment or not name or {"?", "#"} & set(name):
        raise ValueError(
            f"{url!r} names no reward of a server; expected its address and the name of a reward, "
            "such as http://127.0.0.1:8000/pickscore"
        )
    word = os.environ.get(TOKEN, "")
    how = Asking(token=Secret(word) if word else None)
    return Remote(unquote(name), (server,), how, there=True)


def remote_rewards(
    names: Sequence[str], servers: Sequence[str], how: Asking = Asking()
) -> dict[str, "JointReward"]:
    """Rewards of the same servers that send every batch of media once for all of them."""
    if not names or len(set(names)) != len(names):
        raise ValueError(f"expected the names of one or more different rewards, got {list(names)}")
    common = Common(tuple(names), tuple(servers), how)
    return {name: JointReward(name, common) for name in names}


@dataclass(frozen=True)
class JointReward:
    """One of several rewards that are asked for together."""

    name: str
    common: "Common"

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        return self.common.answer(self.name, media, prompts)


@dataclass
class AnswerCache:
    """Answers for one batch; each is given out once, and the batch is then forgotten."""

    media: Tensor | None = None
    version: int = -1
    prompts: tuple[str, ...] = ()
    answers: dict[str, Tensor] = field(default_factory=dict)

    def hold(
        self, media: Tensor | None, prompts: Sequence[str], answers: Mapping[str, Tensor]
    ) -> None:
        """These instead of what was held; of no media nothing."""
        self.media, self.version = media, -1 if media is None else version(media)
        self.prompts, self.answers = tuple(prompts), dict(answers)

    def has(self, name: str, media: Tensor, prompts: Sequence[str]) -> bool:
        """The very same tensor, not written to since, with the same prompts."""
        same = self.media is media and self.version == version(media)
        return same and self.prompts == tuple(prompts) and name in self.answers


def version(media: Tensor) -> int:
    """Counts the writes to a tensor; tensors of inference mode do not count and are never kept."""
    return -1 if media.is_inference() else media._version


@dataclass(frozen=True)
class Common:
    """What rewards of the same servers share."""

    names: tuple[str, ...]
    servers: tuple[str, ...]
    how: Asking

    def __post_init__(self) -> None:
        _ = self._fleet, self._lock, self._cache  # made now, before threads share them

    def answer(self, name: str, media: Tensor, prompts: Sequence[str]) -> Tensor:
        """Asks for all names, unless an earlier one has just asked with these media."""
        with self._lock:
            if not self._cache.has(name, media, prompts):
                self._cache.hold(None, (), {})
                answers = together(self._fleet, self.names, media, prompts)
                if version(media) < 0:
                    return answers[name]
                self._cache.hold(media, prompts, answers)
            answer = self._cache.answers.pop(name)
            if not self._cache.answers:
                self._cache.hold(None, (), {})
            return answer

    @cached_property
    def _fleet(self) -> Fleet:
        return Fleet(self.servers, self.how)

    @cached_property
    def _lock(self) -> threading.Lock:
        return threading.Lock()

    @cached_property
    def _cache(self) -> AnswerCache:
        return AnswerCache()


def sizes(total: int, servers: int, largest: int) -> list[int]:
    """Samples of each piece: few at first, and so many pieces that every server has several."""
    most = min(largest, max(FIRST, -(-total // (4 * servers))))
    parts, next_one = [], min(FIRST, most)
    while total > 0:
        parts.append(min(next_one, total))
        total -= parts[-1]
        next_one = min(2 * next_one, most)
    return parts


def together(
    fleet: Fleet, names: tuple[str, ...], media: Tensor, prompts: Sequence[str]
) -> dict[str, Tensor]:
    """Every reward of a batch, in its order.  Raises RemoteError, or ValueError for wrong media."""
    pictures = media.ndim in (4, 5) and media.shape[1] == 3 and 0 not in media.shape[2:]
    if not pictures or not media.is_floating_point():
        raise ValueError(
            f"a reward server takes floats of shape [batch, 3, height, width] or [batch, 3, "
            f"frames, height, width], got {media.dtype} of shape {tuple(media.shape)}"
        )
    media = admitted(media, prompts)
    if not len(prompts):
        return {name: torch.zeros(0, device=media.device) for name in names}
    until, stop, turn = time.monotonic() + fleet.how.deadline, threading.Event(), threading.Lock()

    def ask(piece: Tensor, words: Sequence[str]) -> Mapping[str, list[float]]:
        with turn:  # one after the other: the first piece is under way while the next is encoded
            blobs = encoded(piece, fleet.how.encoding)
        frames = piece.shape[2] if piece.ndim == 5 else None
        return fleet.ask(Piece(names, words, blobs, frames), until, stop)

    largest = min(fleet.how.piece, max(1, NUMBERS // media[0].numel()))
    parts = sizes(len(prompts), len(fleet.servers), largest)
    ends = [sum(parts[: i + 1]) for i in range(len(parts))]
    pool = ThreadPoolExecutor(min(len(parts), LANES * len(fleet.servers)), "remote reward")
    try:
        words = [prompts[end - size : end] for end, size in zip(ends, parts)]
        futures = [pool.submit(ask, p, w) for p, w in zip(media.split(parts), words)]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()  # the first failure, without waiting for the others
        rows = [future.result() for future in futures]
    finally:
        stop.set()  # after an error the other pieces end by themselves, at their timeout at latest
        pool.shutdown(wait=False, cancel_futures=True)
    return {
        name: torch.tensor([v for row in rows for v in row[name]], dtype=torch.float32).to(
            media.device
        )
        for name in names
    }
