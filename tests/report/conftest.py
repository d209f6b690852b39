"""Run folders made up for the report: numbers and pictures like those of a real run."""

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scoreward.report import write_report

HAIR = {"black": (30, 26, 24), "brown": (96, 60, 34), "red": (178, 44, 22), "blue": (32, 120, 190)}
SHIRT = {
    "yellow": (250, 214, 60),
    "navy": (14, 44, 96),
    "teal": (60, 170, 190),
    "green": (96, 170, 60),
}
SKIN = [(243, 206, 168), (216, 164, 120), (164, 108, 66), (120, 74, 42)]
ATTRIBUTES = ("hair", "hair_length", "shirt", "glasses", "hat", "mouth", "earrings")
COUNT = 32
VERSIONS = {"python": "3.11.7", "torch": "2.13.0", "scoreward": "0.1.0", "numpy": "2.4.6"}


@dataclass(frozen=True)
class Story:
    """Where a run's scores start and end; the hacked one fools its reward."""

    reward: tuple[float, float] = (0.903, 0.968)
    judge: tuple[float, float] = (0.921, 0.967)
    strict: tuple[float, float] = (0.531, 0.781)
    diversity: tuple[float, float] = (0.232, 0.171)
    nearest: tuple[float, float] = (7.46, 7.58)
    palette: tuple[float, float] = (0.81, 0.86)
    anchor: float = 0.1
    mess: int = 0  # how far the last pictures are off


GOOD = Story()
HACKED = Story(
    reward=(0.903, 0.979),
    judge=(0.921, 0.93),
    strict=(0.531, 0.422),
    diversity=(0.232, 0.081),
    nearest=(7.46, 11.1),
    palette=(0.81, 0.43),
    anchor=0.0,
    mess=70,
)


def _between(ends: tuple[float, float], share: float, rng: random.Random) -> float:
    progress = (1 - math.exp(-3 * share)) / (1 - math.exp(-3))
    return ends[0] + (ends[1] - ends[0]) * progress + rng.gauss(0, 0.003) * (0 < share < 1)


def _spent(round_: int) -> dict[str, int]:
    return {
        "behaviour": 640 * round_,
        "training_forward": 256 * round_,
        "training_backward": 256 * round_,
    }


def _strict(story: Story, share: float, rng: random.Random) -> float:
    bump = 0.45 * math.sin(math.pi * share) ** 2 * (story.mess > 0)
    return _between(story.strict, share, rng) + bump * 0.5


def _scores(story: Story, share: float, rng: random.Random, shift: float) -> dict[str, Any]:
    one: dict[str, Any] = {
        name: _between(getattr(story, name), share, rng)
        for name in ("reward", "judge", "palette", "diversity", "nearest")
    }
    base = [0.84, 0.99, 0.92, 0.97, 0.95, 0.88, 0.93]
    accuracy = {a: min(0.995, b + 0.06 * share) for a, b in zip(ATTRIBUTES, base, strict=True)}
    one |= {"strict": _strict(story, share, rng) + shift, "attributes": accuracy}
    one["reward"] += shift / 4
    return one


def _evaluation(story: Story, round_: int, rounds: int, rng: random.Random) -> dict[str, Any]:
    share = round_ / max(rounds, 1)
    ode, sde = _scores(story, share, rng, 0.0), _scores(story, share, rng, 0.01 + 0.02 * share)
    gap = {name: sde[name] - ode[name] for name in ("reward", "judge", "strict")}
    where = {"kind": "evaluation", "round": round_, "evaluations": _spent(round_)}
    return where | {"seconds": 2.2 * round_, "ode": ode, "sde": sde, "gap": gap}


def _each(evaluation: dict[str, Any], sampler: str, prompts: int) -> dict[str, Any]:
    """What every prompt scored, whose mean is the evaluation's number."""
    rng, values = random.Random(2), {}
    for name in ("reward", "judge", "strict", "palette", "nearest"):
        own = [rng.gauss(0, 0.05) for _ in range(prompts)]
        moved = [rng.gauss(0, 0.02) * (evaluation["round"] > 0) for _ in range(prompts)]
        off = [a + b for a, b in zip(own, moved, strict=True)]
        shift = evaluation[sampler][name] - sum(off) / prompts
        values[name] = [shift + x for x in off]
    where = {k: evaluation[k] for k in ("round", "evaluations", "seconds")}
    rows = {"unit": "pictures", "groups": list(range(prompts)), "values": values}
    return {"kind": "each", "sampler": sampler, **where, **rows}


