"""A method on a task, with the settings that the pair has: what `scoreward train` runs."""

import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast, get_type_hints

from scoreward.made_of import noting
from scoreward.methods import method, methods, names
from scoreward.methods.base import Given, Method, Place, Setting, Settings
from scoreward.rewards.base import Reward
from scoreward.rewards.combine import Combined, Weighted
from scoreward.settings import ROWS, Row, found
from scoreward.tasks import PLACES, task
from scoreward.tasks.base import Task
from scoreward.tasks.pretrained import Pretrained
from scoreward.training.about import digest
from scoreward.training.run import Run
from scoreward.words import Unspoken, words

Standing = Literal["published", "ours", "portraits", "untuned"]
DIAGNOSE = "start with `scoreward diagnose`"


@dataclass(frozen=True)
class Recipe:
    """A method on a task.  `run` takes any of `settings` by name; others keep their defaults.

    >>> import scoreward as sw
    >>> made = sw.Recipe(sw.methods["vgrpo"], sw.tasks["toy"])
    >>> made.name, list(made.settings)
    ('toy_vgrpo', ['objective', 'sampling', 'shared', 'held_out', 'model', 'goal'])
    >>> made.run(sampling=sw.Sampling(steps=5), seed=1).source.sampler(0).steps
    5
    """

    method: Method
    task: Task
    variant: str = ""

    @property
    def name(self) -> str:
        """TASK_METHOD, as run folders and benchmarks have it."""
        parts = (self.task.name, self.method.name, self.variant)
        return "_".join(part for part in parts if part)

    @property
    def listed(self) -> bool:
        """Whether both are rows of the tables, and not others of the same names."""
        one = methods().get((self.method.name, self.method.draws)) is self.method
        return one and self.task.name in PLACES and task(self.task.name) is self.task

    @property
    def row(self) -> Row | None:
        """What was chosen or published for the pair; nothing of one that is not in the tables."""
        if not self.listed:
            return None
        return found(self.method.name, self.task.name, self.task.like, self.variant)

    @property
    def about(self) -> str:
        """What it is, in a sentence or two."""
        row = self.row
        more = "" if row is None else f" {row.about[:1].upper()}{row.about[1:].rstrip('.')}."
        return f"{self.method.about}{more}\n\n{self.source}"

    @property
    def refusal(self) -> str | None:
        """Why there is no such pair, if there is none."""
        return self.task.refusal(self.method)

    @property
    def settings(self) -> Settings:
        """Every setting with the default it has for this pair."""
        row = self.row
        own = self.method if row is not None else self.task.sized(self.method)
        made = dict(own.settings) | dict(self.task.settings(own))
        for name, value in ({} if row is None else row.changes).items():
            if name not in made:
                raise ValueError(f"the settings of {self.name} have no {name!r}: {', '.join(made)}")
            made[name] = replace(made[name], default=value)
        return made

    @property
    def standing(self) -> Standing:
        """Who looked for the settings: authors, we, we on another task, or nobody."""
        row = self.row
        if row is None and (self.task.like != "portraits" or not self.listed):
            return "untuned"
        if self.task.like != self.task.name and (row is None or row.task != self.task.name):
            return "portraits"
        theirs = row is not None and not row.ours
        if isinstance(self.task, Pretrained) and theirs and sources(self.name):
            return "published"
        return "ours"

    @property
    def source(self) -> str:
        """Where the settings are from, in a sentence."""
        match self.standing:
            case "untuned":
                return f"settings: untuned for this pair; {DIAGNOSE}"
            case "portraits":
                return "settings: as chosen on the portraits"
            case "published":
                papers = "; ".join(sources(self.name))
                return f"settings: published for {self.task.about} ({papers})"
            case "ours":
                return f"settings: ours for {self.task.name}"

    def run(
        self,
        folder: str | Path | None = None,
        seed: int = 0,
        device: str = "auto",
        **given: Any,
    ) -> Run:
        """The run.  Settings by name; those of a flat one also by theirs: `geometry`, `budget`.

        `reward` is a function (media, prompts) → [batch], several of them by name, or names as on
        the command line. A run that is made here is built again by `scoreward resume`, `diagnose`
        and the others, if a command line can say its settings. Raises ValueError for a pair that
        cannot be, and for a setting that there is not or that is missing.
        """
        with noting() as made_of:
            run = self._made(given, folder, seed, device)
        return replace(
            run, origin={**run.origin, "made_of": made_of, "started_in": str(Path.cwd())}
        )

    def model(self, **given: Any) -> Any:
        """The model alone, as it is before training: no prompts, pairs or rewards are read."""
        return self.task.opened(self.method, self.filled(self.settings, given))

    def _made(
        self, given: Mapping[str, Any], folder: str | Path | None, seed: int, device: str
    ) -> Run:
        settings, mine = self.settings, given.get("reward")
        own = callable(mine) or isinstance(mine, Mapping)
        whole = self.filled(settings, {n: v for n, v in given.items() if n != "reward" or not own})
        if said := self.task.refusal(self.method, whole.get("goal")):
            raise ValueError(said)
        place = self.task.place(self.method, whole)
        if own:
            place = judged(place, cast(Any, {"reward": mine} if callable(mine) else mine))
        run = self.method.run(place, whole)
        home = Path(folder) if folder is not None else Path("runs") / self.name
        run = replace(run, name=self.name, folder=home, seed=seed, device=device)
        place = self.task.name
        parts = {"task": place, "method": self.name.removeprefix(f"{place}_")}
        said = {"source": self.source, "made": digest(run)}
        origin = {"recipe": self.name, **parts, **run.origin, **said}
        if own:
            return replace(run, origin=origin | {"unspoken": "a reward that is a function"})
        if not self.listed:
            return replace(run, origin=origin | {"unspoken": "a method or task that has no name"})
        return replace(run, origin=origin | again(self, settings, whole, seed, device))

    def filled(self, settings: Settings, given: Mapping[str, Any]) -> Given:
        """All settings, those of flat ones also given by their own names."""
        whole = {name: s.default for name, s in settings.items()}
        inside = {f.name: n for n, s in settings.items() if s.flat for f in fields(s.default)}
        for name, value in given.items():
            if name in settings:
                whole[name] = value
            elif name in inside:
                whole[inside[name]] = replace(whole[inside[name]], **{name: value})
            else:
                raise ValueError(
                    f"{self.name} has no setting {name!r}; it has {', '.join([*settings, *inside])}"
                )
        if missing := [name for name, value in whole.items() if value is ...]:
            raise ValueError(f"{self.name} needs a setting {missing[0]!r}")
        return whole


