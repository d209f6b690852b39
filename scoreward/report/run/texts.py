"""What a language model wrote for the same prompts before and after."""

from dataclasses import dataclass

from scoreward.report.folder import SavedRun, items, number, section
from scoreward.report.words import label, show

LONGEST = 1200  # characters of a text; ours


@dataclass(frozen=True)
class TextSample:
    """One text with its scores in words."""

    label: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class Written:
    """The first and the last text of one prompt; there may be only one."""

    prompt: str
    before: TextSample
    after: TextSample | None = None


def written(run: SavedRun) -> list[Written]:
    """A card a prompt, in the order of the evaluation."""
    kept = sorted(int(k) for k in section(run.texts, "texts") if k.isdigit())
    prompts = items(run.texts, "prompts")
    if not kept:
        return []
    last = kept[-1] if len(kept) > 1 else None
    return [
        Written(
            _cut(str(prompt)),
            _writing(run, kept[0], i),
            None if last is None else _writing(run, last, i),
        )
        for i, prompt in enumerate(prompts)
    ]


def _writing(run: SavedRun, round_: int, index: int) -> TextSample:
    texts = items(section(run.texts, "texts"), str(round_))
    text = str(texts[index]) if index < len(texts) else ""
    scores = section(run.texts, "scores", str(round_), "held_out")
    notes = [
        f"{label(name).lower()} {show(number(values[index]))}"
        for name, values in scores.items()
        if isinstance(values, list) and index < len(values)
    ]
    when = "Before training" if round_ == 0 else f"After round {round_}"
    return TextSample(when, _cut(text.strip()), ", ".join(notes))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"
