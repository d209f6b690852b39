"""Curation in a folder: work that may be killed at any moment and goes on where it was.

Workers do whole batches; only this process writes the manifest, in the order of the agenda, and
only after a batch's pictures are in the store. What a resumed run finds is therefore the beginning
of what an unbroken run writes, and the rest comes out the same.
"""

import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import sha256
from math import ceil
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any, TextIO

import torch

from scoreward.curation.manifest import Manifest, write_aside
from scoreward.curation.pictures import PictureStore
from scoreward.curation.records import PairEntry
from scoreward.curation.stages import Pipeline
from scoreward.curation.work import Agenda, Item, Seconds, agenda, worked

DUPLICATE = "duplicate picture"
ENOUGH = "prompt has its pairs"
ABOUT, MANIFEST, COSTS, PICTURES = "curation.json", "manifest.jsonl", "costs.jsonl", "pictures"
Build = Callable[[], Pipeline]
"""Makes the pipeline; called once in every worker, so it must be importable there."""


class CurationError(ValueError):
    """A folder that holds something else."""


@dataclass(frozen=True)
class Progress:
    """Where a curation stands; counts are of entries."""

    batch: int
    batches: int
    entries: int
    stages: Counter[str]
    reasons: Counter[str]
    kept: int
    wanted: int
    begun: int = 0  # batches with an entry in the manifest

    @property
    def finished(self) -> bool:
        enough = self.kept >= self.wanted and self.batch >= self.begun
        return enough or self.batch == self.batches


