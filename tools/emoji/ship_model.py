"""Put a pretraining run's averaged weights into the package, as float16.

python -m tools.emoji.ship_model runs/emoji_pretrain
"""

import sys
from pathlib import Path

from safetensors.torch import save_file

from scoreward.models.builtin.emoji import emoji
from scoreward.training.checkpoint import newest, read_snapshot


def main(run: Path) -> None:
    checkpoint = newest(run / "checkpoints")
    if checkpoint is None:
        raise SystemExit(f"{run} has no checkpoint")
    tensors = {n: t.half().contiguous() for n, t in read_snapshot(checkpoint, "ema").items()}
    save_file(tensors, emoji.path)
    print(checkpoint.name, emoji.path.stat().st_size, "bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
