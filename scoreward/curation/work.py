"""Which pictures are tried, and one batch of them on its way through all stages.

The order of work and the batches are fixed by the prompts and the plan alone, and every item has
its own keys; so it does not matter who does a batch, or how often one is begun.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from PIL.Image import Image

from scoreward.core.keys import Key
from scoreward.curation.pictures import PictureStore, scores
from scoreward.curation.records import Candidate, PairEntry, Rejected
from scoreward.curation.stages import Edit, Pipeline, Plan
from scoreward.data.holding import Held, cut, plain, share_of

UNSAFE = "not safe"
NOTHING = "nothing to fix"
USE = "curation"  # the salt of what is held out here
T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """The attempt at a pair of one prompt."""

    prompt: str
    attempt: int

    @property
    def id(self) -> str:
        digest = hashlib.sha256(self.prompt.encode()).hexdigest()
        return f"{digest[:16]}-{self.attempt}"

    def key(self, seed: int) -> Key:
        return Key(("curate", seed, "prompt", self.prompt, "attempt", self.attempt))


@dataclass(frozen=True)
class Agenda:
    """All batches in order, and what was set aside before."""

    batches: tuple[tuple[Item, ...], ...]
    held_out: tuple[str, ...]
    repeated: int  # prompts that were there before, up to spaces and capitals
    held: Held


def agenda(prompts: Sequence[str], plan: Plan) -> Agenda:
    """Every prompt once, then every prompt again; held-out ones never.  Raises ValueError."""
    once = {plain(prompt): prompt for prompt in reversed(prompts)}
    first = [once[plain] for plain in dict.fromkeys(plain(p) for p in prompts)]
    if not first:
        raise ValueError("curation needs at least one prompt, got none")
    parts = cut([plain(p) for p in first], plan.held_out, USE)
    aside, used = tuple(first[i] for i in parts.away), [first[i] for i in parts.kept]
    items = [Item(prompt, attempt) for attempt in range(plan.attempts) for prompt in used]
    size = plan.batch
    batches = tuple(tuple(items[i : i + size]) for i in range(0, len(items), size))
    return Agenda(batches, aside, len(prompts) - len(first), parts.count("prompts"))


def held_out(prompt: str, share: float) -> bool:
    """Whether the hash of a prompt's words falls into the share."""
    return share_of(plain(prompt), USE) < share


