"""What a reward costs behind a server, and what the death of a server costs.

    python -m benchmarks.reward_server.run      about five minutes, on Linux

Each repetition scores the same 64 pictures in this process and behind a server in another, one
after the other, so that both meet the same load of the machine; how much of it other programs
took meanwhile is written down. Then one of two servers is killed with SIGKILL while it works; the
round must end with the same numbers. Writes results.json and README.md.
"""

import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from threading import Timer
from typing import Any

import torch
from torch import Tensor

from benchmarks.reward_server import page
from benchmarks.reward_server.work import KILL_AFTER, PER_PICTURE, PICTURES, Busy, rewards
from scoreward.rewards.base import Reward, scored
from scoreward.rewards.encodings import ENCODINGS, quantised, restored
from scoreward.rewards.remote.client import Remote
from scoreward.rewards.remote.fleet import Asking

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
REPETITIONS, FEWER, DEATHS = 7, 3, 5


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(port: int, steps: int) -> subprocess.Popen:
    """A server that answers `/health`."""
    words = [sys.executable, "-m", "benchmarks.reward_server.work", str(port), str(steps)]
    process = subprocess.Popen(words, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).read()
            return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise RuntimeError("the server did not start within a minute")


@contextmanager
def servers(ports: Sequence[int], steps: int) -> Iterator[dict[int, subprocess.Popen]]:
    """Servers on these ports; whoever replaces one in the mapping has it stopped too."""
    running: dict[int, subprocess.Popen] = {}
    try:
        for port in ports:
            running[port] = start(port, steps)
        yield running
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait(30)


def addresses(ports: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"http://127.0.0.1:{port}" for port in ports)


def pictures(size: int) -> Tensor:
    """Smooth pictures with a little noise, as a model draws them."""
    generator = torch.Generator().manual_seed(size)
    rough = torch.rand(PICTURES, 3, 8, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(rough, (size, size), mode="bicubic")
    return (smooth + 0.02 * torch.randn(smooth.shape, generator=generator)).clamp(0, 1)


def calibrated() -> int:
    """Steps of `Busy` that take 10 ms of a processor, however busy the machine is now."""
    one, weight = torch.rand(3, 64, 64), torch.randn(256, 256) / 16
    tries = []
    for _ in range(15):
        begun = time.thread_time()
        Busy(100).one(one, weight)
        tries.append((time.thread_time() - begun) / 100)
    return max(1, round(PER_PICTURE / median(tries)))


def seconds(reward: Reward, media: Tensor) -> float:
    begun = time.perf_counter()
    scored("measured", reward, media, ["a picture"] * len(media))
    return time.perf_counter() - begun


TICK = os.sysconf("SC_CLK_TCK")


def used() -> float:
    """Processor seconds of all programs since the machine started."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    idle = int(fields[3]) + int(fields[4])
    return (sum(map(int, fields[:8])) - idle) / TICK


def used_by(process: int) -> float:
    """Processor seconds of one program."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def cost(remote: Remote, reward: Reward, size: int, server: int) -> dict[str, Any]:
    """Paired seconds of a round, their ratios, and processor seconds of client and server."""
    media, mine = pictures(size), os.getpid()
    seconds(reward, media), seconds(remote, media)  # warm
    here, there, client, served = [], [], 0.0, 0.0
    repetitions = REPETITIONS if remote.how.encoding in ("uint8", "png") else FEWER
    begun, before, ours = time.perf_counter(), used(), used_by(mine) + used_by(server)
    for _ in range(repetitions):
        here.append(seconds(reward, media))
        client, served = client - used_by(mine), served - used_by(server)
        there.append(seconds(remote, media))
        client, served = client + used_by(mine), served + used_by(server)
    passed = (time.perf_counter() - begun) * (os.cpu_count() or 1)
    others = used() - before - (used_by(mine) + used_by(server) - ours)
    ratios = sorted(b / a for a, b in zip(here, there))
    return {
        "reward": remote.name,
        "pixels": size,
        "encoding": remote.how.encoding,
        "in_process_seconds": [round(s, 4) for s in here],
        "remote_seconds": [round(s, 4) for s in there],
        "ratio_median": round(median(ratios), 4),
        "ratio_min": round(ratios[0], 4),
        "ratio_max": round(ratios[-1], 4),
        "client_processor_seconds": round(client / repetitions, 3),
        "server_processor_seconds": round(served / repetitions, 3),
        "share_of_processors_used_by_others": round(others / passed, 2),
    }


def costs(steps: int) -> list[dict[str, Any]]:
    """Every reward, size and encoding, one server."""
    found = []
    ports = [free_port()]
    with servers(ports, steps) as running:
        for name, reward in rewards(steps).items():
            for size in (64, 512):
                for encoding in ENCODINGS:
                    remote = Remote(name, addresses(ports), Asking(encoding=encoding))
                    found.append(cost(remote, reward, size, running[ports[0]].pid))
                    print(found[-1], flush=True)
    return found


def deaths(steps: int) -> list[dict[str, Any]]:
    """Rounds of two servers, of which one is killed in the middle and started again."""
    ports, found = [free_port(), free_port()], []
    media, prompts = pictures(64), ["a picture"] * PICTURES
    expected = scored("busy", Busy(steps), restored(quantised(media)), prompts)
    remote = Remote("busy", addresses(ports), replace(Asking(), deadline=60.0))
    with servers(ports, steps) as running:
        for number in range(DEATHS):
            whole = seconds(remote, media)
            victim = running[ports[number % 2]]
            killer = Timer(KILL_AFTER, victim.send_signal, [signal.SIGKILL])
            begun = time.perf_counter()
            killer.start()
            answer = scored("busy", remote, media, prompts)
            took = time.perf_counter() - begun
            killer.join()
            found.append(
                {
                    "undisturbed_seconds": round(whole, 4),
                    "seconds": round(took, 4),
                    "killed_in_the_round": took > KILL_AFTER and victim.wait(30) == -signal.SIGKILL,
                    "same_answer": torch.equal(answer, expected),
                }
            )
            print(found[-1], flush=True)
            running[ports[number % 2]] = start(ports[number % 2], steps)
            time.sleep(remote.how.rest)
    return found


def main() -> None:
    torch.set_num_threads(1)
    before, steps = os.getloadavg(), calibrated()
    told = {
        "pictures": PICTURES,
        "steps_of_busy": steps,
        "machine": {
            "processors": os.cpu_count(),
            "processor": platform.processor() or platform.machine(),
            "load_before": before,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "costs": costs(steps),
        "deaths": deaths(steps),
    }
    told["machine"]["load_after"] = os.getloadavg()
    (HERE / "results.json").write_text(json.dumps(told, indent=1) + "\n")
    page.main()


if __name__ == "__main__":
    main()
