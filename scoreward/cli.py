"""The command line: every setting of a run is an option, and wrong input is one sentence."""

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

# Command → (module of `scoreward.commands`, what it does); imported only when asked for.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("train", "train the built-in model with a reward and write a report"),
    "train": ("train", "train: scoreward train METHOD --on TASK, or my_recipe.py:function"),
    "plan": ("plan", "memory and network evaluations of a method on a task, before anything loads"),
    "methods": ("lists", "what can be trained by, one line each; --on TASK: what trains there"),
    "tasks": ("lists", "what a method can be used on, one line each"),
    "rewards": ("lists", "what can judge, one line each"),
    "resume": ("train", "go on with an interrupted run"),
    "pretrain": ("train", "train the built-in model from scratch on its pictures"),
    "sample": ("look", "draw pictures for prompts"),
    "evaluate": ("look", "measure a model on held-out prompts"),
    "export": ("export", "write a run's weights as a LoRA or a pipeline that diffusers loads"),
    "report": ("look", "write the HTML report of a run folder"),
    "gap": ("gap", "what a sampler's noise is worth in reward, over training and over steps"),
    "compare": ("compare", "compare several runs at equal network evaluations, on one page"),
    "diagnose": ("diagnose", "why the reward of a run does not rise: bug, setting or no signal"),
    "serve-reward": ("serve", "serve rewards to training runs: scoreward serve-reward NAME..."),
    "stake": ("stake", "the best way to trade stakes under proof of stake, with its picture"),
    "curate": ("curate", "make rich preference pairs by critique and editing: curate portraits"),
    "pairs": ("pairs", "preference files: inspect, convert, make pairs from rewards, split"),
    "fees": ("fees", "what a fee mechanism does with bids, and which incentives hold"),
    "equations": ("equations", "where each equation of each paper is, and its test"),
}


def usage() -> str:
    """The list of commands."""
    lines = [f"  {name:12} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "scoreward: better diffusion and flow models after pretraining",
            "",
            "usage: scoreward COMMAND [options]      (scoreward COMMAND --help explains one)",
            "",
            *lines,
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if words[0] == "--version":
        from scoreward import __version__

        print(__version__)
        return 0
    if words[0] not in COMMANDS:
        close = get_close_matches(words[0], COMMANDS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return refuse(f"unknown command {words[0]!r}{hint}; commands are {', '.join(COMMANDS)}")
    try:
        module = import_module(f"scoreward.commands.{COMMANDS[words[0]][0]}")
        return getattr(module, words[0].replace("-", "_"))(words[1:])
    except BrokenPipeError:  # whoever read the output, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        return refuse(str(error))
    except KeyboardInterrupt:
        return refuse("stopped in the middle of a round; the last checkpoint is intact")


def refuse(sentence: str) -> int:
    """One sentence on standard error."""
    print(f"scoreward: {sentence}", file=sys.stderr)
    return 2