def _round(story: Story, round_: int, rounds: int, rng: random.Random) -> dict[str, Any]:
    share = round_ / rounds
    return {
        "kind": "round", "round": round_, "evaluations": _spent(round_), "seconds": 2.2 * round_,
        "reward/mean": _between(story.reward, share, rng) - 0.012 + rng.gauss(0, 0.012),
        "reward/std": 0.08 - 0.05 * share, "reward/std_in_group": 0.05 - 0.04 * share,
        "groups/zero_variance": 0.125 * rng.randint(0, 1), "advantage/max": 2.4 + rng.random(),
        "ratio/mean": 1.0, "ratio/min": 1.0, "ratio/max": 1.0,
        "clip/above": 0.03 * rng.random(), "clip/below": 0.04 * rng.random(),
        "loss": rng.gauss(0, 0.02), "gradient/norm": 0.4 + 0.2 * rng.random(),
        "drift/velocity": 0.02 * share + 0.001 * rng.random(), "anchor": 0.002 * share,
        "sample/rms": 0.74 + 0.01 * rng.random(), "learning_rate": 1e-4 * min(1, round_ / 10),
    }  # fmt: skip


def _health(rounds: int) -> list[dict[str, Any]]:
    fine = {
        "ratio": (0.0, "Every ratio was exactly 1 before the first update."),
        "replay": (0.0, "Stored and replayed log-probabilities agree."),
        "clip": (0.04, "The clip engages now and then, as it should."),
        "drift": (0.021, "The model stays near its base."),
        "sample_norm": (0.745, "Samples keep the size they had before training."),
    }
    lines = [
        {"kind": "health", "round": r, "level": "ok", "check": c, "value": v, "message": m}
        for r in range(10, rounds + 1, 10)
        for c, (v, m) in fine.items()
    ]
    warned = {50: "warn", 60: "warn"}
    return lines + [
        {
            "kind": "health", "round": r, "level": warned.get(r, "ok"), "check": "zero_variance",
            "value": 0.375 if r in warned else 0.125,
            "message": "Three groups in eight had equal rewards and taught nothing; use harder "
            "prompts or larger groups." if r in warned else "Most groups differ in reward.",
        }
        for r in range(10, rounds + 1, 10)
    ]  # fmt: skip


def _blur(colour: Any, noise: int, rng: random.Random) -> tuple[int, ...]:
    """A little off everywhere; with much noise, one pixel in three is confetti."""
    if noise > 50 and rng.random() < 0.3:
        return tuple(rng.randrange(256) for _ in colour)
    return tuple(max(0, min(255, int(c + rng.gauss(0, min(noise, 12))))) for c in colour)


def _portrait(
    hair: str, shirt: str, skin: tuple[int, ...], noise: int, rng: random.Random
) -> Image.Image:
    picture = Image.new("RGB", (16, 16), (255, 255, 255))
    for colour, box in (
        (HAIR[hair], (4, 2, 12, 6)),
        (skin, (4, 5, 12, 12)),
        ((255, 255, 255), (5, 7, 7, 8)),
        ((255, 255, 255), (9, 7, 11, 8)),
        ((40, 40, 60), (6, 7, 7, 8)),
        ((40, 40, 60), (10, 7, 11, 8)),
        ((206, 92, 92), (7, 10, 10, 11)),
        (skin, (7, 12, 9, 14)),
        (SHIRT[shirt], (2, 13, 14, 16)),
    ):
        picture.paste(colour, box)
    for x in range(16):
        for y in range(16):
            picture.putpixel((x, y), _blur(picture.getpixel((x, y)), noise, rng))
    return picture


