"""The two problems: instructions for SmolLM2, and strings for a tiny Llama trained on the spot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from scoreward.core.keys import Key
from scoreward.data import instructions
from scoreward.data.preferences.builtin import asked, instruction_groups
from scoreward.data.preferences.records import Prompt, TextGroup
from scoreward.methods.texts import TextMethod, measured
from scoreward.models.lora import LoRA
from scoreward.models.texts.generation import TextSampling, Writer
from scoreward.models.texts.language import LanguageModel
from scoreward.models.texts.loading import LanguageLoading, TinyLlama, load_language, smollm
from scoreward.objectives.base import Objective
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.references import ReferenceFile
from scoreward.training.sources.online import Source
from scoreward.training.sources.texts import PairSource, PairTexts
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer

PARTS = ("self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")


@dataclass(frozen=True)
class Task:
    """A model, groups of scored answers, prompts to write for, and the judge of what is written."""

    build: Callable[[], LanguageModel]
    train: Sequence[TextGroup]
    validation: Sequence[TextGroup]
    prompts: dict[str, Sequence[Prompt]]  # of validation and test
    strict: Callable[[Prompt, str], bool]
    score: Callable[[Prompt, str], float]
    writer: Writer
    batch: int  # pairs of an update
    micro: int
    updates: int
    rates: Sequence[float]  # learning rates, tried alike for every arm


def instructions_task(layers: int, folder: Path | None = None) -> Task:
    """SmolLM2-135M-Instruct, LoRA in its last layers: the others need no backward pass."""
    targets = tuple(f"{i}.{part}" for i in range(30 - layers, 30) for part in PARTS)
    loading = LanguageLoading(lora=LoRA(16, 32.0, targets), context=256)

    def build() -> LanguageModel:
        return smollm(loading) if folder is None else load_language(str(folder), loading)

    def of(prompt: Prompt) -> instructions.Exercise:
        return instructions.task_of(prompt if isinstance(prompt, str) else prompt[0]["content"])

    return Task(
        build,
        instruction_groups("train"),
        instruction_groups("validation"),
        {n: [asked(t.prompt) for t in instructions.split(n)] for n in ("validation", "test")},
        lambda prompt, text: of(prompt).strict(text),
        lambda prompt, text: of(prompt).score(text),
        Writer(TextSampling(0.8, 0.95, 48), batch=64),
        batch=16,
        micro=8,
        updates=60,
        rates=(1e-4, 3e-4, 1e-3),
    )


LETTERS = "abcdefgh"
TAUGHT = Path(__file__).parents[2] / "runs" / "preferences" / "clumsy.safetensors"


SPLITS = {"train": (0, 512), "pairs": (512, 640), "validation": (640, 1040), "test": (1040, 1680)}


@lru_cache(maxsize=4)
def string_prompts(split: str) -> tuple[str, ...]:
    """Four letters to be put in order; no prompt is in two splits."""
    every = ["".join(p) + ">" for p in permutations(LETTERS, 4)]
    order = Key(("strings",)).permutation(len(every)).tolist()
    return tuple(every[i] for i in order[slice(*SPLITS[split])])


def string_score(prompt: Prompt, text: str) -> float:
    """Share of the four places that hold the right letter, less a tenth for each letter beyond."""
    wanted, given = sorted(str(prompt)[:4]), text.replace(" ", "")
    right = sum(a == b for a, b in zip(given, wanted, strict=False)) / 4
    return max(0.0, right - 0.1 * max(len(given) - 4, 0))


def string_strict(prompt: Prompt, text: str) -> bool:
    return text == "".join(sorted(str(prompt)[:4]))


def clumsy(prompt: str, *address: object) -> str:
    """What the first model is taught: in order with slips, and now and then going on."""
    key = Key(("clumsy", prompt, *address))
    answer = sorted(prompt[:4])
    slip, place, more = (float(u) for u in key.uniform(3))
    if slip < 0.6:
        i = int(place * 3)
        answer[i], answer[i + 1] = answer[i + 1], answer[i]
    extra = [LETTERS[int(i)] for i in (key / "more").integers(len(LETTERS), 6)]
    return "".join(answer + extra[: int(more * 10) if more < 0.5 else 0])


@lru_cache(maxsize=1)
def clumsy_weights() -> dict[str, torch.Tensor]:
    """The same for all arms, kept on disk; takes a minute the first time."""
    if not TAUGHT.exists():
        TAUGHT.parent.mkdir(parents=True, exist_ok=True)
        save_file(taught(), TAUGHT)
    return load_file(TAUGHT)


def taught(updates: int = 600, batch: int = 64) -> dict[str, torch.Tensor]:
    """A tiny Llama taught to be clumsy; deterministic."""
    model = TinyLlama().build()
    every = [p for name in SPLITS for p in string_prompts(name)]
    key = Key(("clumsy",))
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=1e-3)
    for update in range(updates):
        chosen = (key / update).integers(len(every), batch).tolist()
        prompts = [every[i] for i in chosen]
        rows = [model.text.sequence(p, clumsy(p, update)) for p in prompts]
        said = model.padded(rows)
        log_prob = model.reading(said.token, said.mask, None).log_prob
        loss = -log_prob.sum() / said.mask.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {n: t.detach().clone() for n, t in model.network.state_dict().items()}


def strings_task() -> Task:
    """A 0.8-million-parameter Llama over bytes, all weights trained."""
    writer = Writer(TextSampling(1.0, 1.0, 12), batch=256)

    def build() -> LanguageModel:
        model = TinyLlama().build()
        model.network.load_state_dict(clumsy_weights())
        return model

    model = build()

    def groups(name: str) -> list[TextGroup]:
        prompts = string_prompts(name)
        texts = writer(model, [p for p in prompts for _ in range(6)], 0)
        made: list[TextGroup] = []
        for i, prompt in enumerate(prompts):
            mine = [t for t in dict.fromkeys(texts[6 * i : 6 * i + 6]) if t]
            scores = [string_score(prompt, t) for t in mine]
            made.append(TextGroup(prompt, mine, scores, f"{name}-{i}"))
        return made

    held: dict[str, Sequence[Prompt]] = {n: string_prompts(n) for n in ("validation", "test")}
    return Task(
        build,
        groups("train"),
        groups("pairs"),
        held,
        string_strict,
        string_score,
        writer,
        batch=32,
        micro=32,
        updates=80,
        rates=(1e-4, 3e-4, 1e-3),
    )


def source(model: LanguageModel, pairs: Sequence, method: TextMethod, task: Task) -> Source:
    measure = measured(method)
    asked_of = ReferenceFile(measure.reference, measure.entropy)
    geometry = Geometry(prompts=task.batch, group=1, micro_batch=task.micro)
    return PairSource(PairTexts(model, pairs, asked_of), geometry)


def trainer(
    model: LanguageModel, objective: Objective, made: Source, rate: float, seed: int, updates: int
) -> Trainer:
    """The library's trainer with the settings that all arms share."""
    optimizer = Optimizer(lr=rate, warmup=5, decay="linear", ema=0.0, total=updates)
    return Trainer(model, objective, made, optimizer, Team(), seed=seed)
