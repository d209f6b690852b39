"""What a reward server does, without the web: refuse, decode, queue, answer, count.

`server.py` puts it on a port. A request that is not answered in full is refused with one sentence:
a reward that fails is an error, never a number.
"""

import asyncio
import hmac
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from threading import Lock

from torch import Tensor

from scoreward.rewards.base import Reward, RewardError
from scoreward.rewards.batching import Batcher, Batching, Job
from scoreward.rewards.remote.wire import Limits, Refusal, Request, Secret, decoded, parsed

METRICS = {
    "scoreward_requests_total": ("counter", "requests to score"),
    "scoreward_pictures_total": ("counter", "pictures of answered requests, frames counted"),
    "scoreward_failures_total": ("counter", "requests refused or failed, by HTTP status"),
    "scoreward_request_seconds_total": ("counter", "seconds from request to answer, summed"),
    "scoreward_reward_seconds_total": ("counter", "seconds inside a reward"),
    "scoreward_reward_samples_total": ("counter", "samples scored by a reward"),
    "scoreward_reward_batches_total": ("counter", "calls of a reward"),
    "scoreward_queue_samples": ("gauge", "samples that wait for a reward"),
    "scoreward_held_bytes": ("gauge", "bytes of requests being read or answered"),
}


class Counts:
    """Numbers that only grow, each under (metric, label)."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._values: dict[tuple[str, str], float] = defaultdict(float)

    def add(self, metric: str, value: float = 1.0, label: str = "") -> None:
        with self._lock:
            self._values[metric, label] += value

    def values(self) -> dict[tuple[str, str], float]:
        with self._lock:
            return dict(self._values)


def labelled(kind: str, value: str) -> str:
    """A label as Prometheus writes it."""
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'{{{kind}="{escaped}"}}'


def exposition(values: Mapping[tuple[str, str], float]) -> str:
    """Prometheus' text format."""
    lines = []
    for metric, (kind, text) in METRICS.items():
        lines += [f"# HELP {metric} {text}", f"# TYPE {metric} {kind}"]
        rows = sorted((label, v) for (name, label), v in values.items() if name == metric)
        lines += [f"{metric}{label} {value:.12g}" for label, value in rows or [("", 0.0)]]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Serving:
    """Settings of a server."""

    batching: Batching = Batching()
    limits: Limits = Limits()
    token: Secret | None = None
    reading: float = 60.0  # seconds in which a request must have come
    held: int = 1 << 30  # bytes of all requests at once; more are told to come later