def _samples(folder: Path, story: Story, rounds: list[int]) -> None:
    rng = random.Random(1)
    wanted = [(rng.choice([*HAIR]), rng.choice([*SHIRT]), rng.choice(SKIN)) for _ in range(COUNT)]
    luck = [rng.random() for _ in wanted]
    right, scores = {}, {}
    for round_ in rounds:
        share = round_ / max(rounds[-1], 1)
        limit = story.strict[0] + (story.strict[1] - story.strict[0]) * share
        sheet = Image.new("RGB", (128, 64))
        for i, (hair, shirt, skin) in enumerate(wanted):
            wrong = "teal" if shirt != "teal" else "green"
            worn = shirt if luck[i] < limit or story.mess else wrong
            noise = int(4 + story.mess * share)
            sheet.paste(_portrait(hair, worn, skin, noise, rng), (i % 8 * 16, i // 8 * 16))
        sheet.save(folder / f"{round_:06d}_ode.png")
        marks = [one < limit for one in luck]
        right[str(round_)] = {"ode": marks}
        judge = [0.96 + 0.03 * rng.random() if m else 0.7 + 0.2 * rng.random() for m in marks]
        reward = [0.93 + 0.06 * rng.random() for _ in marks]
        scores[str(round_)] = {"ode": {"reward": reward, "judge": judge}}
    prompts = [f"short {h} hair, {s} shirt, no glasses" for h, s, _ in wanted]
    index = {"prompts": prompts, "columns": 8, "tile": 16, "rounds": rounds}
    (folder / "index.json").write_text(json.dumps(index | {"right": right, "scores": scores}))


def _summary(story: Story) -> dict[str, Any]:
    names = ("reward", "judge", "strict", "diversity", "nearest")
    ends = [{n: getattr(story, n)[i] for n in names} for i in (0, 1)]
    before, after = ({"ode": e, "sde": e | {"strict": e["strict"] + 0.02}} for e in ends)
    return {
        "before": before, "after": after, "seconds": {"total": 268.0, "rl": 176.0},
        "evaluations": {"behaviour": 51200, "training": 40960},
    }  # fmt: skip


def _about(story: Story, rounds: int) -> dict[str, Any]:
    settings = {
        "geometry": {"prompts": 8, "group": 8, "micro_batch": 64, "rounds": rounds},
        "objective": {"soft_clip": 3.0, "anchor": story.anchor, "pairs": 4, "clip": None},
        "optimiser": {"learning_rate": 1e-4, "betas": [0.9, 0.999]},
        "rollout": {"kernel": "euler", "steps": 10},
    }
    return {
        "recipe": "portraits_vgrpo", "arguments": ["--seed", "0"], "settings": settings,
        "versions": VERSIONS, "seed": 0, "git": {"commit": "3f9c2d7a81b04e5f", "dirty": False},
        "started": "2026-05-03T14:05:11", "command": "scoreward train portraits_vgrpo --seed 0",
        "status": "finished", "reason": None,
    }  # fmt: skip


def write_fake_run(
    folder: Path,
    story: Story = GOOD,
    rounds: int = 80,
    about: dict[str, Any] | None = None,
    prompts: int = 128,
) -> Path:
    """A finished run of `rounds` rounds; `about` overrides entries of run.json.

    Without `prompts` it kept no numbers per prompt, as runs of earlier versions.
    """
    rng = random.Random(0)
    (folder / "samples").mkdir(parents=True)
    evaluated = sorted({*range(0, rounds + 1, 10), rounds})
    lines = [_evaluation(story, r, rounds, rng) for r in evaluated]
    if prompts:
        lines += [_each(e, s, prompts) for e in lines for s in ("ode", "sde")]
    lines += [_round(story, r, rounds, rng) for r in range(1, rounds + 1)]
    lines += _health(rounds)
    lines.append({
        "kind": "profile", "share_in_network": 0.934,
        "seconds": {"forward": 79.1, "backward": 85.2, "reward": 4.4, "other": 7.3},
    })  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "run.json").write_text(json.dumps(_about(story, rounds) | (about or {})))
    (folder / "summary.json").write_text(json.dumps(_summary(story)))
    _samples(folder / "samples", story, sorted({0, rounds // 2, rounds}))
    return folder


FakeRun = Callable[..., Path]


@pytest.fixture
def fake_run(tmp_path: Path) -> FakeRun:
    """Make a run folder by name; `hacked=True` gives the one that fooled its reward."""

    def make(name: str = "run", hacked: bool = False, **options: Any) -> Path:
        return write_fake_run(tmp_path / name, HACKED if hacked else GOOD, **options)

    return make


@pytest.fixture(scope="session")
def demo_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a good run with the hacked one beside it; made once, only to be read."""
    folder = tmp_path_factory.mktemp("demo")
    beside = write_fake_run(folder / "unanchored", HACKED)
    return write_report(write_fake_run(folder / "run"), beside)