@dataclass(frozen=True)
class Curation:
    """What is to be made, where, and by how many processes."""

    build: Build
    folder: Path
    pairs: int
    seed: int = 0
    workers: int = 1
    threads: int = 1  # of each process; the number can change the last bits of a picture

    def __post_init__(self) -> None:
        for name in ("pairs", "workers", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")

    @cached_property
    def pipeline(self) -> Pipeline:
        torch.set_num_threads(self.threads)
        return self.build()

    @cached_property
    def agenda(self) -> Agenda:
        return agenda(self.pipeline.prompts, self.pipeline.plan)

    @property
    def wanted(self) -> int:
        """Pairs to keep, so that the `top` share of them is as many as asked for."""
        return ceil(self.pairs / self.pipeline.rules.top)

    def steps(self) -> Iterator[Progress]:
        """Do what is left, one batch at a time.  Raises CurationError, ValueError."""
        _ = self.pipeline  # what cannot be built leaves no folder behind
        self.folder.mkdir(parents=True, exist_ok=True)
        with _alone(self.folder):
            self._describe()
            ledger = Ledger(Manifest(self.folder / MANIFEST), self.pipeline.rules.per_prompt)
            done = self._done(ledger)
            yield self._progress(ledger, done)
            if not self._progress(ledger, done).finished:
                yield from self._work(ledger, done)

    def _work(self, ledger: "Ledger", done: int) -> Iterator[Progress]:
        """Batches come back in order, so the manifest does not depend on who was faster."""
        with (
            self._crew() as (send, ahead),
            (self.folder / COSTS).open("a", encoding="utf-8") as costs,
        ):
            waiting: deque[Future[BatchResult]] = deque()
            sent = done
            for number in range(done, len(self.agenda.batches)):
                while sent < len(self.agenda.batches) and len(waiting) < ahead:
                    waiting.append(send(self.agenda.batches[sent]))
                    sent += 1
                result = waiting.popleft().result()
                ledger.admit(result.entries)
                costs.write(json.dumps({"batch": number, "seconds": result.seconds}) + "\n")
                costs.flush()
                progress = self._progress(ledger, number + 1)
                yield progress
                if progress.finished:
                    break

    def _done(self, ledger: "Ledger") -> int:
        """Batches that are in the manifest with all their pictures."""
        store, known = PictureStore(self.folder / PICTURES), ledger.manifest.entries
        for number, batch in enumerate(self.agenda.batches):
            for item in batch:
                if item.id not in known or not all(map(store.has, known[item.id].pictures)):
                    return number
        return len(self.agenda.batches)

    def _progress(self, ledger: "Ledger", batch: int) -> Progress:
        # entries are written in the order of the agenda
        begun = ceil(len(ledger.manifest.entries) / self.pipeline.plan.batch)
        return Progress(
            batch,
            len(self.agenda.batches),
            len(ledger.manifest.entries),
            ledger.stages,
            ledger.reasons,
            ledger.kept,
            self.wanted,
            max(batch, begun),
        )

    def _describe(self) -> None:
        """Write what is made here, or check that the folder holds the same."""
        path, mine = self.folder / ABOUT, self.about
        if not path.exists():
            if (self.folder / MANIFEST).exists():
                raise CurationError(f"{self.folder} has a manifest and no {ABOUT}")
            held_out = "".join(f"{text}\n" for text in self.agenda.held_out)
            write_aside(self.folder / "held_out.txt", held_out)
            write_aside(path, json.dumps(mine, indent=1, ensure_ascii=False))
            return
        there = about(self.folder)
        if different := [name for name in mine if there.get(name) != mine[name]]:
            name = different[0]
            raise CurationError(
                f"{self.folder} holds a curation with {name} = {there.get(name)!r}, now it is "
                f"{mine[name]!r}; use the same settings to go on, or another --folder"
            )

    @property
    def about(self) -> dict[str, object]:
        """Everything that the result depends on, as JSON holds it."""
        pipeline = self.pipeline
        facts = {
            "name": pipeline.name,
            "seed": self.seed,
            "threads": self.threads,
            "prompts": sha256("\n".join(pipeline.prompts).encode()).hexdigest(),
            "distinct_prompts": len(pipeline.prompts) - self.agenda.repeated,
            "repeated_prompts": self.agenda.repeated,
            "held_out_prompts": len(self.agenda.held_out),
            "held_out": self.agenda.held.told,
            "made_by": pipeline.made_by,
            "evaluations": {
                "generator": pipeline.generator.evaluations,
                "editor": pipeline.editor.evaluations,
            },
            "rules": asdict(pipeline.rules),
            "plan": asdict(pipeline.plan),
        }
        return json.loads(json.dumps(facts))

    @contextmanager
    def _crew(self) -> Iterator[tuple["Send", int]]:
        """What does a batch, here or in processes that build the pipeline; how many to send ahead.

        Each of the processes does whole batches.
        """
        store = PictureStore(self.folder / PICTURES)
        if self.workers == 1:

            def here(items: tuple[Item, ...]) -> Future[BatchResult]:
                future: Future[BatchResult] = Future()
                future.set_result(_done_batch(self.pipeline, items, self.seed, store))
                return future

            yield here, 1
            return
        pool = ProcessPoolExecutor(
            self.workers,
            get_context("spawn"),
            initializer=_begin,
            initargs=(self.build, self.threads),
        )
        try:
            yield lambda items: pool.submit(_in_worker, items, self.seed, store), 2 * self.workers
        finally:
            pool.shutdown(cancel_futures=True)


class Ledger:
    """The manifest and the rules that look at more than one entry."""

    def __init__(self, manifest: Manifest, per_prompt: int) -> None:
        self.manifest, self.per_prompt = manifest, per_prompt
        self.stages: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.prompts: Counter[str] = Counter()  # pairs
        self.pictures: set[str] = set()  # first pictures, of all; edited ones, of pairs
        for one in manifest.entries.values():
            self._count(one)

    @property
    def kept(self) -> int:
        return self.stages["kept"]

    def admit(self, entries: list[PairEntry]) -> None:
        """Append those that are not there yet."""
        for one in entries:
            if one.id not in self.manifest.entries:
                reason = ""
                if one.image in self.pictures or (one.kept and one.edited in self.pictures):
                    reason = DUPLICATE
                elif one.kept and self.prompts[one.prompt] >= self.per_prompt:
                    reason = ENOUGH
                if reason:
                    one = replace(one, stage="judged" if one.kept else one.stage, reason=reason)
                self.manifest.append([one])
                self._count(one)

    def _count(self, one: PairEntry) -> None:
        self.stages[one.stage] += 1
        self.pictures.add(one.image)
        if one.kept:
            self.prompts[one.prompt] += 1
            self.pictures.add(one.edited)
        else:
            self.reasons[one.reason] += 1


@dataclass(frozen=True)
class BatchResult:
    """A batch that was worked, and the time of each stage."""

    entries: list[PairEntry]
    seconds: dict[str, float]


Send = Callable[[tuple[Item, ...]], Future[BatchResult]]
_PIPELINE: list[Pipeline] = []  # of a worker process


def _begin(build: Build, threads: int) -> None:
    torch.set_num_threads(threads)
    Thread(target=_leave_with_parent, daemon=True).start()
    _PIPELINE[:] = [build()]


def _leave_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _in_worker(items: tuple[Item, ...], seed: int, store: PictureStore) -> BatchResult:
    return _done_batch(_PIPELINE[0], items, seed, store)


def _done_batch(
    pipeline: Pipeline, items: tuple[Item, ...], seed: int, store: PictureStore
) -> BatchResult:
    seconds = Seconds()
    entries = worked(pipeline, items, seed, store, seconds)
    return BatchResult(entries, seconds.spent)


def about(folder: Path) -> dict[str, Any]:
    """curation.json.  Raises CurationError."""
    try:
        return json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CurationError(f"{folder / ABOUT} cannot be read: {error}") from None


@contextmanager
def _alone(folder: Path) -> Iterator[TextIO]:
    """One curation at a time in a folder; the lock goes with the process."""
    import fcntl

    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CurationError(f"another curation is at work in {folder}") from None
        yield lock
