"""Reduce wordllama's table to our words.

python make_words.py WHEEL_FOLDER ../../scoreward/assets/portraits

WHEEL_FOLDER is where `pip install --no-deps --target WHEEL_FOLDER wordllama==0.4.0.post1` put it.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scoreward.data.portraits import FIELDS

EXTRA = ["person", "hair", "shirt", "hat", "glasses", "sunglasses", "earrings"]
EXTRA += ["clear", "dark", "light", "adult", "child"]


def main(wheel: str, out: str) -> None:
    package = Path(wheel) / "wordllama"
    (table,) = load_file(package / "weights" / "l2_supercat_256.safetensors").values()
    tokenizer = Tokenizer.from_file(
        str(package / "tokenizers" / "l2_supercat_tokenizer_config.json")
    )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    values = {value for values in FIELDS.values() for value in values} - {"none", "no", "yes"}
    words = sorted(values | set(EXTRA))
    pieces = {word: tokenizer.encode(word, add_special_tokens=False).ids for word in words}
    used = sorted({row for rows in pieces.values() for row in rows})
    place = {row: i for i, row in enumerate(used)}
    rows = {word: [place[row] for row in pieces[word]] for word in words}
    save_file({"vectors": table[used].astype(np.float16)}, Path(out) / "words.safetensors")
    (Path(out) / "words.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(len(words), "words,", len(used), "vectors")


if __name__ == "__main__":
    main(*sys.argv[1:])
