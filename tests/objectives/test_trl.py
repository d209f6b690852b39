"""The same batch through TRL's trainers and ours: losses and gradients agree.

TRL 1.16; the objectives are those of the recipes, with their data, reference file and masks.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from scoreward.methods.texts import TextMethod, measured
from scoreward.models.texts.language import Sequences
from tests.objectives.texts import Bench, bench, named, tales
from tests.training.toys import worded

BETA = 0.3
# our method: TRL's loss and the settings it is compared with
SAME = {
    named("dpo", beta=BETA): ("sigmoid", {}),
    named("ln_dpo", beta=BETA): ("sigmoid_norm", {}),
    named("ipo_per_token", tau=BETA): ("ipo", {}),
    named("hinge_dpo", beta=BETA): ("hinge", {}),
    named("robust_dpo", beta=BETA, flip=0.2): ("robust", {"label_smoothing": 0.2}),
    named("exo", beta=BETA, flip=0.2): ("exo_pair", {"label_smoothing": 0.2}),
    named("nca", beta=BETA): ("nca_pair", {}),
    named("sppo", beta=BETA): ("sppo_hard", {}),
    named("apo_zero", beta=BETA): ("apo_zero", {}),
    named("apo_down", beta=BETA): ("apo_down", {}),
    named("aot", beta=BETA): ("aot", {}),
    named("aot_unpaired", beta=BETA): ("aot_unpaired", {}),
    named("bco", beta=BETA, running=False): ("bco_pair", {}),
    named("discopop", beta=BETA): ("discopop", {}),
    named("wpo", beta=BETA): ("sigmoid", {"use_weighting": True}),
    named("dpo", beta=BETA, tail=0.4): ("sigmoid", {"ld_alpha": 0.4}),
    named("f_dpo", beta=BETA, divergence="js"): (
        "sigmoid",
        {"f_divergence_type": "js_divergence"},
    ),
    named("f_dpo", beta=BETA, divergence="forward_kl"): (
        "sigmoid",
        {"f_divergence_type": "forward_kl"},
    ),
    named("f_dpo", beta=BETA, divergence="alpha", a=0.5): (
        "sigmoid",
        {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.5},
    ),
}
PLAIN = {
    "label_smoothing": 0.0,
    "use_weighting": False,
    "ld_alpha": None,
    "f_divergence_type": "reverse_kl",
    "f_alpha_divergence_coef": 0.5,
}


def networks(ours: Bench) -> tuple[Any, Any]:
    """Copies of the policy and of the reference."""
    model, weights = worded(ours.trainer), ours.trainer.weights
    policy = copy.deepcopy(model.network)
    with weights.using("reference"):
        return policy, copy.deepcopy(model.network)


def settings(folder: Path, kind: Any, **more: Any) -> Any:
    return kind(
        **more,
        output_dir=str(folder),
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=6,
        disable_dropout=True,
    )


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return bench(named("dpo", beta=BETA), tmp_path_factory.mktemp("dpo"))


@pytest.fixture(scope="module")
def theirs(ours: Bench, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """TRL's DPO trainer on copies of the same networks."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    policy, reference = networks(ours)
    texts = [{"prompt": r.prompt, "chosen": r.chosen, "rejected": r.rejected} for r in tales(6)]
    return DPOTrainer(
        model=policy,
        ref_model=reference,
        args=settings(tmp_path_factory.mktemp("trl"), DPOConfig, use_weighting=True),
        train_dataset=Dataset.from_list(texts),
        processing_class=worded(ours.trainer).text.tokenizer,
    )


def columns(rows: Sequences, prefix: str = "") -> dict[str, Tensor]:
    """A block as TRL's collators give it; they pad where the last completion has ended."""
    used = (
        torch.arange(rows.token.shape[1])
        < (rows.mask * torch.arange(rows.token.shape[1])).amax(1, keepdim=True) + 1
    )
    return {
        f"{prefix}input_ids": rows.token,
        f"{prefix}attention_mask": used.long(),
        f"{prefix}completion_mask": rows.mask.long(),
    }


def batch_of(ours: Bench) -> dict[str, Tensor]:
    from scoreward.core.rows import join

    return columns(join([ours.rows.winner, ours.rows.loser]))


