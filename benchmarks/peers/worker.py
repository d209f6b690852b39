"""One program of the comparison in a process of its own, doing what it is told line by line.

    python -m benchmarks.peers.worker MODULE:NAME FOLDER [OPTION...]

`round`, `bare`, `record`, `memory` and `end` come on standard input; an answer is a line of JSON.
CPU seconds are those of this process.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1"}


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns and the CPU seconds it took."""
    start = time.process_time()
    answer = work()
    return answer, time.process_time() - start


def resident(which: str) -> float:
    """MiB of this process: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = next(line for line in lines if line.startswith(which))
    return int(found.split()[1]) / 1024


def main() -> None:
    out, sys.stdout = sys.stdout, sys.stderr  # the program may print; answers stay apart
    module, _, name = sys.argv[1].partition(":")
    program, imported = timed(lambda: import_module(f"benchmarks.peers.{module}"))
    after_import = resident("VmHWM")
    import torch

    torch.set_num_threads(1)
    from benchmarks.peers.recorder import Recorder

    arm, built = timed(lambda: program.ARMS[name](Path(sys.argv[2]), *sys.argv[3:]))
    recorder = Recorder(arm.modules)

    def reply(**answer: Any) -> None:
        print(json.dumps(answer), file=out, flush=True)

    reply(imported=imported, built=built, import_mib=after_import, versions=versions())
    for line in sys.stdin:
        match line.strip():
            case "round":
                told, seconds = timed(arm.round)
                reply(seconds=seconds, **told)
            case "record":
                with recorder.recording():
                    told = arm.round()
                reply(counts=recorder.counts(), calls=len(recorder.calls), **told)
            case "bare":
                _, seconds = timed(recorder.bare)
                reply(seconds=seconds)
            case "memory":
                reply(peak_mib=resident("VmHWM"))
            case _:
                break


def versions() -> dict[str, str]:
    """Of the packages that decide."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": sys.version.split()[0]}
    for name in ("torch", "diffusers", "transformers", "peft", "accelerate", "trl"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
