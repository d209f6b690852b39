"""Put an exported pretraining run into the package, the network as float16.

    scoreward train digits_compressed_pretrain --folder runs/digits
    scoreward export runs/digits --to runs/digits_exported
    python -m tools.digits.ship_model runs/digits_exported/model.safetensors

The operator stays float32, because pictures are recovered with it.
"""

import sys
from dataclasses import replace
from pathlib import Path

from scoreward.models.builtin.digits import PATH, load
from scoreward.models.compressed.model import save, stored
from scoreward.models.compressed.operators import Operator


def main(path: Path) -> None:
    how, _ = stored(path)
    operator = Operator(how.operator.matrix.float(), how.operator.centre.float())
    save(PATH, replace(how, operator=operator), load(path).network.half())
    print(PATH.stat().st_size, "bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
