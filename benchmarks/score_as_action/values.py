"""Value functions of noisy portraits before any training of the policy: how much do they foresee?

    python -m benchmarks.score_as_action.values

Paths of the base model with η = 1 in 20 steps; V(t, x, c) is fitted to the reward of the finished
picture and judged on prompts that it was not fitted on, nor stopped by. Writes values.json.
"""

import json
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from scoreward.core.chain import Transitions, rollout
from scoreward.core.keys import Key, normal_each
from scoreward.core.policy import DiffusionPolicy, Rollout
from scoreward.data import portraits as data
from scoreward.methods.sampling import Noisy
from scoreward.models.builtin import portraits as builtin
from scoreward.objectives.base import Samples
from scoreward.objectives.paths.critic import PathCritic
from scoreward.objectives.paths.denoised_value import DenoisedValue
from scoreward.objectives.paths.replay import path_rows
from scoreward.objectives.paths.visited import States, visited
from scoreward.rewards.portraits import AttributeReward
from scoreward.tasks.portraits import verifier

FILE = Path(__file__).parent / "values.json"
PROMPTS, STEPS, SEEDS, PASSES, SHARE = 800, 20, 3, 12, 0.2
FORMS = {
    "denoised reward, noisy network: cos, sin": DenoisedValue(told=False),
    "the same: cos, 1 - cos": DenoisedValue(told=False, skip="one_minus_cosine"),
    "the same: 1 - t, t": DenoisedValue(told=False, skip="linear"),
    "both denoised": DenoisedValue(told=False, branches="denoised"),
    "both noisy": DenoisedValue(told=False, branches="noisy"),
    "denoised reward, network told of it": DenoisedValue(),
    "both denoised, network told": DenoisedValue(branches="denoised"),
}


def collected() -> tuple[Samples, Transitions, DiffusionPolicy]:
    """One path for each prompt, and a policy that can score any picture."""
    model = builtin.portraits()
    prompts = data.load("train").captions[:PROMPTS]
    index, reward = torch.arange(PROMPTS), AttributeReward(verifier("a"))
    sampler, cond = Noisy("ddim", 1.0, steps=STEPS).sampler(), model.encode(prompts)
    parts: list[Transitions] = []
    last: list[Tensor] = []
    for first in range(0, PROMPTS, 100):
        keys = [Key(("values", i)) for i in range(first, first + 100)]
        x = normal_each((key / "start" for key in keys), model.shape)
        path = rollout(sampler, model.denoiser, x, keys, cond[first : first + 100])  # pyright: ignore
        parts.append(path.transitions(first))
        last.append(path.last)
    x0 = torch.cat(last)
    earned = reward(model.decode(x0), prompts)

    def score(x0: Tensor, sample: Tensor) -> Tensor:
        return reward(model.decode(x0), [prompts[i] for i in sample.tolist()])

    policy = DiffusionPolicy(
        model.denoiser,
        model.denoiser,
        model.denoiser,
        model.process,
        sampler,
        rollout=Rollout(score=score),
    )
    joined = Transitions(*(torch.cat(c) for c in zip(*(vars(p).values() for p in parts))))
    return Samples(x0, cond, earned, index, index, earned), joined, policy


def part_of(states: States, keep: Tensor) -> tuple[States, Tensor]:
    """The states of some samples, renumbered from 0 on, and their final rewards."""
    at = keep[states.sample].nonzero()[:, 0]
    number = keep.cumsum(0) - 1
    mine = states[at]
    return replace(mine, sample=number[mine.sample], after=at * 0 - 1), mine.reward


def foreseen(states: States, value: Tensor) -> dict[str, list[float]]:
    """Mean squared error and explained variance of the final reward, step by step."""
    errors, explained, times = [], [], []
    for step in states.step.unique().tolist():
        here = states.step == step
        error = (value[here] - states.reward[here]).square().mean()
        errors.append(float(error))
        explained.append(float(1 - error / states.reward[here].var(correction=0)))
        times.append(float(states.t[here][0]))
    return {"t": times, "mse": errors, "explained": explained}


def fitted(form: DenoisedValue, states: States, seed: int) -> dict:
    """One value function: fitted on 60 % of the prompts, stopped by 20 %, judged on 20 %."""
    order, size = Key(("split", seed)).permutation(PROMPTS), int(SHARE * PROMPTS)
    part = torch.zeros(PROMPTS, dtype=torch.long)
    part[order[:size]], part[order[size : 2 * size]] = 1, 2
    (mine, returns), (chosen, _), (theirs, _) = (part_of(states, part == i) for i in range(3))
    critic, start = PathCritic(form, {}, lambda value: value), time.process_time()
    critic.begin(returns[mine.step == 0], mine.inputs.shape[1], Key(("start", seed)))
    best: dict = {}
    for number in range(PASSES):
        rate = form.rate * (1 - number / PASSES)
        critic = replace(critic, settings=replace(form, rate=rate, batches=8))
        critic.fit(mine, returns * 0, returns, 1, Key(("fit", seed, number)))
        whole = float((critic(chosen) - chosen.reward).square().mean())
        best.setdefault("by pass", []).append(whole)
        if whole <= min(best["by pass"]):
            best |= {"held out": foreseen(theirs, critic(theirs)), "passes": number + 1}
    plug_in = foreseen(theirs, theirs.first)
    return best | {"plug in": plug_in, "cpu_seconds": time.process_time() - start}


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    samples, paths, policy = collected()
    rows = path_rows(samples, paths)
    seen = {b: visited(rows, samples, policy, b) for b in ("mixed", "denoised", "noisy")}
    found = {"prompts": PROMPTS, "reward std": float(samples.reward.std()), "forms": {}}
    for name, form in FORMS.items():
        states = seen[form.branches]
        found["forms"][name] = [fitted(form, states, seed) for seed in range(SEEDS)]
        means = [sum(x["held out"]["mse"]) / STEPS for x in found["forms"][name]]
        print(name, means, found["forms"][name][0]["passes"], flush=True)
        FILE.write_text(json.dumps(rounded(found)))


def rounded(value: object) -> object:
    """Numbers to five digits, so that the file stays small."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
