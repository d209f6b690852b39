"""Fewer bits: what is rounded is the network and nothing else, in every kind of number.

Rewards, decoding, densities, losses and statistics are float32 while the network is not; fp16
scales its loss; two runs of different precision live in one process.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scoreward.core.denoiser import NetworkDenoiser
from scoreward.core.process import RectifiedFlow
from scoreward.models.builtin.portraits import portraits
from scoreward.models.weights import Snapshot, Weights
from scoreward.objectives.paths.ddpo import DDPO
from scoreward.objectives.paths.flow_grpo import FlowGRPO
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.recipes import recipe
from scoreward.rewards.base import Reward
from scoreward.training import checkpoint
from scoreward.training.guards import Diverged, Guards
from scoreward.training.optimizer import Optimizer
from scoreward.training.precision import tolerance
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.sources.online import Online
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
from scoreward.verdict.bugs import distance
from scoreward.verdict.health import FLOAT32, check_round
from tests.support.matrix import long
from tests.training.readings import FAST, network, pictured, redness, trainer

FLOATS = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def seen_by(reward: list[tuple[bool, torch.dtype]]) -> Reward:
    """A reward that notes whether autocast is on and what it is given."""

    def watching(media: Tensor, prompts: Sequence[str]) -> Tensor:
        head = torch.nn.functional.linear(media.flatten(1), torch.ones(2, media[0].numel()))
        reward.append((torch.is_autocast_enabled("cpu"), head.dtype))
        return redness(media, prompts)

    return watching


def run_of(folder: Path, precision: str, reward: Reward = redness, lora: bool = True) -> Run:
    """V-GRPO on a tiny network, two rounds."""
    objective, source = pictured("portraits_vgrpo")
    full = recipe("vgrpo").run()
    assert full.evaluation is not None
    few = replace(full.evaluation, prompts=full.evaluation.prompts[:2], spread_prompts=1, noises=2)
    few = replace(few, scorers={"red": reward}, tables={}, every=1)
    return replace(
        full,
        model=portraits.around(network(lora)),
        objective=objective,
        source=replace(source, rewards={"red": reward}),
        optimizer=FAST,
        budget=Budget(rounds=2),
        evaluation=few,
        folder=folder,
        mixed_precision=precision,
    )


@pytest.mark.parametrize("precision", ["bf16", long("fp16")])
def test_rewards_and_decoding_are_float32_in_training_as_in_evaluation(
    precision: str, tmp_path: Path
) -> None:
    seen: list[tuple[bool, torch.dtype]] = []
    inside: list[bool] = []
    run = run_of(tmp_path, precision, seen_by(seen))
    run.model.network.register_forward_pre_hook(
        lambda *_: inside.append(torch.is_autocast_enabled("cpu"))
    )
    decode = run.model.decode

    def watched(x0: Tensor) -> Tensor:
        assert x0.dtype == torch.float32
        assert not torch.is_autocast_enabled("cpu")
        return decode(x0)

    list(replace(run, model=replace(run.model, decode=watched)).start())
    assert set(seen) == {(False, torch.float32)}
    assert set(inside) == {True}  # in rollouts, updates and evaluations


@pytest.mark.long
def test_runs_of_every_precision_live_in_one_process(tmp_path: Path) -> None:
    """Accelerate's state, which allows one, is not asked for it."""
    drifts = {}
    for precision in FLOATS:
        *_, last = run_of(tmp_path / precision, precision).start()
        assert last.evaluation is not None
        drifts[precision] = last.evaluation["ode"]["drift"]
    assert drifts["no"] > 1e-4
    for precision in ("bf16", "fp16"):
        # two updates of a fast Adam, so only the size is the same; it was 2000 times smaller
        assert drifts["no"] / 10 < drifts[precision] < 10 * drifts["no"], drifts


@pytest.mark.parametrize("lora", [True, False])
def test_the_kl_to_the_first_model_is_that_of_float32(lora: bool, tmp_path: Path) -> None:
    """It was exactly 0 in every round, for both sides were the live network."""
    kept = {}
    for precision in ("no", "bf16"):
        made = trainer("portraits_flow_grpo", precision, lora, tmp_path / precision)
        rounds = [made.step().metrics for _ in range(2)]
        kept[precision] = [m["kl/reference"] for m in rounds]
    assert kept["no"][1] > 1e-6
    assert kept["bf16"][1] == pytest.approx(kept["no"][1], rel=0.3)
    assert kept["bf16"][0] < 0.01 * kept["bf16"][1]  # the same batch shape rounds the same


# Snapshots under caches


