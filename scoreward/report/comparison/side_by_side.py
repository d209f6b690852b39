"""Pictures of several runs: the same prompts and noise, one row per method."""

from dataclasses import dataclass

from scoreward.report.comparison.comparison import TaskRuns
from scoreward.report.run.samples import Sheets, Tile, read_sheets

ACROSS = 8  # prompts side by side; ours
MOST = 24  # prompts shown in all; ours


@dataclass(frozen=True)
class Strip:
    """One row of pictures."""

    label: str
    tiles: list[Tile]


@dataclass(frozen=True)
class PromptBlock:
    """Some prompts, and the pictures of every run for them."""

    prompts: list[str]
    strips: list[Strip]


@dataclass(frozen=True)
class Sheet:
    """All blocks, and how small pictures are to be shown."""

    blocks: list[PromptBlock]
    sharp: bool
    same_start: bool
    marked: bool


@dataclass(frozen=True)
class MethodPictures:
    """One method's pictures: those of its first run that kept any."""

    name: str
    sheets: Sheets

    @property
    def first(self) -> int:
        return min(self.sheets.pictures)

    @property
    def last(self) -> int:
        return max(self.sheets.pictures)

    def tile(self, prompt: str, round_: int) -> Tile:
        index = self.sheets.prompts.index(prompt)
        return self.sheets.tile(round_, index, f"{self.name}, round {round_}: {prompt}")

    def has(self, prompt: str) -> bool:
        """Whether the prompt is in the first and in the last sheet."""
        counts = [len(self.sheets.pictures[r]) for r in (self.first, self.last)]
        return prompt in self.sheets.prompts[: min(counts)]


def sheet(task: TaskRuns) -> Sheet | None:
    """The prompts that all shown runs share; None if no run kept pictures."""
    shown = []
    for method in task.methods:
        runs = [c.run for c in method.curves if c.run is not None]
        sheets = next((s for s in map(read_sheets, runs) if s.pictures), None)
        if sheets is not None:
            shown.append(MethodPictures(method.name, sheets))
    if not shown:
        return None
    prompts = [p for p in dict.fromkeys(shown[0].sheets.prompts) if all(s.has(p) for s in shown)]
    prompts = prompts[:MOST]
    starts = [[one.tile(p, one.first).uri for p in prompts] for one in shown]
    same = all(start == starts[0] for start in starts)
    blocks = [_block(shown, prompts[i : i + ACROSS], same) for i in range(0, len(prompts), ACROSS)]
    marked = any(any(s.sheets.right.values()) for s in shown)
    return Sheet(blocks, shown[0].sheets.sharp, same, marked) if blocks else None


def _block(shown: list[MethodPictures], prompts: list[str], same: bool) -> PromptBlock:
    """Before once if all runs started from the same pictures, else before every after."""
    strips = [Strip("before", [shown[0].tile(p, shown[0].first) for p in prompts])] if same else []
    for one in shown:
        if not same:
            before = [one.tile(p, one.first) for p in prompts]
            strips.append(Strip(f"{one.name}, before", before))
        if one.last > one.first:
            strips.append(Strip(one.name, [one.tile(p, one.last) for p in prompts]))
    return PromptBlock(prompts, strips)
