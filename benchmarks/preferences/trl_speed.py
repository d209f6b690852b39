"""One training step on the same model and pairs: TRL's DPOTrainer against ours, alternating.

    python -m benchmarks.preferences.trl_speed --model tiny --repeats 30

Forward, loss, backward and AdamW step; the reference's log-probabilities are known beforehand in
both (`known`), or TRL computes them in the step (`asked`). Times alternate within one process, and
the ratio of each neighbouring pair is what is averaged.
"""

import argparse
import copy
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from scoreward.core.rows import join
from scoreward.data.preferences.records import TextPair
from scoreward.losses.methods import DPO
from scoreward.methods.texts import trained
from scoreward.models.texts.loading import LanguageLoading, TinyLlama, smollm
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.references import ReferenceFile
from scoreward.training.sources.texts import PairSource, PairTexts
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer

WORDS = ("the", "a", "rain", "sun", "dog", "cat", "runs", "sleeps", "over", "under", "was")
SIZES = {
    "tiny": TinyLlama(),  # 0.8 million parameters
    "small": TinyLlama(width=384, layers=5, heads=6, context=512),  # 10 million
}


def pairs(count: int, longest: int) -> list[TextPair]:
    """Prompts and completions of unlike lengths, in words."""
    draw = random.Random(0)

    def text(most: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(most // 3, most)))

    return [TextPair(text(longest // 2) + ": ", text(longest), text(longest)) for _ in range(count)]


def theirs(trainer: Trainer, rows: Any, known: bool, folder: str) -> Callable[[], None]:
    """TRL's step on a copy of the network, with the same optimiser settings."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    network = copy.deepcopy(trainer.model.network).train()
    args = DPOConfig(
        output_dir=folder,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=len(rows),
        precompute_ref_log_probs=False,
        beta=0.1,
    )
    texts = [{"prompt": "a", "chosen": "b", "rejected": "c"}]
    other = DPOTrainer(
        model=network,
        ref_model=copy.deepcopy(network),
        args=args,
        train_dataset=Dataset.from_list(texts),
        processing_class=trainer.model.text.tokenizer,
    )
    both = join([rows.winner, rows.loser]).shortened()
    places = torch.arange(both.token.shape[1], device=both.token.device)
    used = places <= (both.mask * places).amax(1, keepdim=True)
    batch = {
        "input_ids": both.token,
        "attention_mask": used.long(),
        "completion_mask": both.mask.long(),
    }
    other.precompute_ref_logps = known
    if known:
        batch |= {"ref_chosen_logps": rows.ref_w.sum(1), "ref_rejected_logps": rows.ref_l.sum(1)}
    optimizer = torch.optim.AdamW(
        [p for p in network.parameters() if p.requires_grad], lr=1e-5, foreach=True
    )

    def step() -> None:
        other._compute_loss(network, dict(batch), False).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def timed(step: Callable[[], Any]) -> float:
    _wait()
    start = time.perf_counter()
    step()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def interval(ratios: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    draw = random.Random(1)
    found = sorted(median(draw.choices(ratios, k=len(ratios))) for _ in range(2000))
    return found[50], found[1949]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", choices=[*SIZES, "smollm"], default="tiny")
    options.add_argument("--pairs", type=int, default=8)
    options.add_argument("--longest", type=int, default=24, help="words of a completion")
    options.add_argument("--repeats", type=int, default=30)
    options.add_argument("--adapters", action="store_true")
    options.add_argument("--out", type=Path)
    asked = options.parse_args()
    torch.set_num_threads(1)
    loading = LanguageLoading(adapters=asked.adapters)
    model = smollm(loading) if asked.model == "smollm" else SIZES[asked.model].build(loading)
    geometry = Geometry(prompts=asked.pairs, group=1, micro_batch=asked.pairs)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "reference.safetensors"
        data = PairTexts(model, pairs(asked.pairs, asked.longest), ReferenceFile(file=file))
        trainer = Trainer(
            model,
            trained(DPO()),
            PairSource(data, geometry),
            Optimizer(lr=1e-5, ema=0.0),
            Team(),
        )
        work, _ = trainer.work(0)
        with torch.no_grad():
            rows = trainer.source.collect(0, trainer.key, work).samples
        steps = {"known": theirs(trainer, rows, True, folder)}
        steps["asked"] = theirs(trainer, rows, False, folder)
        for name, other in steps.items():
            report(asked, name, other, trainer)


def report(asked: Any, name: str, other: Callable[[], None], trainer: Trainer) -> None:
    """Alternate, and print the ratio TRL : ours (above 1, ours is faster)."""
    for _ in range(3):
        trainer.step()
        other()
    both = []
    for i in range(asked.repeats):
        if i % 2:
            mine, their = timed(trainer.step), timed(other)
        else:
            their, mine = timed(other), timed(trainer.step)
        both.append((mine, their))
    ratios = [their / mine for mine, their in both]
    low, high = interval(ratios)
    line = {
        "model": asked.model,
        "adapters": asked.adapters,
        "pairs": asked.pairs,
        "longest": asked.longest,
        "reference": name,
        "repeats": asked.repeats,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "one CPU core",
        "ours_ms": round(1e3 * median(m for m, _ in both), 2),
        "trl_ms": round(1e3 * median(t for _, t in both), 2),
        "ratio": round(median(ratios), 3),
        "interval": [round(low, 3), round(high, 3)],
    }
    print(json.dumps(line), flush=True)
    if asked.out is not None:
        with asked.out.open("a") as stream:
            stream.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
