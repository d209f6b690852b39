"""How much memory a run on pairs takes, for more and more pairs: it should not grow with them.

python -m benchmarks.preferences.memory 100 1000 10000 --out benchmarks/preferences/memory.json

Pairs of 256 x 256 pictures train a tiny SD 1.5 of random weights for one round. Each count is a
process of its own, whose peak is told; held as pixels a pair would take 0.4 MiB.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SIDE = 256


def pairs(count: int) -> Iterator[object]:
    """Pictures that differ in every pair and compress well."""
    import numpy as np
    from PIL import Image

    from scoreward.data.preferences.records import ImagePair

    ramp = np.arange(SIDE, dtype=np.uint8)
    for i in range(count):
        both = []
        for side in (0, 1):
            pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
            pixels[..., 0], pixels[..., 1] = ramp, (i % 256, 0)[side]
            pixels[..., 2], pixels[0, 0] = side, (i % 251, i // 251 % 251, side)
            both.append(Image.fromarray(pixels))
        yield ImagePair(f"prompt {i % 97}", *both)


def measured(count: int, folder: Path) -> dict[str, float]:
    """In this process: one round on so many pairs, and the peak of its memory in MiB."""
    import torch

    from scoreward.commands.train import build
    from scoreward.training.trainer import Trainer

    torch.set_num_threads(1)
    words = ["--model", str(folder / "sd15"), "--pairs", str(folder / f"{count}.parquet")]
    words += ["--loading.height", "64", "--loading.width", "64", "--loading.rank", "2"]
    words += ["--geometry.prompts", "8", "--geometry.micro-batch", "4", "--measured.prompts", "2"]
    words += ["--reward", "colorfulness", "--measured.steps", "2", "--folder", str(folder / "run")]
    begun = time.perf_counter()
    run, _ = build("sd15_diffusion_dpo", words, "memory")
    seconds = time.perf_counter() - begun
    Trainer(run.model, run.objective, run.source, run.optimizer, run.team()).step(0.0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"pairs": count, "peak_mib": round(peak, 1), "seconds_to_read": round(seconds, 1)}


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("counts", type=int, nargs="+")
    asked.add_argument("--out", type=Path)
    asked.add_argument("--inside", type=Path)
    options = asked.parse_args()
    if options.inside:
        print(json.dumps(measured(options.counts[0], options.inside)))
        return
    from scoreward.data.preferences.files import write
    from tests.families import tiny

    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny.build("sd15").save_pretrained(folder / "sd15")
        more = {"SCOREWARD_CACHE": str(folder / "cache"), "HF_DATASETS_CACHE": str(folder / "hf")}
        for count in options.counts:
            write(folder / f"{count}.parquet", pairs(count))  # pyright: ignore[reportArgumentType]
            words = [sys.executable, "-m", "benchmarks.preferences.memory", str(count)]
            done = subprocess.run(
                [*words, "--inside", str(folder)],
                capture_output=True,
                text=True,
                env={**os.environ, **more, "OMP_NUM_THREADS": "1"},
            )
            if done.returncode:
                raise SystemExit(done.stderr)
            found.append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(found[-1], flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