class Twice(nn.Module):
    """A network that uses one weight at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4, bias=False)
        self.two = nn.Linear(4, 4, bias=False)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        return self.two(torch.tanh(self.one(x)))


class Recurrent(nn.Module):
    """A network whose layer keeps a second list of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(4, 4, batch_first=True)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        return self.cell(x[:, None])[0][:, 0]


ASKED = torch.linspace(-1, 1, 12).reshape(3, 4), torch.full((3,), 0.5), None


def followed(module: nn.Module, called: nn.Module) -> None:
    """A snapshot read through `called` answers as `module` did when it was taken."""
    weights, reading = Weights(module), NetworkDenoiser(called, RectifiedFlow())
    weights.commit("first")
    with torch.no_grad():
        first = reading(*ASKED).as_("velocity")
        for parameter in weights.parameters.values():
            parameter.mul_(-0.5)
        weights.stepped()
        moved = reading(*ASKED).as_("velocity")
    assert not torch.equal(first, moved)
    for _ in range(2):
        assert torch.equal(Snapshot(reading, weights, "first")(*ASKED).as_("velocity"), first)
        with torch.no_grad():
            assert torch.equal(reading(*ASKED).as_("velocity"), moved)


@pytest.mark.parametrize("kind", [Twice, Recurrent])
def test_snapshots_reach_weights_that_are_kept_twice(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    followed(made := kind(), made)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_snapshots_survive_a_cache_that_somebody_else_opened(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    made = Twice()
    weights, reading = Weights(made), NetworkDenoiser(made, RectifiedFlow())
    weights.commit("first")
    with torch.autocast("cpu", kind):
        first = Snapshot(reading, weights, "first")(*ASKED).as_("velocity")
        reading(*ASKED)  # fills the cache with the live weights
        with torch.no_grad():
            for parameter in weights.parameters.values():
                parameter.mul_(-0.5)
        weights.stepped()
        assert torch.equal(Snapshot(reading, weights, "first")(*ASKED).as_("velocity"), first)


@pytest.mark.slow
def test_snapshots_survive_compilation() -> None:
    """A compiled graph knows its parameters; other tensors make it compile again."""
    torch.manual_seed(0)
    made = Twice()
    compiled: Any = torch.compile(made, backend="aot_eager")
    followed(compiled, compiled)
    assert Weights(compiled).parameters.keys() == Weights(made).parameters.keys()
    made.compile(backend="aot_eager")
    followed(made, made)


# fp16


def test_gradients_too_small_for_fp16_are_not_lost() -> None:
    """A loss of 1e-7 has gradients that are 0 in fp16; scaled, they are those of float32."""
    found = {}
    for precision in ("no", "fp16"):
        objective, source = pictured("portraits_vgrpo")
        made = Trainer(
            portraits.around(network(False)), replace(objective, anchor=0.0), source,
            Optimizer(lr=1e-2, max_norm=None), Team(precision), guards=Guards(ratio_tolerance=1.0),
        )  # fmt: skip
        whole = made.objective.loss

        def tiny(rows: object, policy: object, whole: object = whole) -> object:
            loss, metrics = whole(rows, policy)  # pyright: ignore
            return loss * 1e-6, metrics

        object.__setattr__(made.objective, "loss", tiny)
        found[precision] = made.step().metrics["gradient/norm"]
    assert found["fp16"] == pytest.approx(found["no"], rel=0.1)


def test_an_update_that_overflows_is_skipped_and_the_scale_falls(tmp_path: Path) -> None:
    made = trainer("portraits_vgrpo", "fp16", False, tmp_path)
    made.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before = {n: p.detach().clone() for n, p in made.weights.parameters.items()}
    metrics = made.step().metrics
    assert metrics["gradient/overflowed"] == 1
    assert made.scaler.get_scale() == 2.0**39
    assert all(torch.equal(p, before[n]) for n, p in made.weights.parameters.items())


def test_gradients_that_overflow_unscaled_end_the_run(tmp_path: Path) -> None:
    made = trainer("portraits_vgrpo", "fp16", False, tmp_path)
    made.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    parameter = next(iter(made.weights.parameters.values()))
    parameter.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(Diverged, match=r"overflow fp16 in round 1 .* use bf16 or float32"):
        made.step()


def test_the_scale_is_part_of_a_checkpoint(tmp_path: Path) -> None:
    made = trainer("portraits_vgrpo", "fp16", False, tmp_path)
    made.scaler = torch.amp.GradScaler("cpu", init_scale=128.0)
    made.step()
    path = checkpoint.save(tmp_path / "checkpoints", made, 1.0)
    again = trainer("portraits_vgrpo", "fp16", False, tmp_path)
    checkpoint.load(path, again)
    assert again.scaler.state_dict() == made.scaler.state_dict()


def test_half_weights_under_adapters_are_scaled_without_autocast(tmp_path: Path) -> None:
    model = portraits.around(network(True))
    for parameter in model.network.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.half()
    objective, source = pictured("portraits_vgrpo")
    made = Trainer(model, objective, source, FAST, Team("fp16"))
    assert made.scaler.is_enabled()
    assert made.step().metrics["loss/scale"] > 1


# The ratio before the first update


@pytest.mark.parametrize("rounding", [2.0**-24, 2.0**-9])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("elements", [48, 768, long(16384)])
def test_the_tolerance_is_above_what_rounding_does_and_not_far(
    rounding: float, guidance: float, elements: int
) -> None:
    """Steps of the size of their noise, answers off by independent roundoffs, 256 transitions."""
    generator = torch.Generator().manual_seed(7)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    answers, z = draw(2, 256, elements), draw(256, elements)
    rounded = answers * (1 + rounding * draw(2, 256, elements))
    off = (rounded - answers)[0] * (guidance) - (guidance - 1) * (rounded - answers)[1]
    ratio = (z * off).mean(1).exp()
    worst = float((ratio - 1).abs().max())
    allowed = tolerance(rounding, guidance, elements)
    assert worst < allowed
    assert allowed <= max(1e-4, 40 * worst)


@pytest.mark.parametrize("objective", [DDPO(), FlowGRPO()])
def test_a_path_method_trains_in_bf16_with_guidance(
    objective: DDPO | FlowGRPO, tmp_path: Path
) -> None:
    """1e-4 stopped it: the rollout's batch of 4 and the update's of 3 round differently."""
    _, source = pictured("portraits_ddpo")
    assert isinstance(source, Online)
    source = replace(source, geometry=replace(source.geometry, micro_batch=3, minibatches=2))
    made = Trainer(
        portraits.around(network(False)), objective, source, FAST, Team("bf16"), guidance=5.0,
        guards=Guards(ratio_limit=1e6, verify_every=1),
    )  # fmt: skip
    metrics = made.step().metrics
    for end in ("min", "max"):
        assert abs(metrics[f"first/ratio/{end}"] - 1) < 1e-6


def test_the_tolerance_is_an_option() -> None:
    made = Trainer(
        portraits.around(network(False)), VGRPO(), pictured("portraits_vgrpo")[1], FAST, Team(),
        guards=Guards(ratio_tolerance=0.25),
    )  # fmt: skip
    made.step()
    assert made.tolerance == 0.25
    with pytest.raises(ValueError, match="ratio_tolerance >= 0"):
        Guards(ratio_tolerance=-1.0)


def test_health_and_diagnosis_allow_what_rounding_explains() -> None:
    """They judge by the round's own tolerance, which float32 does not write down."""
    off = {"first/ratio/min": 0.999, "first/ratio/max": 1.001}

    def level(metrics: dict[str, float]) -> str:
        return next(f.level for f in check_round(metrics, metrics) if f.check == "ratio")

    assert level(off) == "alarm"
    assert level(off | {"first/ratio/tolerance": 2e-3}) == "warn"
    assert level(off | {"first/ratio/tolerance": 2e-2}) == "ok"
    assert distance(off) > FLOAT32 > distance(off | {"first/ratio/tolerance": 2e-3})


@pytest.mark.parametrize("precision", [long("bf16"), "fp16"])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(precision: str, tmp_path: Path) -> None:
    ends = []
    for name, stop in (("whole", None), ("parts", 1)):
        run = replace(run_of(tmp_path / name, precision), keeping=Keeping(every=1))
        for moment in run.start():
            if moment.round == stop:
                break
        if stop is not None:
            again = replace(run_of(tmp_path / name, precision), keeping=Keeping(every=1))
            list(again.resume())
        path = checkpoint.newest(tmp_path / name / "checkpoints")
        assert path is not None
        ends.append(checkpoint.read_snapshot(path, "live"))
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


@pytest.mark.long
def test_runs_of_two_precisions_take_turns(tmp_path: Path) -> None:
    """Round by round in one process, each as if it were alone."""
    alone = {p: [m.metrics.get("loss") for m in run_of(tmp_path / p, p).start()] for p in FLOATS}
    turns = {p: run_of(tmp_path / f"{p} in turn", p).start() for p in FLOATS}
    heard: dict[str, list] = {p: [] for p in FLOATS}
    for _ in range(len(alone["no"])):
        for precision, moments in turns.items():
            heard[precision].append(next(moments).metrics.get("loss"))
    assert heard == alone
    assert alone["no"] != alone["bf16"]
