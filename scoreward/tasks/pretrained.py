"""Tasks on pretrained diffusers models: which model, how it is loaded, sizes that suit it.

Nothing here has been run on the real weights (docs/real_models.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from scoreward.core.advantage import Advantages
from scoreward.core.process import time_grid
from scoreward.data.captioned import captioned
from scoreward.data.holding import Held, cut, unseen
from scoreward.methods.base import Given, Method, Place, Setting, Settings, Shared
from scoreward.methods.drawn import Drawn
from scoreward.methods.sampling import Noisy, Sampling
from scoreward.methods.stored import OnPairs, OnPictures, Paired, StoredPlace, WithPictures
from scoreward.models.base import Model
from scoreward.models.diffusers import Loading, load
from scoreward.tasks.base import Goal, Task, told
from scoreward.tasks.pairs import from_file, holds_labels, labels
from scoreward.training.evaluations.gap import Gap
from scoreward.training.evaluations.pictures import Evaluation
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget


@dataclass(frozen=True)
class Measured:
    """What to measure on held-out prompts, by the ODE and by an SDE."""

    prompts: int = 32
    every: int = 20  # rounds
    steps: int = 40  # as the model is used, not as it is trained
    eta: float = 1.0  # of the SDE
    spread_prompts: int = 4  # prompts whose diversity is measured
    noises: int = 4  # noises for each of them
    batch: int = 8  # samples at once; memory only
    gap: Gap = Gap(steps=(40,), prompts=8, noises=1)  # noises and grids to compare besides

    def evaluation(self, model: Model, goal: Goal, prompts: Sequence[str]) -> Evaluation:
        """The evaluation of a run."""
        times, video = model.grid(self.steps), is_video(model)
        return Evaluation(
            prompts=prompts[: self.prompts],
            samplers={
                "ode": Sampling(steps=self.steps).sampler(times),
                "sde": Sampling(steps=self.steps, eta=self.eta).sampler(times),
            },
            scorers=goal.measured(video) | goal.judges(video),
            spread_prompts=self.spread_prompts,
            noises=self.noises,
            every=self.every,
            batch=self.batch,
            gap=self.gap,
        )


def grid(model: Model, steps: Sampling | Noisy) -> tuple[float, ...]:
    """The model's own times, or a shifted grid where a shift is asked for."""
    return model.grid(steps.steps) if steps.shift == 1 else time_grid(steps.steps, steps.shift)


def is_video(model: Model) -> bool:
    """Whether its latents have frames."""
    return len(model.shape) == 4


SIZES = Shared(
    geometry=Geometry(48, 24, rollout_batch=8, micro_batch=4),
    advantages=Advantages(scale="batch"),
    optimizer=Optimizer(lr=3e-4, weight_decay=1e-4, ema=0.9),
    budget=Budget(rounds=300),
)
PAIRED = Paired(
    pairs_share=0.05,
    geometry=Geometry(prompts=64, group=2, rollout_batch=4, micro_batch=2),
    optimizer=Optimizer(lr=1e-5, weight_decay=1e-4),
    budget=Budget(rounds=1000),
    dropout=0.2,
)


