"""Micro-batches: requests that come at about the same time are scored together.

Each reward has two threads. One takes what waits, up to a batch, or what has come some milliseconds
after the first, and makes it ready; the other scores, so that neither waits for the other. A served
reward must score each sample by itself: one that looks at its whole batch, like `Variety`, would
see strangers' samples.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue

import torch
from torch import Tensor

from scoreward.rewards.base import Reward, scored
from scoreward.rewards.encodings import restored
from scoreward.rewards.remote.wire import Refusal


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

    def claimed(self) -> bool:
        """False if the client has gone or waits no longer."""
        if not self.answer.set_running_or_notify_cancel():
            return False
        if time.monotonic() <= self.until:
            return True
        self.answer.set_exception(Refusal(504, "the time of the request passed while it waited"))
        return False

    def kind(self) -> tuple[object, ...]:
        """Only media of the same kind can be joined."""
        return (self.media.dtype, *self.media.shape[1:])


@dataclass(frozen=True)
class Ready:
    """Jobs whose media are joined, in [0, 1] and where the reward wants them."""

    jobs: list[Job]
    media: Tensor

    def each(self) -> list["Ready"]:
        """The same, every job alone."""
        parts = self.media.split([len(job.prompts) for job in self.jobs])
        return [Ready([job], part) for job, part in zip(self.jobs, parts)]


class Batcher:
    """The queue and the threads of one reward; `note(samples, seconds)` hears of every batch."""

    def __init__(
        self, name: str, reward: Reward, how: Batching, note: Callable[[int, float], None]
    ) -> None:
        self.name, self.reward, self.how, self.note = name, reward, how, note
        self._jobs: deque[Job] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._free = threading.Semaphore(1)  # for one batch made ready while another is scored
        self._ready: SimpleQueue[Ready | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=work, name=f"reward {name}", daemon=True)
            for work in (self._gather, self._work)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

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
        return all(thread.is_alive() for thread in self._threads)

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
        for thread in self._threads:
            if thread.is_alive():
                thread.join(seconds)

    def _gather(self) -> None:
        """The first thread: makes batches ready, one ahead."""
        while self._free.acquire() and (taken := self._take()):
            jobs = [job for job in taken if job.claimed()]
            if not jobs:
                self._free.release()
                continue
            try:
                media = torch.cat([job.media for job in jobs]) if len(jobs) > 1 else jobs[0].media
                self._ready.put(Ready(jobs, restored(media.to(self.how.device))))
            except BaseException as error:  # the thread goes on, and the clients hear
                for job in jobs:
                    job.answer.set_exception(error)
                self._free.release()
        self._ready.put(None)

    def _work(self) -> None:
        """The second thread: scores them."""
        while (ready := self._ready.get()) is not None:
            self._free.release()
            self._answer(ready)

    def _take(self) -> list[Job]:
        """Jobs of one kind, the oldest first, up to a batch; none when closed."""
        with self._change:
            while not self._jobs and not self._closed:
                self._change.wait()
            if self._closed:
                return []
            kind, end = self._jobs[0].kind(), self._jobs[0].arrived + self.how.wait

            def alike() -> list[Job]:
                return [job for job in self._jobs if job.kind() == kind]

            while sum(len(job.prompts) for job in alike()) < self.how.batch and not self._closed:
                left = end - time.monotonic()
                if left <= 0 or not self._change.wait(left):
                    break
            picked, count = [], 0
            for job in alike():  # one larger than a batch goes alone
                if picked and count + len(job.prompts) > self.how.batch:
                    break
                picked.append(job)
                count += len(job.prompts)
                self._jobs.remove(job)
            return picked

    def _answer(self, ready: Ready) -> None:
        """Answers every job; if a batch of several fails, each alone: one harms no other."""
        jobs = ready.jobs
        try:
            values = self._score(ready.media, [p for job in jobs for p in job.prompts])
        except BaseException as error:  # whatever it was, the thread goes on and the client hears
            if len(jobs) == 1:
                jobs[0].answer.set_exception(error)
                return
            for one in ready.each():
                self._answer(one)
            return
        for job, part in zip(jobs, values.split([len(job.prompts) for job in jobs])):
            job.answer.set_result(part.tolist())

    def _score(self, media: Tensor, prompts: Sequence[str]) -> Tensor:
        """The checked answers, a batch at a time."""
        size, parts = self.how.batch, []
        for start in range(0, len(prompts), size):
            piece, words = media[start : start + size], prompts[start : start + size]
            begun = time.perf_counter()
            parts.append(scored(self.name, self.reward, piece, words).cpu())
            self.note(len(words), time.perf_counter() - begun)
        return torch.cat(parts)
