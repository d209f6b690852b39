"""Trainers of every method on tiny networks, and a spy that asks every reading on the way."""

from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scoreward.commands.train import build
from scoreward.core.keys import Key
from scoreward.core.policy import Policy
from scoreward.core.rows import Rows
from scoreward.methods.texts import LOSSES
from scoreward.models.builtin.portraits import portraits
from scoreward.models.builtin.transformer import NetworkSize, fresh
from scoreward.models.lora import LoRA, add_lora
from scoreward.models.texts.loading import LanguageLoading
from scoreward.objectives.base import Objective
from scoreward.training.geometry import Geometry
from scoreward.training.guards import Guards
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Run
from scoreward.training.sources.online import Online
from scoreward.training.sources.pairs import PairData, Preferences
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
from tests.objectives import texts
from tests.support.recipes import BUILT_IN, ON_PAIRS

SMALL = NetworkSize(hidden=16, depth=1, heads=2)
ADAPTERS = LoRA(rank=2, alpha=4.0)
PAIRED = [f"portraits_{method}" for method in ON_PAIRS]
PICTURES = [r for r in BUILT_IN if r.startswith("portraits_") and r != "portraits_pretrain"]
TEXTS = [f"text_{name}" for name in LOSSES]
ALL_PRECISIONS = ("no", "bf16")
SIZES = {
    "portraits_branch_grpo": (1, 8),
    "portraits_fdfo": (3, 2),
    "portraits_few_step": (4, 1),
    "portraits_temp_flow": (1, 54),  # six branches at each of nine steps
}
LOOSE = Guards(ratio_tolerance=1.0, ratio_limit=1e6)
FAST = Optimizer(lr=1e-2, ema=0.5)


def network(lora: bool) -> nn.Module:
    """A transformer of a few thousand weights, whose answers depend on all of them."""
    made = fresh(portraits.shape, SMALL, seed=1)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return add_lora(made, ADAPTERS) if lora else made


@cache
def recipe(name: str) -> Run:
    """A recipe with its smallest round; two updates of it where groups may be parted."""
    making = ["--making.prompts", "10", "--making.group", "3", "--making.held-out", "4"]
    making += ["--geometry.prompts", "3"]
    return build(name, making if name in PAIRED else [], "test")[0]


def pictured(name: str) -> tuple[Any, Any]:
    """Objective and source of a recipe on pictures, with the smallest round it can have."""
    run = recipe(name)
    prompts, group = SIZES.get(name, (2, 2))
    if name in PAIRED:
        x0, noise = ((Key(("readings", n)).normal(2, 4, *portraits.shape)) for n in ("x0", "noise"))
        gap = torch.tensor([0.4, 0.1, 0.7, 0.3])
        data = PairData(x0[0], x0[1], list(WORDS), gap, noise[0], noise[1])
        return run.objective, Preferences(data, Geometry(prompts=4, group=2), 0.0)
    sizes = replace(run.source.geometry, prompts=prompts, group=group, micro_batch=16)
    sizes = replace(sizes, minibatches=1)  # the live network then stays one until the end
    source: Any = replace(run.source, geometry=sizes)  # pyright: ignore
    if isinstance(source, Online):
        source = replace(source, rewards={"red": redness}, weights={})
    return run.objective, source


def redness(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """A reward in which no two pictures are equal."""
    return 10 * (media[:, 0].flatten(1).mean(1) - 0.5)


WORDS = ("a man with brown hair", "a woman in blue", "a man in green", "a woman with black hair")


def trainer(name: str, precision: str, lora: bool, folder: Path) -> Trainer:
    """A fresh trainer of one method; all of them move their weights a lot in a round."""
    if name in TEXTS:
        return text_trainer(name.removeprefix("text_"), precision, lora, folder)
    objective, source = pictured(name)
    model = portraits.around(network(lora))
    return Trainer(model, objective, source, FAST, Team(precision), guards=LOOSE)


def text_trainer(name: Any, precision: str, lora: bool, folder: Path) -> Trainer:
    loading = LanguageLoading(adapters=lora, lora=LoRA(2, 4.0, ("q_proj", "v_proj", "down_proj")))
    model, geometry = texts.SIZES.build(loading), Geometry(prompts=4, group=1)
    plain = texts.trainer_of(texts.named(name), folder, texts.tales(4), geometry, model)
    return Trainer(plain.model, plain.objective, plain.source, FAST, Team(precision), guards=LOOSE)


def question(name: str, model: Any) -> tuple[Any, Any, Any]:
    """What a reading is asked: some state of pictures, or some text."""
    if name in TEXTS:
        rows = model.padded([model.text.sequence(t.prompt, t.chosen) for t in texts.tales(2)])
        return rows.token, rows.mask, None
    x = Key(("readings", "x_t")).normal(2, *portraits.shape)
    return x, torch.tensor([0.3, 0.8]), model.encode(WORDS[:2])


def said(answer: Any) -> Tensor:
    """An answer as one tensor."""
    return answer.log_prob if hasattr(answer, "log_prob") else answer.as_("velocity")


@dataclass
class Spy:
    """Asks the live network and then all other readings wherever an objective is called."""

    asked: tuple[Any, Any, Any]
    heard: list[tuple[str, str, Tensor]] = field(default_factory=list)
    plain: list[bool] = field(default_factory=list)  # whether autocast was off there

    @torch.no_grad()
    def ask(self, where: str, policy: Policy) -> None:
        self.plain.append(not torch.is_autocast_enabled("cpu"))
        for name in ("current", "reference", "old", "slow", "current"):
            reading = getattr(policy, name, None)  # no slow average of texts
            if reading is not None:
                self.heard.append((where, name, said(reading(*self.asked))))


def spied(objective: Objective, spy: Spy) -> Any:
    """The same objective, whose methods tell `spy` first."""
    kind: Any = type(objective)

    class Spied(kind):
        def prepare(self, samples: Any, policy: Policy, key: Key) -> Rows:
            spy.ask("prepare", policy)
            return super().prepare(samples, policy, key)

        def loss(self, rows: Rows, policy: Policy) -> tuple[Tensor, dict[str, Tensor]]:
            spy.ask("loss", policy)
            return super().loss(rows, policy)

    twin = copy(objective)
    object.__setattr__(twin, "__class__", Spied)
    return twin


def copied(trainer: Trainer, precision: str, weights: dict[str, Tensor] | None = None) -> Callable:
    """The same model elsewhere, with other trained weights: what a reading must answer as."""
    twin = deepcopy(trainer.model)
    if weights is not None:
        with torch.no_grad():
            for name, parameter in twin.network.named_parameters():
                if name in weights:
                    parameter.copy_(weights[name])

    @torch.no_grad()
    def answer(*asked: Any) -> Tensor:
        on = precision != "no"
        with torch.autocast("cpu", torch.bfloat16, enabled=on):
            return said(twin.reading(*asked))

    return answer