@dataclass(frozen=True)
class Pretrained(Task):
    """A diffusers model, its usual size and guidance, and rounds that fit it."""

    model: str | None  # a hub name; None: whatever --model says
    loading: Loading = Loading()
    goal: Goal = Goal("animals", reward=("pickscore",))
    measured: Measured = Measured()
    guidance: float = 1.0  # in rollouts and in training alike
    edits: bool = False  # its prompts are instructions about a picture
    flow: bool = True  # it predicts velocities of rectified flow, as far as is known here
    guided: bool = True  # False: guidance is an input of the network, or there is none
    steps: int = 20  # of a rollout
    shift: float = 1.0  # of its grid; 1 is the model's own
    shared: Shared = SIZES
    paired: Paired = PAIRED

    renamed = {  # noqa: RUF012
        "--task.": "--",
        "--rollout.noise.": "--rollout.",
        "--rollout.window.": "--window.",
        "--rollout.flash": "--flash",
        "--held-out": "--pairs-share",
    }

    def refusal(self, method: Method, goal: Goal | None = None) -> str | None:
        if isinstance(method, OnPictures) and (method.untrained or method.sampling is not None):
            return (
                f"{method.name} is for the built-in models; a pretrained model learns from "
                f"captioned pictures by sft: scoreward train sft --on {self.name} --pictures FOLDER"
            )
        if self.edits and not isinstance(method, Drawn):
            return (
                f"{self.name} edits pictures, so each of its prompts names one, and the files that "
                f"{method.name} reads do not; methods that draw can be used: scoreward methods "
                f"--online --on {self.name}"
            )
        if isinstance(method, OnPairs) and method.flows and not self.flow:
            return (
                f"{method.name} is for velocities of rectified flow, and {self.about} predicts "
                f"noise; use diffusion_dpo --on {self.name}"
            )
        if isinstance(method, OnPairs) and method.own_noise:
            return (
                f"{method.name} needs the noise that its pictures were made from, and files have "
                f"none; with a file of pairs use diffusion_dpo --on {self.name}"
            )
        return super().refusal(method, goal)

    def sized(self, method: Method) -> Method:
        if isinstance(method, Drawn):
            return method.sized(self.steps, self.shift, self.shared)
        return method

    def settings(self, method: Method) -> Settings:
        start = Setting(... if self.model is None else self.model, str)
        made = {"model": start, "loading": Setting(self.loading)}
        made |= {"goal": Setting(self.goal, flat=True)}
        measured = self.measured
        if isinstance(method, OnPairs | OnPictures):
            measured = replace(measured, every=100)
        if isinstance(method, OnPictures):
            made |= {"pictures": Setting(..., Path)}
        if isinstance(method, OnPairs):
            made |= {"paired": Setting(self.paired, flat=True)}
        if isinstance(method, Drawn) and self.guided:
            made |= {"guidance": Setting(self.guidance)}
        return made | {"measured": Setting(measured)}

    def opened(self, method: Method, given: Given) -> Model:
        return load(given["model"], given["loading"])

    def place(self, method: Method, given: Given) -> Place:
        goal: Goal = given["goal"]
        if said := self.refusal(method, goal):
            raise ValueError(said)
        if isinstance(method, OnPictures):
            return self._with_pictures(method, given)
        if isinstance(method, OnPairs):
            return self._with_pairs(method, given)
        guided = given.get("guidance", 1.0) > 1
        prompts, measured = goal.read(guided), given["measured"]
        model = self.opened(method, given)
        video = is_video(model)
        return Place(
            name=self.name,
            model=model,
            prompts=prompts.train,
            rewards=lambda smooth: goal.rewards(video),
            weights=goal.weighted(),
            evaluation=lambda _: measured.evaluation(model, goal, prompts.measured),
            every=measured.every,
            grid=lambda steps: grid(model, steps),
            origin=told(prompts.cut.count("prompts", measured.prompts)),
            guidance=given.get("guidance", 1.0),
            precision=given["loading"].precision,
        )

    def _with_pairs(self, method: OnPairs, given: Given) -> StoredPlace:
        """Pairs of a file; what is drawn to measure is not among their prompts."""
        paired, goal, measured = given["paired"], given["goal"], given["measured"]
        if paired.pairs is None:
            raise ValueError(
                f"{self.name}_{method.name} learns from pairs of pictures; give a preference file "
                "or folder: --pairs FILE (docs/preferences.md)"
            )
        model = self.opened(method, given)
        single = method.labels and holds_labels(paired)
        found: Any = labels(paired, model) if single else from_file(paired, model)
        prompts, trained = goal.read(), found.train.prompts
        fresh = unseen(prompts.held_out, trained) or unseen(prompts.train, trained)
        count = min(len(fresh), measured.prompts)
        drawn = Held("prompts to draw", len(fresh), prompts.cut.of, count)
        return StoredPlace(
            name=self.name,
            model=model,
            prompts=prompts.train,
            rewards=lambda smooth: goal.rewards(),
            evaluation=lambda _: measured.evaluation(model, goal, fresh or prompts.measured),
            every=measured.every,
            origin={"data": found.facts} | told(found.held, drawn),
            precision=given["loading"].precision,
            train=found.train,
            held_out=found.held_out,
            probed=paired.geometry.rollout_batch,
        )

    def _with_pictures(self, method: OnPictures, given: Given) -> WithPictures:
        """Latents are made once; a share of the captions is held out, and no picture is on both
        sides.
        """
        goal, measured = given["goal"], given["measured"]
        pairs = captioned(given["pictures"])
        made_of = [(sha256(path.read_bytes()).digest(),) for path, _ in pairs]
        parts = cut([text for _, text in pairs], goal.share, "captions", made_of)
        train = [pairs[i] for i in parts.kept]
        texts = [text for _, text in train]
        held_out = list(dict.fromkeys(pairs[i][1] for i in parts.away))
        model = self.opened(method, given)
        if model.read is None:
            raise ValueError(f"{given['model']} has no VAE that reads pictures")
        return WithPictures(
            name=self.name,
            model=model,
            prompts=texts,
            rewards=lambda smooth: goal.rewards(),
            evaluation=lambda _: measured.evaluation(
                model, goal, held_out or [text for _, text in pairs]
            ),
            every=measured.every,
            origin=told(parts.count("captions", measured.prompts)),
            precision=given["loading"].precision,
            pictures=model.read([p for p, _ in train]),
            captions=texts,
            dropout=method.dropout,
        )