@dataclass
class Seconds:
    """Time spent in each stage."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.spent[stage] = self.spent.get(stage, 0.0) + time.perf_counter() - start


def worked(
    pipeline: Pipeline, items: Sequence[Item], seed: int, store: PictureStore, seconds: Seconds
) -> list[PairEntry]:
    """The entries of one batch, in order, their pictures in the store."""
    batch = _Batch(pipeline, items, seed, store)
    stages = {
        "generate": batch.generate,
        "critique": batch.criticise,
        "instruct": batch.instruct,
        "edit": batch.edit,
        "judge": batch.judge,
    }
    for name, work in stages.items():
        with seconds.of(name):
            work()
    return batch.entries


class _Batch:
    """The entries of a batch as they grow; those with a reason go no further."""

    def __init__(
        self, pipeline: Pipeline, items: Sequence[Item], seed: int, store: PictureStore
    ) -> None:
        self.pipeline, self.items, self.seed, self.store = pipeline, items, seed, store
        self.entries: list[PairEntry] = []
        self.images: list[Image] = []
        self.edits: dict[int, list[Image]] = {}

    @property
    def live(self) -> list[int]:
        return [i for i, one in enumerate(self.entries) if not one.reason]

    def _set(self, i: int, **changes: object) -> None:
        self.entries[i] = replace(self.entries[i], **changes)  # pyright: ignore[reportArgumentType]

    def _of(self, rows: Sequence[int]) -> tuple[list[str], list[Image]]:
        return [self.entries[i].prompt for i in rows], [self.images[i] for i in rows]

    def generate(self) -> None:
        items = self.items
        prompts, keys = [i.prompt for i in items], [i.key(self.seed) / "generate" for i in items]
        self.images = _as_many("generator", self.pipeline.generator(prompts, keys), len(items))
        made_by = self.pipeline.made_by
        self.entries = [
            PairEntry(i.id, i.prompt, i.attempt, self.seed, made_by, image=self.store.put(image))
            for i, image in zip(items, self.images)
        ]
        self._check_safe(range(len(items)), self.images)

    def _check_safe(self, rows: Sequence[int], images: Sequence[Image]) -> None:
        if self.pipeline.safe is None or not rows:
            return
        safe = self.pipeline.safe([self.entries[i].prompt for i in rows], images)
        for i, good in zip(rows, _as_many("safety check", safe, len(rows))):
            if not good:
                self._set(i, reason=UNSAFE)

    def criticise(self) -> None:
        rows = self.live
        critiques = self.pipeline.critic(*self._of(rows)) if rows else []
        for i, critique in zip(rows, _as_many("critic", critiques, len(rows))):
            if isinstance(critique, Rejected):
                self._set(i, reason=f"critique: {critique.reason}", critique_raw=critique.raw)
            else:
                raw, plain = critique.raw, replace(critique, raw="")
                self._set(i, stage="critiqued", critique=plain, critique_raw=raw)

    def instruct(self) -> None:
        rows = self.live
        critiques = [c for i in rows if (c := self.entries[i].critique) is not None]
        answers = self.pipeline.instructor(*self._of(rows), critiques) if rows else []
        for i, answer in zip(rows, _as_many("instructor", answers, len(rows))):
            if isinstance(answer, Rejected):
                reason = f"instructions: {answer.reason}"
                self._set(i, reason=reason, instructions_raw=answer.raw)
            else:
                self._set(i, instructions=answer.lines, instructions_raw=answer.raw)
                self._set(i, **({"stage": "instructed"} if answer.lines else {"reason": NOTHING}))

    def edit(self) -> None:
        """All candidates of all entries in one call."""
        rows, plan = self.live, self.pipeline.plan
        pairs = [(i, n) for i in rows for n in range(plan.candidates)]
        keys = [self.items[i].key(self.seed) / "edit" / n for i, n in pairs]
        edits = []
        for i, _ in pairs:
            one = self.entries[i]
            if one.critique is None:
                raise TypeError(f"entry {one.id} has instructions and no critique")
            edits.append(Edit(self.images[i], one.prompt, one.critique, one.instructions))
        edited = self.pipeline.editor(edits, keys) if pairs else []
        edited = _as_many("editor", edited, len(pairs))
        before = [edit.image for edit in edits]
        alike = self.pipeline.similarity(before, edited) if pairs else []
        alike = _as_many("similarity", alike, len(pairs))
        for i in rows:
            mine = [k for k, (row, _) in enumerate(pairs) if row == i]
            self.edits[i] = [edited[k] for k in mine]
            names = [self.store.put(edited[k]) for k in mine]
            tried = [Candidate(name, pairs[k][1], alike[k]) for name, k in zip(names, mine)]
            self._set(i, stage="edited", candidates=tuple(tried))

    def judge(self) -> None:
        """The best candidate that is an edit at all, then the verdict of the rules."""
        self._score_candidates()
        for i in self.live:
            self._choose(i)
        self._check_safe(self.live, [self._edited(i) for i in self.live])
        rows = self.live
        judging = self.pipeline.judging or {}
        prompts, images = self._of(rows)
        edited = [self._edited(i) for i in rows]
        before, after = (
            scores(judging, some, prompts, self.pipeline.device) if rows else []
            for some in (images, edited)
        )
        rules, deciding = self.pipeline.rules, list(self.pipeline.deciding)
        for i, original, edit in zip(rows, before, after):
            one = self.entries[i]
            label, reason = rules.label(one.margins, deciding, list(self.pipeline.auditing or {}))
            independent = {name: value - original[name] for name, value in edit.items()}
            self._set(
                i,
                stage="judged" if reason else "kept",
                reason=reason,
                label=label,
                scores_original={**one.scores_original, **original},
                scores_edited={**one.scores_edited, **edit},
                margins={**one.margins, **independent},
            )

    def _score_candidates(self) -> None:
        rows = self.live
        rewards = {**self.pipeline.deciding, **(self.pipeline.auditing or {})}
        count, device = self.pipeline.plan.candidates, self.pipeline.device
        prompts = [self.entries[i].prompt for i in rows]
        before = scores(rewards, [self.images[i] for i in rows], prompts, device)
        edits = [image for i in rows for image in self.edits[i]]
        after = scores(rewards, edits, [p for p in prompts for _ in range(count)], device)
        for k, i in enumerate(rows):
            mine = zip(self.entries[i].candidates, after[k * count : (k + 1) * count])
            tried = tuple(replace(one, scores=values) for one, values in mine)
            self._set(i, candidates=tried, scores_original=before[k])

    def _choose(self, i: int) -> None:
        tried = self.entries[i].candidates
        faults = [self.pipeline.rules.changed(one.similarity) for one in tried]
        real = [one for one, fault in zip(tried, faults) if not fault]
        if not real:
            most = max(faults, key=faults.count)
            self._set(i, reason=most)
            return
        # the first with the best mean rank over the deciding rewards: their units may differ
        each, names = [one.scores for one in real], list(self.pipeline.deciding)
        ranks = [sum(sum(a[n] > b[n] for b in each) for n in names) for a in each]
        best = real[ranks.index(max(ranks))]
        before = self.entries[i].scores_original
        margins = {name: value - before[name] for name, value in best.scores.items()}
        self._set(
            i,
            stage="judged",
            edited=best.image,
            similarity=best.similarity,
            scores_edited=best.scores,
            margins=margins,
        )

    def _edited(self, i: int) -> Image:
        names = [one.image for one in self.entries[i].candidates]
        return self.edits[i][names.index(self.entries[i].edited)]


def _as_many(stage: str, results: Sequence[T], count: int) -> list[T]:
    if len(results) != count:
        raise ValueError(f"the {stage} returned {len(results)} for {count}; expected as many")
    return list(results)