def judged(place: Place, rewards: Mapping[str, Reward]) -> Place:
    """A place with rewards that are functions; what they add up to is measured as "reward"."""
    one = next(iter(rewards.values()))
    whole = one if len(rewards) == 1 else Combined(dict(rewards), Weighted((1.0,) * len(rewards)))

    def evaluation(prompts: Sequence[str] | None) -> Any:
        made = place.evaluation(prompts)
        return replace(made, scorers={**made.scorers, "reward": whole})

    return replace(place, rewards=lambda smooth: rewards, weights={}, evaluation=evaluation)


def again(made: Recipe, settings: Settings, whole: Given, seed: int, device: str) -> dict[str, Any]:
    """For run.json: the command line that builds the same run, or what none can say."""
    try:
        arguments = words(settings, whole)
    except Unspoken as unspoken:
        return {"unspoken": str(unspoken)}
    arguments += ["--seed", str(seed)] if seed else []
    arguments += ["--device", device] if device != "auto" else []
    return {
        "origin_recipe": made.name,
        "arguments": arguments,
        "command": f"scoreward train {made.name} {shlex.join(arguments)}".strip(),
    }


def sources(name: str) -> list[str]:
    """Whose public settings a recipe has, by repository and file."""
    from scoreward.published import rows, tables

    seen = dict.fromkeys(row.table for row in rows() if row.ours == name)
    return [f"{tables()[table]['repository']}, {tables()[table]['file']}" for table in seen]


def recipe(name: str, on: str | None = None) -> Recipe:
    """METHOD on a task (by default the portraits, or SmolLM2 for texts), or TASK_METHOD.

    Raises ValueError for an unknown name, with the nearest three, and for a pair that cannot be.

    >>> import scoreward as sw
    >>> sw.recipe("vgrpo").name, sw.recipe("vgrpo", on="toy").name
    ('portraits_vgrpo', 'toy_vgrpo')
    >>> sw.recipe("toy_vgrpo").source
    'settings: ours for toy'
    """
    if on is not None:
        return joined(name, on)
    for place in sorted(PLACES, key=len, reverse=True):
        if name.startswith(f"{place}_"):
            whole = name.removeprefix(f"{place}_")
            return joined(whole, place)
    chosen = method(name, "pictures")
    if chosen is None:
        raise ValueError(unknown("method", name, names()))
    return joined(name, "portraits" if chosen.draws == "pictures" else "smollm")


def joined(name: str, on: str) -> Recipe:
    """A method, or one with a variant behind it, on a task."""
    if on not in PLACES:
        raise ValueError(unknown("task", on, list(PLACES)))
    place = task(on)
    known, variant = method(name, place.draws), ""
    for row in ROWS:
        if known is None and row.variant and name == f"{row.method}_{row.variant}":
            known, variant = method(row.method, place.draws), row.variant
    if known is None:
        raise ValueError(unknown("method", name, names()))
    made = Recipe(known, place, variant)
    if variant and made.row is None:
        raise ValueError(f"there are no settings {variant!r} of {known.name} on {on}")
    return made


def unknown(what: str, name: str, known: Sequence[str]) -> str:
    """A sentence for a name that there is not, with the nearest three."""
    near = get_close_matches(name, known, 3, 0.5)
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    file = ", and one of your own is FILE.py:NAME" if what == "method" else ""
    return f"unknown {what} {name!r}{hint}; `scoreward {what}s` lists them all{file}"


def every() -> list[Recipe]:
    """Every method on every task that it can be used on."""
    pairs = [
        Recipe(one, task(place))
        for place in PLACES
        for one in methods().values()
        if one.draws == task(place).draws
    ]
    known = [pair for pair in pairs if pair.refusal is None]
    return known + [joined(f"{r.method}_{r.variant}", r.task) for r in ROWS if r.variant]


def of_function(function: Callable[..., object], what: str = "recipe") -> Mapping[str, Setting]:
    """The settings of a recipe, or `what` it is, that is a function of the user's own.

    Raises ValueError for one without a type, for it cannot become an option.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters
    if bare := [name for name in parameters if name not in hints]:
        raise ValueError(
            f"setting {bare[0]!r} of the {what} has no type, so it cannot become an option; write "
            f"{bare[0]}: int = 3, for example"
        )
    return {
        name: Setting(... if p.default is inspect.Parameter.empty else p.default, hints[name])
        for name, p in parameters.items()
    }