class Service:
    """Rewards with their queues; `start` and `close` begin and end their threads."""

    def __init__(self, rewards: Mapping[str, Reward], how: Serving = Serving()) -> None:
        if not rewards:
            raise ValueError("a reward server needs at least one reward")
        self.how, self.counts, self._held = how, Counts(), 0
        self.batchers = {
            name: Batcher(name, reward, how.batching, self._noting(name))
            for name, reward in rewards.items()
        }

    def start(self) -> None:
        for batcher in self.batchers.values():
            batcher.start()

    def close(self) -> None:
        for batcher in self.batchers.values():
            batcher.close()

    async def answer(
        self, headers: Mapping[str, str], chunks: AsyncIterator[bytes]
    ) -> dict[str, dict[str, list[float]]]:
        """The numbers for one request.  Raises Refusal."""
        begun = time.perf_counter()
        self.counts.add("scoreward_requests_total")
        try:
            return {"rewards": await self._answer(headers, chunks)}
        except Refusal as refusal:
            label = labelled("status", str(refusal.status))
            self.counts.add("scoreward_failures_total", label=label)
            raise
        finally:
            self.counts.add("scoreward_request_seconds_total", time.perf_counter() - begun)

    async def _answer(
        self, headers: Mapping[str, str], chunks: AsyncIterator[bytes]
    ) -> dict[str, list[float]]:
        length = await self._admitted(headers, chunks)
        arrived = time.monotonic()
        self._held += length
        try:
            body = await self._body(chunks, length)
            request = parsed(headers.get("content-type", ""), body)
            for name in request.rewards:
                if name not in self.batchers:
                    close = get_close_matches(name, list(self.batchers), 1)
                    hint = f"; did you mean {close[0]!r}?" if close else ""
                    served = ", ".join(self.batchers)
                    raise Refusal(404, f"no reward {name!r} here{hint}; this server has {served}")
            media = await asyncio.to_thread(decoded, request, self.how.limits)
            answers = await self._scored(request, media, arrived + request.seconds)
        finally:
            self._held -= length
        self.counts.add("scoreward_pictures_total", len(request.pictures))
        return answers

    async def _admitted(self, headers: Mapping[str, str], chunks: AsyncIterator[bytes]) -> int:
        """The length of the body.  Who is refused here has still been listened to for a while:

        a client that is sending does not look for an answer before it has finished.
        """
        try:
            self.authorised(headers)
            length, limit = headers.get("content-length", ""), self.how.limits.bytes
            if not length.isdecimal():
                raise Refusal(411, "a request must say its Content-Length")
            if len(length) > 18 or int(length) > limit:
                raise Refusal(413, f"{length} bytes came; the server takes at most {limit}")
            if self._held and self._held + int(length) > self.how.held:
                raise Refusal(503, f"{self._held} bytes of requests are in work; come later")
            return int(length)
        except Refusal:
            with suppress(TimeoutError):  # what comes is read without being kept
                async with asyncio.timeout(self.how.reading):
                    async for _ in chunks:
                        pass
            raise

    def authorised(self, headers: Mapping[str, str]) -> None:
        """Raises Refusal unless the request carries the token, if there is one."""
        if self.how.token is None:
            return
        expected = f"Bearer {self.how.token.word()}".encode()
        if not hmac.compare_digest(headers.get("authorization", "").encode(), expected):
            raise Refusal(401, "this server needs its token: Authorization: Bearer TOKEN")

    async def _body(self, chunks: AsyncIterator[bytes], length: int) -> bytearray:
        body = bytearray()
        try:
            async with asyncio.timeout(self.how.reading):
                async for chunk in chunks:
                    body += chunk
        except TimeoutError:
            sentence = f"{len(body)} of {length} bytes came within {self.how.reading:g} s"
            raise Refusal(408, sentence) from None
        return body

    async def _scored(
        self, request: Request, media: Tensor, until: float
    ) -> dict[str, list[float]]:
        """Every reward's numbers; if one cannot answer, what waits for the others is dropped."""
        waiting: dict[str, Future[list[float]]] = {}
        try:
            for name in request.rewards:
                waiting[name] = self.batchers[name].submit(Job(media, request.prompts, until))
            return {n: await asyncio.wrap_future(future) for n, future in waiting.items()}
        except RewardError as error:
            raise Refusal(500, str(error).removesuffix("; the round was not used")) from error
        except (ValueError, RuntimeError, MemoryError) as error:  # a device that fails, for one
            raise Refusal(500, f"{type(error).__name__}: {error}") from error
        finally:
            for future in waiting.values():
                future.cancel()

    def _noting(self, name: str) -> Callable[[int, float], None]:
        label = labelled("reward", name)

        def note(samples: int, seconds: float) -> None:
            self.counts.add("scoreward_reward_samples_total", samples, label)
            self.counts.add("scoreward_reward_batches_total", 1.0, label)
            self.counts.add("scoreward_reward_seconds_total", seconds, label)

        return note

    def health(self) -> tuple[bool, dict[str, object]]:
        """Is every reward's thread alive?"""
        dead = [name for name, batcher in self.batchers.items() if not batcher.alive()]
        status = f"stopped: {', '.join(dead)}" if dead else "ok"
        return not dead, {"status": status, "rewards": list(self.batchers)}

    def metrics(self) -> str:
        values = self.counts.values()
        for name, batcher in self.batchers.items():
            label = labelled("reward", name)
            values["scoreward_queue_samples", label] = batcher.waiting()
        return exposition(values | {("scoreward_held_bytes", ""): float(self._held)})
