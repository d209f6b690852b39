"""Commands that train: `train`, `resume`, `demo`, `pretrain`."""

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.table import Table

from scoreward.commands.live import say_held_out, watch
from scoreward.commands.recipes import find, parse, taken
from scoreward.commands.talk import console
from scoreward.made_of import noting
from scoreward.report import write_report
from scoreward.training.checkpoint import newest, read_snapshot
from scoreward.training.folder import RunFolder, RunFolderError
from scoreward.training.guards import Guards
from scoreward.training.run import Moment, Run


@dataclass(frozen=True)
class Options:
    """What a run is called and what is said about it."""

    folder: Path | None = None  # run folder; default runs/TASK_METHOD
    seed: int = 0  # of everything random in training
    profile: bool = False  # print where the time went
    plan: bool = False  # explain the sizes of a round and stop
    beside: Path | None = None  # another run folder to show beside this one in the report
    device: str = "auto"  # cpu, cuda, cuda:1, mps …; auto: the accelerator torch sees, else the CPU
    guards: Guards = Guards()  # when to stop rather than to go on with broken numbers


def train(words: list[str]) -> int:
    """scoreward train METHOD [--on TASK] [options]"""
    if not words or words[0].startswith("-"):
        raise ValueError(
            "which method? usage: scoreward train METHOD [--on TASK] [options], for example: "
            "scoreward train vgrpo --on portraits; `scoreward methods` and `scoreward tasks` list "
            "them"
        )
    return _start(*build(words[0], words[1:], f"scoreward train {words[0]}"))


def pretrain(words: list[str]) -> int:
    """scoreward pretrain [options]: the method on the portraits, and its weights as one file."""
    run, options = build("pretrain", words, "scoreward pretrain")
    code = _start(run, options)
    last = newest(run.folder / "checkpoints")
    if last is not None and not options.plan and run.team().leads:
        export(last, run.folder / "model.safetensors")
        console.print(f"weights: {run.folder / 'model.safetensors'}")
    return code


def resume(words: list[str]) -> int:
    """scoreward resume FOLDER"""
    options = tyro.cli(ResumeOptions, args=words, prog="scoreward resume")
    folder = RunFolder(options.folder)
    threads = folder.about().get("threads")
    torch.set_num_threads(threads if isinstance(threads, int) and threads > 0 else 1)
    command = command_of(folder, "resume it there with run.resume()")
    with where_started(folder) as folder:
        run, shown = build(*command, "scoreward resume")
        run = replace(run, folder=folder.path, device=options.device or run.device)
        _explain(run)
        return _show(run, run.resume(options.changed), shown)


@dataclass(frozen=True)
class ResumeOptions:
    """Go on with an interrupted run from its newest checkpoint."""

    folder: Annotated[Path, tyro.conf.Positional]  # the run folder
    device: str | None = None  # another device than the one it was started with
    changed: bool = False  # go on although files that the run was made of have changed


@dataclass(frozen=True)
class DemoOptions:
    """Train the built-in model with a reward for a few minutes and write a report."""

    folder: Path = Path("runs/demo")  # replaced if it holds an earlier demo
    seed: int = 0  # of everything random in training
    threads: int = 2  # of the processor
    seconds: float = 295.0  # of training at most; a slow machine stops before the last round
    device: str = "auto"  # cpu, cuda, cuda:1, mps …; auto: the accelerator torch sees, else the CPU


def demo(words: list[str]) -> int:
    """scoreward demo"""
    options = tyro.cli(DemoOptions, args=words, prog="scoreward demo")
    torch.set_num_threads(options.threads)
    arguments = ["--seed", str(options.seed), "--budget.seconds", str(options.seconds)]
    arguments += ["--device", options.device]
    run, shown = build("portraits_vgrpo", arguments, "scoreward demo")
    run = replace(run, folder=options.folder, origin=dict(run.origin, demo=True))
    run.team()  # a device that there is not is refused before an earlier demo is gone
    if (options.folder / "run.json").exists():
        if not RunFolder(options.folder).about().get("demo"):
            raise RunFolderError(
                f"{options.folder} holds a run that is not a demo; choose another folder with "
                "--folder"
            )
        shutil.rmtree(options.folder)
    console.print(
        "Online reinforcement learning (V-GRPO) of the built-in text-to-image model, pixel "
        "portraits.\nThe reward is verifier A's opinion; verifier B judges and never trains "
        "anything.\nFirst the model is measured as it is, then it is trained, then measured again."
    )
    _explain(run)
    code = _show(run, run.start(), replace(shown, beside=lesson()))
    _before_after(options.folder)
    return code


def lesson() -> Path | None:
    """The committed unanchored run, shown beside the demo as the lesson in reward hacking."""
    path = Path(__file__).parents[1] / "assets" / "portraits" / "unanchored"
    return path if (path / "run.json").exists() else None


