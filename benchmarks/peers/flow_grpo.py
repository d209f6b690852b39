"""Flow-GRPO's public code on SD3: its pipeline, its step, its statistics, its average of weights.

The option is a checkout of that code, of which nothing is copied here. The loop around its
functions is ours and does what its training script does, in that order, without its logging; the
script itself needs packages, a reward server and data that a benchmark has not.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import StableDiffusion3Pipeline
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from benchmarks.peers import settings

TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
TARGETS += ["add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]
TRAINED = int(0.99 * settings.STEPS)  # the published timestep fraction


class Published:
    """What the loop takes from the checkout."""

    def __init__(self, checkout: str) -> None:
        sys.path.insert(0, checkout)
        patch = "flow_grpo.diffusers_patch."
        self.pipeline = import_module(f"{patch}sd3_pipeline_with_logprob").pipeline_with_logprob
        self.step = import_module(f"{patch}sd3_sde_with_logprob").sde_step_with_logprob
        self.tracker = import_module("flow_grpo.stat_tracking").PerPromptStatTracker(False)
        self.ema = import_module("flow_grpo.ema").EMAModuleWrapper

    def rollout(self, loop: "Loop", words: dict[str, Tensor]) -> tuple[Tensor, list[Tensor], Any]:
        images, states, log_probs = self.pipeline(
            loop.pipe,
            prompt_embeds=words["states"],
            pooled_prompt_embeds=words["pooled"],
            negative_prompt_embeds=words["no_states"],
            negative_pooled_prompt_embeds=words["no_pooled"],
            num_inference_steps=settings.STEPS,
            guidance_scale=loop.scale,
            output_type="pt",
            height=32,
            width=32,
            noise_level=settings.NOISE,
        )
        return images, states, log_probs

    def log_prob(self, loop: "Loop", velocity: Tensor, t: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return self.step(
            loop.pipe.scheduler, velocity, t, x, prev_sample=y, noise_level=settings.NOISE
        )[1]

    def advantages(self, prompts: list[str], rewards: Tensor) -> Tensor:
        found = self.tracker.update(prompts, rewards.numpy())
        self.tracker.clear()
        return torch.as_tensor(found, dtype=torch.float32)

    def average(self, parameters: list[nn.Parameter]) -> Any:
        return self.ema(parameters, decay=0.9, update_step_interval=8)


class Loop:
    """Sample all batches, score, train every transition with a second forward, one update."""

    def __init__(self, folder: Path, guided: bool, functions: Published) -> None:
        self.functions, self.guided = functions, guided
        self.scale = settings.GUIDANCE["sd3"] if guided else 1.0
        self.pipe: Any = StableDiffusion3Pipeline.from_pretrained(folder / "sd3")
        self.pipe.set_progress_bar_config(disable=True)
        for name in ("vae", "text_encoder", "text_encoder_2", "text_encoder_3", "transformer"):
            getattr(self.pipe, name).requires_grad_(False)
        config = LoraConfig(
            r=settings.RANK,
            lora_alpha=settings.ALPHA,  # pyright: ignore[reportArgumentType]
            init_lora_weights="gaussian",
            target_modules=TARGETS,
        )
        self.pipe.transformer = get_peft_model(self.pipe.transformer, config)
        batches = settings.SAMPLES // settings.BATCH
        self.accelerator = Accelerator(gradient_accumulation_steps=batches * TRAINED)
        self.parameters = [p for p in self.pipe.transformer.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            self.parameters, settings.LR, settings.BETAS, weight_decay=settings.WEIGHT_DECAY
        )
        self.network, self.optimizer = self.accelerator.prepare(self.pipe.transformer, optimizer)
        self.average, self.updates = functions.average(self.parameters), 0
        self.nothing = self.encoded([""])
        self.modules: dict[str, nn.Module] = {
            "denoiser": self.network,
            "vae": self.pipe.vae.decoder,
            "text": self.pipe.text_encoder,
            "text 2": self.pipe.text_encoder_2,
            "text 3": self.pipe.text_encoder_3,
        }

    @torch.no_grad()
    def encoded(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """States and pooled vectors; every batch is encoded anew, as in the public script."""
        states, _, pooled, _ = self.pipe.encode_prompt(
            prompts,
            prompts,
            prompts,
            do_classifier_free_guidance=False,
            max_sequence_length=settings.MAX_TOKENS,
        )
        return states, pooled

    def words(self, prompts: list[str]) -> dict[str, Tensor]:
        """The conditions of a batch, with and without prompts."""
        (states, pooled), (no_states, no_pooled) = self.encoded(prompts), self.nothing
        count = len(prompts)
        return {
            "states": states,
            "pooled": pooled,
            "no_states": no_states.repeat(count, 1, 1),
            "no_pooled": no_pooled.repeat(count, 1),
        }

    def answer(self, x: Tensor, t: Tensor, words: dict[str, Tensor]) -> Tensor:
        """The (guided) velocity; as in the public code nothing is learned by the half without."""
        states, pooled = words["states"], words["pooled"]
        if self.guided:
            states = torch.cat([words["no_states"], states])
            pooled = torch.cat([words["no_pooled"], pooled])
            x, t = torch.cat([x] * 2), torch.cat([t] * 2)
        velocity = self.network(
            hidden_states=x,
            timestep=t,
            encoder_hidden_states=states,
            pooled_projections=pooled,
            return_dict=False,
        )[0]
        if not self.guided:
            return velocity
        without, given = velocity.chunk(2)
        without = without.detach()
        return without + self.scale * (given - without)

    def round(self) -> dict[str, Any]:
        self.network.eval()
        prompts = [p for p in settings.PROMPTS for _ in range(settings.GROUP)]
        batches, rewards = [], []
        for start in range(0, settings.SAMPLES, settings.BATCH):
            words = self.words(prompts[start : start + settings.BATCH])
            images, states, log_probs = self.functions.rollout(self, words)
            batches.append((words, torch.stack(states, 1), torch.stack(list(log_probs), 1)))
            rewards.append(settings.redness(images))
        advantages = self.functions.advantages(prompts, torch.cat(rewards))
        self.network.train()
        for k in torch.randperm(len(batches)).tolist():
            words, states, log_probs = batches[k]
            gain = advantages[k * settings.BATCH : (k + 1) * settings.BATCH]
            self.train(words, states, log_probs, gain)
        return {"checked": False}

    def train(
        self, words: dict[str, Tensor], states: Tensor, log_probs: Tensor, advantages: Tensor
    ) -> None:
        """The transitions of a batch, step by step."""
        times = self.pipe.scheduler.timesteps.repeat(len(states), 1)
        gain = advantages.clamp(-5, 5)
        for j in range(TRAINED):
            with self.accelerator.accumulate(self.network):
                x, y, t = states[:, j], states[:, j + 1], times[:, j]
                velocity = self.answer(x, t, words)
                log_prob = self.functions.log_prob(self, velocity, t, x, y)
                ratio = (log_prob - log_probs[:, j]).exp()
                cut = ratio.clamp(1 - settings.CLIP, 1 + settings.CLIP)
                self.accelerator.backward(torch.maximum(-gain * ratio, -gain * cut).mean())
                if self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(self.parameters, settings.MAX_NORM)
                self.optimizer.step()
                self.optimizer.zero_grad()
        if self.accelerator.sync_gradients:
            self.updates += 1
            self.average.step(self.parameters, self.updates)

    @property
    def inner_optimizer(self) -> Any:
        """The optimiser of torch."""
        return self.optimizer.optimizer

    def watched(self) -> list[dict[str, Any]]:
        """A list that the next round fills with its batches."""
        found: list[dict[str, Any]] = []
        train = self.train

        def watch(
            words: dict[str, Tensor], states: Tensor, log_probs: Tensor, advantages: Tensor
        ) -> None:
            found.append(
                {
                    "x": states[:, :TRAINED],
                    "next": states[:, 1 : TRAINED + 1],
                    "steps": torch.arange(TRAINED).expand(len(states), TRAINED),
                    "log_probs": log_probs[:, :TRAINED],
                    "advantages": advantages.clamp(-5, 5),
                    "states": words["states"],
                    "pooled": words["pooled"],
                }
            )
            train(words, states, log_probs, advantages)

        self.train = watch  # pyright: ignore[reportAttributeAccessIssue]
        return found


ARMS = {
    "guided": lambda folder, code: Loop(folder, True, Published(code)),
    "plain": lambda folder, code: Loop(folder, False, Published(code)),
}
