"""The command `serve-reward`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from scoreward.core.device import chosen
from scoreward.data.texts import text_of
from scoreward.rewards.base import Reward
from scoreward.rewards.batching import Batching
from scoreward.rewards.remote.server import create_app, is_loopback, listen, serve
from scoreward.rewards.remote.service import Serving
from scoreward.rewards.remote.wire import TOKEN, Limits, Secret

console = Console(soft_wrap=True, markup=False)


@dataclass(frozen=True)
class ServeOptions:
    """Serve rewards to training runs: scoreward serve-reward NAME... or my_rewards.py:function."""

    names: Annotated[list[str], tyro.conf.Positional]  # rewards, or FILE.py:FUNCTION
    host: str = "127.0.0.1"  # address to listen on; this machine alone unless told otherwise
    port: int = 8000  # 0 takes a free one
    token_file: Path | None = None  # holds the token that clients must send; or SCOREWARD_TOKEN
    batch: int = 64  # samples given to a reward at once
    wait_ms: float = 5.0  # that the first sample of a batch waits for others
    max_pixels: int = Limits.pixels  # of one picture
    max_pictures: int = Limits.pictures  # of one request; frames count
    max_mib: int = Limits.bytes >> 20  # of one request
    device: str = "auto"  # where rewards get their media: cpu, cuda, cuda:1, mps …

    def serving(self) -> Serving:
        """The settings of the server."""
        largest = max(Limits.total_pixels, self.max_pixels)
        limits = Limits(self.max_mib << 20, self.max_pictures, self.max_pixels, largest)
        batching = Batching(self.batch, self.wait_ms / 1000, device=str(chosen(self.device)))
        return Serving(batching, limits, token(self.token_file))


def serve_reward(words: list[str]) -> int:
    """scoreward serve-reward NAME..."""
    options = tyro.cli(ServeOptions, args=words, prog="scoreward serve-reward")
    if not options.names:
        raise ValueError("which rewards? usage: scoreward serve-reward NAME... [options]")
    how = options.serving()
    app = create_app(named(options.names), how)
    bound = listen(options.host, options.port)
    where = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{where}:{bound.getsockname()[1]}"
    console.print(f"serving {', '.join(options.names)} on {address}", markup=False)
    if how.token is None and not is_loopback(options.host):
        console.print(
            f"warning: {options.host} may be reached from other machines, and there is no token; "
            f"whoever reaches it can use this server. Give one with --token-file or {TOKEN}.",
            markup=False,
        )
    try:
        serve(app, bound)
    except KeyboardInterrupt:
        console.print("stopped")
    return 0


def named(names: list[str]) -> Mapping[str, Reward]:
    """Rewards by the names that clients ask for: [NAME=]REWARD or [NAME=]FILE.py:FUNCTION."""
    catalogue = import_module("scoreward.rewards.catalogue")
    return {name: catalogue.find(what) for name, what in catalogue.named(names).items()}


def token(file: Path | None) -> Secret | None:
    """The token of the file, else of the environment, else none."""
    word = os.environ.get(TOKEN, "") if file is None else text_of(file).strip()
    if not word:
        if file is not None:
            raise ValueError(f"the token file {file} is empty")
        return None
    return Secret(word)
