"""The live view: one bar and, when they come, evaluations and warnings."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from scoreward.training.held import held_out, said_of_rewards, unread_of
from scoreward.training.run import Moment, Run


def watch(run: Run, moments: Iterator[Moment], console: Console) -> None:
    """Consume a run's moments, showing each."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left {task.fields[left]}"),
        TextColumn("{task.fields[numbers]}"),
    )
    said: set[tuple[str, str]] = set()
    unseen = all(one["held"] for one in held_out(run))
    measured = "held-out" if unseen else "measured on training prompts"
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        task = progress.add_task("measuring the start", total=1.0, left="?", numbers="")
        judge = ""
        for moment in moments:
            if moment.evaluation is not None:
                found = moment.evaluation.get("ode", {}).get("judge")
                judge = "" if found is None else f"judge {found:.3f}"
                progress.console.print(_evaluation(moment.round, moment.evaluation, measured))
            left = "0:00" if moment.fraction >= 1 else "?"
            if 0 < moment.fraction < 1 and moment.seconds:
                rest = int(moment.seconds * (1 - moment.fraction) / moment.fraction)
                left = f"{rest // 60}:{rest % 60:02d}"
            progress.update(
                task,
                completed=moment.fraction,
                description=f"round {moment.round}",
                left=left,
                numbers=_numbers(moment, judge),
            )
            for finding in moment.findings:
                # a check that comes and goes is not repeated
                if finding.level != "ok" and (finding.check, finding.level) not in said:
                    colour = {"warn": "yellow", "alarm": "red"}[finding.level]
                    words = f"{finding.level}: {finding.message}"
                    progress.console.print(words, style=colour)
                    said.add((finding.check, finding.level))


def say_held_out(run: Run, console: Console) -> None:
    """What trains; how many are held out, as a warning where they are too few to tell anything."""
    if said := said_of_rewards(run):
        console.print(said, style="dim", highlight=False)
    for sentence in unread_of(run):
        console.print(sentence, style="yellow", highlight=False)
    for one in held_out(run):
        colour = "yellow" if one["few"] else "dim"
        console.print(one["sentence"], style=colour, highlight=False)


def _numbers(moment: Moment, judge: str) -> str:
    """Reward of the round, judge of the last evaluation, drift, evaluations per second."""
    parts, metrics = [], moment.metrics
    if "reward/mean" in metrics:
        parts.append(f"reward {metrics['reward/mean']:.3f}")
    elif "loss" in metrics:
        parts.append(f"loss {metrics['loss']:.4f}")
    parts.append(judge)
    for name, short in (("drift/velocity", "drift"), ("proximal", "kl")):
        if name in metrics:
            parts.append(f"{short} {metrics[name]:.2g}")
    if moment.seconds:
        parts.append(f"{moment.evaluations.total / moment.seconds:.0f} NFE/s")
    return "  ".join(p for p in parts if p)


def _evaluation(round: int, evaluation: Mapping[str, Any], measured: str) -> str:
    """One line per evaluation: what the samplers scored."""
    parts = []
    for sampler, numbers in evaluation.items():
        if sampler != "gap":
            plain = [f"{k} {v:.3f}" for k, v in numbers.items() if isinstance(v, float)]
            # a language model's numbers have no sampler
            name = "" if sampler == "held_out" else f"{sampler.upper()}: "
            parts.append(f"{name}{', '.join(plain)}")
    return f"{measured}, round {round}  " + "   ".join(parts)
