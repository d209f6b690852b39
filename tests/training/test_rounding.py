"""How coarse a network's numbers are, what follows for the ratio, and when the loss is scaled."""

from collections.abc import Iterator
from dataclasses import replace
from math import prod, sqrt
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from scoreward.core.policy import DiffusionPolicy
from scoreward.models.builtin.portraits import portraits
from scoreward.objectives.samples.answers import PairRows
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.training.geometry import Geometry
from scoreward.training.guards import Guards
from scoreward.training.precision import LEAST, narrowest, rounding_of, scaler_of, tolerance
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
from tests.training.readings import FAST, network, pictured
from tests.training.toys import make_trainer, online

CPU, CARD = torch.device("cpu"), torch.device("cuda")
BF16, FP16 = 2.0**-8, 2.0**-11  # 8 and 11 bits, the first of them implied


def layers(one: torch.dtype, two: torch.dtype) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2).to(one), nn.Linear(2, 2).to(two))


def test_the_coarsest_numbers_of_a_network_count() -> None:
    mixed = layers(torch.float32, torch.float16)
    assert narrowest(mixed, None) == torch.float16
    assert narrowest(mixed, torch.bfloat16) == torch.bfloat16
    assert narrowest(layers(torch.float32, torch.float32), None) == torch.float32
    assert rounding_of(mixed, None, CPU) == FP16
    assert rounding_of(mixed, torch.bfloat16, CPU) == BF16


@pytest.fixture
def backends() -> Iterator[tuple[Any, Any]]:
    """Whose settings are put back."""
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    yield matmul, cudnn
    matmul.allow_tf32, cudnn.allow_tf32 = before


@pytest.mark.parametrize("one", [False, True])
@pytest.mark.parametrize("other", [False, True])
def test_tf32_is_a_matter_of_cards(one: bool, other: bool, backends: Any) -> None:
    plain = layers(torch.float32, torch.float32)
    for backend, allowed in zip(backends, (one, other), strict=True):
        backend.allow_tf32 = allowed
    assert rounding_of(plain, None, CARD) == (2.0**-11 if one or other else 2.0**-24)
    assert rounding_of(plain, None, CPU) == 2.0**-24
    assert rounding_of(plain, torch.bfloat16, CARD) == BF16


@pytest.mark.parametrize(("guidance", "factor"), [(1.0, 1), (0.5, 1), (2.0, 3), (5.0, 9)])
def test_the_tolerance_by_its_formula(guidance: float, factor: int) -> None:
    """16 · rounding · (2w − 1)/√n of a mean over n elements, √n of a sum."""
    for n in (48, 3072):
        assert tolerance(BF16, guidance, n) == pytest.approx(16 * BF16 * factor / sqrt(n))
        summed = tolerance(BF16, guidance, n, summed=True)
        assert summed == pytest.approx(16 * BF16 * factor * sqrt(n))
    assert tolerance(2.0**-24, guidance, 48) == LEAST


def test_a_trainer_allows_what_its_precision_guidance_and_samples_explain() -> None:
    objective, source = pictured("portraits_vgrpo")
    for precision, rounding in (("no", 2.0**-24), ("bf16", BF16)):
        made = Trainer(
            portraits.around(network(False)), replace(objective, anchor=0.0), source, FAST,
            Team(precision, "cpu"), guidance=2.0, guards=Guards(ratio_limit=1e6),
        )  # fmt: skip
        made.step()
        assert made.tolerance == tolerance(rounding, 2.0, prod(portraits.shape))
        work, _ = made.work(1)
        assert work.policy.rounding == rounding  # by which answers are asked for again


def test_the_loss_is_scaled_where_anything_is_fp16() -> None:
    whole, half = (layers(torch.float32, kind) for kind in (torch.float32, torch.float16))
    assert scaler_of(half, None, CPU).is_enabled()
    assert scaler_of(whole, torch.float16, CPU).is_enabled()
    assert not scaler_of(whole, torch.bfloat16, CPU).is_enabled()
    assert not scaler_of(whole, None, CPU).is_enabled()


class Noting(VGRPO):
    """Notes which samples are answered together, and which are trained together."""

    answers: ClassVar[list[list[int]]] = []
    losses: ClassVar[list[list[int]]] = []

    def answered(self, rows: PairRows, policy: DiffusionPolicy) -> PairRows:
        made = super().answered(rows, policy)
        self.answers.append(made.sample.tolist())
        return made

    def loss(self, rows: PairRows, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        self.losses.append(rows.sample.tolist())
        return super().loss(rows, policy)


def test_old_answers_are_asked_in_the_batches_of_the_first_pass() -> None:
    """Kernels may round differently in batches of other shapes or in another order."""
    geometry = Geometry(prompts=4, group=4, minibatches=2, micro_batch=3, epochs=2)
    make_trainer(objective=Noting(), source=online(geometry)).step()
    assert sorted(map(len, Noting.answers)) == [2, 2, 3, 3, 3, 3]
    assert Noting.losses[:6] == Noting.answers
    assert len(Noting.losses) == 12
