"""TRL's DDPO with adapters, as its own example runs it, in an interpreter that has it.

requirements-trl.txt says what to install there.
"""

import tempfile
import warnings
from itertools import cycle
from pathlib import Path
from typing import Any

from accelerate import PartialState
from torch import nn

from benchmarks.peers import settings

warnings.filterwarnings("ignore")

from trl import (  # noqa: E402  # pyright: ignore[reportMissingImports]
    DDPOConfig,
    DDPOTrainer,
    DefaultDDPOStableDiffusionPipeline,
)


def config(guided: bool) -> Any:
    """One update a round, in batches of the common size."""
    return DDPOConfig(
        sample_num_steps=settings.STEPS,
        sample_eta=1.0,
        sample_guidance_scale=settings.GUIDANCE["sd15"] if guided else 1.0,
        sample_batch_size=settings.BATCH,
        sample_num_batches_per_epoch=settings.SAMPLES // settings.BATCH,
        train_batch_size=settings.BATCH,
        train_gradient_accumulation_steps=settings.SAMPLES // settings.BATCH,
        train_cfg=guided,
        train_learning_rate=settings.LR,
        train_adam_weight_decay=settings.WEIGHT_DECAY,
        train_clip_range=settings.CLIP,
        train_max_grad_norm=settings.MAX_NORM,
        per_prompt_stat_tracking=False,
        mixed_precision="no",
        allow_tf32=False,
        save_freq=10**9,
        log_with=None,
        project_kwargs={"project_dir": tempfile.mkdtemp()},
    )


class TRL:
    """Rounds of DDPOTrainer."""

    def __init__(self, folder: Path, guided: bool) -> None:
        PartialState()  # otherwise building the pipeline logs before there is a state, and fails
        pipe = DefaultDDPOStableDiffusionPipeline(str(folder / "sd15"), use_lora=True)
        if not guided:  # otherwise it joins both conditions to a batch of one, and fails
            pipe.sd_pipeline._encode_prompt = lambda *_, prompt_embeds, **__: prompt_embeds
        words = cycle(p for p in settings.PROMPTS for _ in range(settings.GROUP))
        self.trainer = DDPOTrainer(
            config(guided),
            lambda images, prompts, metadata: (settings.redness(images), {}),
            lambda: (next(words), {}),
            pipe,
        )
        self.trainer.sd_pipeline.set_progress_bar_config(disable=True)
        self.epoch = self.updates = 0
        self.modules: dict[str, nn.Module] = {
            "denoiser": pipe.unet,
            "vae": pipe.vae.decoder,
            "text": pipe.text_encoder,
        }

    def round(self) -> dict[str, Any]:
        self.updates = self.trainer.step(self.epoch, self.updates)
        self.epoch += 1
        return {"checked": False}

    @property
    def inner_optimizer(self) -> Any:
        """The optimiser of torch."""
        return self.trainer.optimizer.optimizer

    def watched(self) -> list[dict[str, Any]]:
        """A list that the next round fills with its batches."""
        found, train = [], self.trainer._train_batched_samples

        def watch(inner: int, epoch: int, updates: int, batches: list[dict[str, Any]]) -> int:
            order = self.trainer.sd_pipeline.scheduler.timesteps
            for batch in batches:
                place = (batch["timesteps"][..., None] == order).int().argmax(-1)
                found.append(
                    {
                        "x": batch["latents"],
                        "next": batch["next_latents"],
                        "steps": place,
                        "log_probs": batch["log_probs"],
                        "advantages": batch["advantages"],
                        "states": batch["prompt_embeds"].detach(),
                        "pooled": None,
                    }
                )
            return train(inner, epoch, updates, batches)

        self.trainer._train_batched_samples = watch
        return found


ARMS = {
    "ddpo-guided": lambda folder: TRL(folder, True),
    "ddpo-plain": lambda folder: TRL(folder, False),
}