def build(recipe: str, words: list[str], program: str) -> tuple[Run, Options]:
    """The run a command line means, with what is needed to build it again."""
    if Path(recipe).name == "run.json":
        recipe, words = repeated(Path(recipe), words)
    command, rest = find([recipe, *words])
    with noting() as made_of:  # also what a recipe of the user's own reads
        options, run = parse(command, Options, rest, program)
    known = {n: v for n, v in run.origin.items() if n not in ("made", "unspoken")}
    origin = {
        **known,  # what a task knows of its data
        "recipe": run.name,
        "origin_recipe": recipe,
        "arguments": words,
        "command": f"scoreward train {recipe} {shlex.join(words)}".strip(),
        "made_of": made_of,
        "started_in": str(Path.cwd()),
    }
    # a recipe may have guards of its own
    guards = run.guards if options.guards == Guards() else options.guards
    run = replace(
        run,
        folder=options.folder or Path("runs") / run.name,
        origin=origin,
        seed=options.seed,
        device=options.device,
        guards=guards,
    )
    return run, options


@contextmanager
def where_started(folder: RunFolder) -> Iterator[RunFolder]:
    """In the working folder in which a run was started, which its paths are relative to.

    Where that is gone, as on another machine, they are relative to this one.
    """
    home = Path(str(folder.about().get("started_in", ".")))
    if not home.is_dir() or home.resolve() == Path.cwd():
        yield folder
        return
    folder = RunFolder(folder.path.resolve())
    with chdir(home):
        yield folder


def repeated(record: Path, words: list[str]) -> tuple[str, list[str]]:
    """What the run of a run.json was started as, with other options behind its own."""
    if not record.is_file():
        raise RunFolderError(f"there is no file {str(record)!r}; a run folder has a run.json")
    started, before = command_of(RunFolder(record.parent), "start it there")
    _, before = taken(before, "--folder")
    return started, before + words


def command_of(folder: RunFolder, instead: str) -> tuple[str, list[str]]:
    """What a run was started as, and with which options.

    Raises RunFolderError, which says what to do `instead`, for one that no command line can build.
    """
    about = folder.about()
    if not about.get("origin_recipe"):
        reason = about.get("unspoken", "which method and task it is")
        raise RunFolderError(
            f"{folder.path} was started from Python, and no command line can say {reason}; "
            f"{instead}"
        )
    recipe, words = about["origin_recipe"], about.get("arguments", [])
    texts = isinstance(words, list) and all(isinstance(word, str) for word in words)
    if not isinstance(recipe, str) or not texts:
        raise RunFolderError(
            f"{folder.path / 'run.json'} is damaged: expected origin_recipe as text and arguments "
            f"as a list of texts, got {recipe!r} and {words!r}; {instead}"
        )
    return recipe, words


def export(path: Path, target: Path) -> None:
    """The averaged weights of a checkpoint as one safetensors file."""
    from safetensors.torch import save_file

    save_file(read_snapshot(path, "ema"), target)


def _start(run: Run, options: Options) -> int:
    """Explain the plan and, unless only that was asked for, train."""
    _explain(run)
    return 0 if options.plan else _show(run, run.start(), options)


def _explain(run: Run) -> None:
    team = run.team()
    console.quiet = not team.leads  # of several processes one talks
    if "source" in run.origin:
        console.print(f"{run.origin['source']}", style="dim", highlight=False)
    for line in run.source.geometry.explain(team.size):
        console.print(line, style="dim")
    say_held_out(run, console)


def _show(run: Run, moments: Iterator[Moment], options: Options) -> int:
    """Run to the end with the live view, then the report."""
    try:
        watch(run, moments, console)
    except Exception:
        _try_report(run, options)
        raise
    status = RunFolder(run.folder).about().get("status")
    path = _try_report(run, options)
    profiles = RunFolder(run.folder).records("profile") if options.profile else ()
    if profiles:
        last = profiles[-1]
        seconds = last["seconds"] if isinstance(last["seconds"], dict) else {}
        for name, spent in sorted(seconds.items()):
            console.print(f"  {name:10} {spent:8.1f} s")
        console.print(f"  inside the network: {last['share_in_network']:.1%} of training time")
    if status == "stopped":
        console.print(f"stopped; go on with: scoreward resume {run.folder}")
    if path is not None:
        console.print(f"report: {path}")
    return 0


def _try_report(run: Run, options: Options) -> Path | None:
    if not run.team().leads:
        return None
    try:
        return write_report(run.folder, options.beside)
    except (ValueError, OSError) as error:
        print(f"scoreward: no report: {error}", file=sys.stderr)
        return None


def _before_after(folder: Path) -> None:
    """The numbers of summary.json as a table."""
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    names = list(summary["before"]["ode"])
    table = Table("held-out prompts", *names, title="before and after")
    for when in ("before", "after"):
        for sampler, numbers in summary[when].items():
            cells = [f"{numbers[n]:.3f}" for n in names]
            table.add_row(f"{when}, {sampler.upper()} sampler", *cells)
    console.print(table)
    seconds = summary["seconds"]
    console.print(f"{seconds['rl']:.0f} s of RL, {seconds['total']:.0f} s in all")
