"""Step 0 of preference methods: adapters off as the reference, and two precisions."""

from dataclasses import replace
from math import log
from pathlib import Path

import pytest
import torch
from torch import nn

from scoreward.core.chain import Sampler
from scoreward.core.denoiser import NetworkDenoiser
from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.process import RectifiedFlow
from scoreward.models.builtin.transformer import NetworkSize, PatchTransformer
from scoreward.models.lora import LoRA, add_lora
from scoreward.models.texts.loading import LanguageLoading
from scoreward.models.weights import Snapshot, Weights
from scoreward.objectives.pictures.diffusion_dpo import DiffusionDPO
from scoreward.objectives.pictures.rows import PreferenceRows, Preferred
from scoreward.training.geometry import Geometry
from tests.objectives.texts import SIZES, named, tales, trainer_of

KEY, PAIRS, FLOW = Key(("start",)), 24, RectifiedFlow()
DPO = DiffusionDPO(beta=2000.0)


def network() -> PatchTransformer:
    """Small, and far from the zeros of its start."""
    made = PatchTransformer((3, 16, 16), NetworkSize(hidden=16, depth=2, heads=2, text=8))
    for i, parameter in enumerate(made.parameters()):
        parameter.data = 0.2 * (KEY / "weights" / i).normal(*parameter.shape)
    return made


def pictures() -> Preferred:
    index = torch.arange(2 * PAIRS)
    sign = 1.0 - 2.0 * (index % 2).double()
    x0 = (KEY / "x0").normal(2 * PAIRS, 3, 16, 16).clamp(-1, 1)
    cond = (KEY / "cond").normal(PAIRS, 6, 8).repeat_interleave(2, 0)
    return Preferred(x0, cond, sign, index // 2, index, sign, None, None)


def adapted() -> tuple[nn.Module, Weights, DiffusionPolicy]:
    """A network with adapters, and the reference that is the same network without them."""
    module = add_lora(network(), LoRA(rank=2))
    weights = Weights(module)
    weights.commit("reference")
    now = NetworkDenoiser(module, FLOW)
    first = Snapshot(now, weights, "reference")
    return module, weights, DiffusionPolicy(now, now, first, FLOW, Sampler((1.0,), ()))


def started(using: DiffusionPolicy) -> PreferenceRows:
    with torch.no_grad():
        return DPO.ready(pictures(), using, KEY / "round")


def test_with_adapters_off_as_the_reference_the_first_loss_is_log_2() -> None:
    module, _, using = adapted()
    rows = started(using)
    loss, told = DPO.loss(rows, using)
    assert loss.item() == pytest.approx(log(2), abs=1e-6)
    assert told["implicit/accuracy"] == 0.5
    loss.backward()
    assert {n for n, p in module.named_parameters() if p.grad is not None} == {
        n for n, p in module.named_parameters() if ".lora_" in n
    }


def test_adapters_that_moved_leave_the_reference_where_it_was() -> None:
    module, weights, using = adapted()
    before = started(using)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if ".lora_B." in name:
                p.add_(0.05 * (KEY / name).normal(*p.shape))
    weights.stepped()
    rows = started(using)
    assert before.winner.error is not None
    assert rows.winner.error is not None
    torch.testing.assert_close(rows.winner.error, before.winner.error)
    assert abs(DPO.loss(rows, using)[0].item() - log(2)) > 1e-3


def test_pictures_in_two_precisions_begin_near_log_2() -> None:
    """A bfloat16 policy on a float32 reference: noise of std s in the logit lifts log 2 by s²/8.

    With β = 20 and errors of order 1; at 2000 the noise of these errors would be a hundredfold.
    """
    _, _, using = adapted()
    rows = replace(started(using), beta=torch.full((PAIRS,), 20.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, told = DPO.loss(rows, using)
    assert loss.dtype == torch.float32
    assert loss.item() != pytest.approx(log(2), abs=1e-6)
    assert loss.item() == pytest.approx(log(2), abs=0.02)
    assert told["error/winner"].dtype == torch.float32


def test_texts_in_two_precisions_begin_near_log_2(tmp_path: Path) -> None:
    model = SIZES.build(LanguageLoading(adapters=False))
    trainer = trainer_of(named("dpo"), tmp_path, tales(12), Geometry(prompts=12, group=1), model)
    work, _ = trainer.work(0)
    with torch.no_grad():
        rows = trainer.source.collect(0, trainer.key, work).samples
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = trainer.objective.loss(rows, work.policy)
    assert loss.item() != pytest.approx(log(2), abs=1e-7)
    assert loss.item() == pytest.approx(log(2), abs=0.02)