def gradient(network: Any) -> Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize("method", SAME, ids=repr)
def test_losses_and_gradients_are_those_of_trl(
    method: TextMethod, theirs: Any, tmp_path: Path
) -> None:
    """[ld-dpo] (likelihood) [wpo] (weights) [f-dpo] (loss) [aot] (paired) and what DPO has."""
    name, changed = SAME[method]
    ours = bench(method, tmp_path)
    theirs.loss_types, theirs.beta = [name], BETA
    for setting, value in (PLAIN | changed).items():
        setattr(theirs, setting, value)
    theirs.args.discopop_tau = 0.05
    theirs.model.zero_grad()
    expected = theirs._compute_loss(theirs.model, batch_of(ours), False)
    expected.backward()
    loss, _ = ours.loss()
    loss.backward()
    torch.testing.assert_close(loss.double(), expected.double(), rtol=1e-5, atol=1e-5)
    mine, other = gradient(worded(ours.trainer).network), gradient(theirs.model)
    assert (mine - other).norm() < 1e-4 * other.norm()


def test_the_policy_has_left_its_reference(ours: Bench) -> None:
    """Otherwise the comparisons above would prove little."""
    loss, metrics = ours.loss()
    assert abs(float(loss.detach()) - 0.6931) > 0.02
    assert abs(float(metrics["drift/nats"])) > 0.1


def test_kto_is_that_of_trl(tmp_path: Path) -> None:
    """[kto] (loss) [kto] (baseline)"""
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    method = named("kto", beta=BETA, weight_desirable=1.2, weight_undesirable=0.8)
    ours = bench(method, tmp_path)
    policy, reference = networks(ours)
    texts = [{"prompt": "p", "completion": "abc", "label": bool(i % 2)} for i in range(6)]
    trainer = KTOTrainer(
        model=policy,
        ref_model=reference,
        args=settings(tmp_path / "trl", KTOConfig),
        train_dataset=Dataset.from_list(texts),
        processing_class=worded(ours.trainer).text.tokenizer,
    )
    trainer.beta = BETA
    trainer.desirable_weight, trainer.undesirable_weight = 1.2, 0.8
    batch = columns(ours.rows.text) | columns(ours.rows.other, "KL_")
    expected = trainer._compute_loss(trainer.model, batch | {"label": ours.rows.desirable}, False)
    loss, metrics = ours.loss()
    torch.testing.assert_close(loss.double(), expected.double(), rtol=1e-5, atol=1e-5)
    assert float(metrics["baseline/nats"]) >= 0


def stand_in(**fields: Any) -> Any:
    """An object with the few fields that TRL's loss functions read."""
    from types import SimpleNamespace

    accelerator = SimpleNamespace(device="cpu")
    return SimpleNamespace(accelerator=accelerator, label_smoothing=0.0, alpha=0.0, **fields)


def test_losses_without_a_reference_are_those_of_trl(tmp_path: Path) -> None:
    """[cpo] (loss) [simpo] (loss) [alpha-po] (loss) [orpo] (loss)"""
    from trl.experimental import cpo as of_cpo
    from trl.experimental import orpo as of_orpo

    from scoreward.objectives.texts.language import said_of

    cpo_loss: Any = of_cpo.CPOTrainer.cpo_loss
    odds_ratio_loss: Any = of_orpo.ORPOTrainer.odds_ratio_loss

    ours = bench(named("dpo"), tmp_path)
    pairs = said_of(ours.policy.current, ours.rows, 1.0)
    (sum_w, sum_l), (len_w, len_l) = pairs.policy(), pairs.lengths()
    mean_w, mean_l = sum_w / len_w, sum_l / len_l

    def ours_of(method: TextMethod) -> Tensor:
        return measured(method).method(pairs).detach()

    cpo = stand_in(loss_type="sigmoid", beta=BETA)
    expected = cpo_loss(cpo, sum_w, sum_l)[0] - mean_w
    torch.testing.assert_close(ours_of(named("cpo", beta=BETA, sft=1.0)), expected.detach())
    simpo = stand_in(loss_type="simpo", beta=2.0, simpo_gamma=0.5)
    expected = cpo_loss(simpo, mean_w, mean_l)[0]
    torch.testing.assert_close(ours_of(named("simpo", beta=2.0, gamma=0.5)), expected.detach())
    simpo.alpha = 0.25
    expected = cpo_loss(simpo, mean_w, mean_l)[0]
    method = named("alpha_po", beta=2.0, gamma=0.5, a=0.25)
    torch.testing.assert_close(ours_of(method), expected.detach())
    odds = odds_ratio_loss(stand_in(beta=0.1), mean_w, mean_l)[0]
    expected = (-mean_w - odds).detach()
    found = ours_of(named("orpo", weight=0.1))
    torch.testing.assert_close(found.float(), expected.float(), rtol=1e-5, atol=1e-5)
