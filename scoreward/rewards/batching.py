"""Micro-batches: requests that come at about the same time are scored together.

Each reward has one thread. It takes what waits, up to a batch, or what has come some milliseconds
after the first; while it scores, the next batch gathers. A served reward must therefore score each
sample by itself: one that looks at its whole batch, like `Variety`, would see strangers' samples.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch
from torch import Tensor

from scoreward.rewards.base import Reward, scored
from scoreward.rewards.pictures import restored
from scoreward.rewards.wire import Refusal


@dataclass(frozen=True)
class Batching:
    """How requests are gathered."""

    batch: int = 64  # samples given to a reward at once
    wait: float = 0.005  # seconds that the first of a batch waits for others
    waiting: int = 4096  # samples that may wait; more are refused, and the client comes again
    device: str = "cpu"  # where rewards get their media

    def __post_init__(self) -> None:
        if self.batch < 1 or self.waiting < 1 or not 0 <= self.wait <= 60:
            raise ValueError(
                f"`batch` and `waiting` must be at least 1 and `wait` in [0, 60] seconds, got "
                f"{self.batch}, {self.waiting} and {self.wait}"
            )


@dataclass(eq=False)
class Job:
    """One request's samples, waiting for one reward."""

    media: Tensor
    prompts: Sequence[str]
    until: float  # time after which nobody waits for the answer
    arrived: float = field(default_factory=time.monotonic)
    answer: Future[list[float]] = field(default_factory=Future)

    def kind(self) -> tuple[object, ...]:
        """Only media of the same kind can be joined."""
        return (self.media.dtype, *self.media.shape[1:])


class Batcher:
    """The queue and the thread of one reward; `note(samples, seconds)` hears of every batch."""

    def __init__(
        self, name: str, reward: Reward, how: Batching, note: Callable[[int, float], None]
    ) -> None:
        self.name, self.reward, self.how, self.note = name, reward, how, note
        self._jobs: deque[Job] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"reward {name}", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Future[list[float]]:
        """Puts samples into the queue.  Raises Refusal if it is full or closed."""
        with self._change:
            if self._closed:
                raise Refusal(503, "the server is stopping")
            if self.waiting() + len(job.prompts) > max(self.how.waiting, len(job.prompts)):
                raise Refusal(503, f"{self.waiting()} samples wait for {self.name!r}; come later")
            self._jobs.append(job)
            self._change.notify()
        return job.answer

    def waiting(self) -> int:
        """Samples in the queue."""
        with self._change:
            return sum(len(job.prompts) for job in self._jobs)

    def alive(self) -> bool:
        return self._thread.is_alive()

    def close(self, seconds: float = 10.0) -> None:
        """Refuses what waits, and lets the batch in work finish for so long."""
        with self._change:
            self._closed = True
            left = list(self._jobs)
            self._jobs.clear()
            self._change.notify()
        for job in left:
            if job.answer.set_running_or_notify_cancel():
                job.answer.set_exception(Refusal(503, "the server is stopping"))
        self._thread.join(seconds)

    def _work(self) -> None:
        while jobs := self._take():
            wanted = [job for job in jobs if _wanted(job)]
            if wanted:
                self._answer(wanted)

    def _take(self) -> list[Job]:
        """Jobs of one kind that make a batch, the oldest first; none when closed."""
        with self._change:
            while not self._jobs and not self._closed:
                self._change.wait()
            if self._closed:
                return []
            kind, end = self._jobs[0].kind(), self._jobs[0].arrived + self.how.wait
            while self._gathered(kind) < self.how.batch and not self._closed:
                left = end - time.monotonic()
                if left <= 0 or not self._change.wait(left):
                    break
            return self._picked(kind)

    def _gathered(self, kind: tuple[object, ...]) -> int:
        return sum(len(job.prompts) for job in self._jobs if job.kind() == kind)

    def _picked(self, kind: tuple[object, ...]) -> list[Job]:
        """Takes jobs of this kind out of the queue, up to a batch; one larger goes alone."""
        picked, count = [], 0
        for job in [j for j in self._jobs if j.kind() == kind]:
            if picked and count + len(job.prompts) > self.how.batch:
                break
            picked.append(job)
            count += len(job.prompts)
            self._jobs.remove(job)
        return picked

    def _answer(self, jobs: list[Job]) -> None:
        """Answers every job; if a batch of several fails, each alone: one harms no other."""
        try:
            prompts = [p for job in jobs for p in job.prompts]
            values = self._score(torch.cat([job.media for job in jobs]), prompts)
        except BaseException as error:  # whatever it was, the thread goes on and the client hears
            if len(jobs) == 1:
                jobs[0].answer.set_exception(error)
                return
            for job in jobs:
                self._answer([job])
            return
        for job, part in zip(jobs, values.split([len(job.prompts) for job in jobs])):
            job.answer.set_result(part.tolist())

    def _score(self, media: Tensor, prompts: Sequence[str]) -> Tensor:
        """The checked answers, a batch at a time."""
        size, parts = self.how.batch, []
        for start in range(0, len(prompts), size):
            piece, words = media[start : start + size], prompts[start : start + size]
            begun = time.perf_counter()
            moved = restored(piece.to(self.how.device))
            parts.append(scored(self.name, self.reward, moved, words).cpu())
            self.note(len(words), time.perf_counter() - begun)
        return torch.cat(parts)


def _wanted(job: Job) -> bool:
    """False for a job whose client has gone or waits no longer."""
    if not job.answer.set_running_or_notify_cancel():
        return False
    if time.monotonic() <= job.until:
        return True
    job.answer.set_exception(Refusal(504, "the time of the request passed while it waited"))
    return False
