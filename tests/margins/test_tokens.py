"""From logits to pairs: known sums, entropies and weights, and what padding may not change."""

from math import log

import pytest
import torch
from torch import Tensor

from scoreward.losses import methods as m
from scoreward.losses import tokens
from scoreward.losses.language import PreferenceLoss
from scoreward.losses.pairs import Pairs
from tests.margins.known import DIGITS, column

W = [[[1.0, 0, -1], [0.5, 0.2, 0.9], [7, 7, 7]]]  # the last is padding
L = [[[0.2, 0.9, -0.3], [1.1, 0.4, 0], [0, 0.6, 0.3]]]
REF_W = [[[0.8, 0.1, -0.7], [0.3, 0.4, 0.6], [9, 0, 9]]]
REF_L = [[[0.1, 0.7, -0.1], [0.9, 0.6, 0.1], [0.2, 0.5, 0.1]]]
TOKEN_W, TOKEN_L = torch.tensor([[0, 2, 1]]), torch.tensor([[1, 1, 0]])
MASK_W, MASK_L = torch.tensor([[True, True, False]]), torch.tensor([[True, True, True]])


def double(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def pair(tail: float = 1.0) -> Pairs:
    """The pair as a loss takes it; tokens beyond the shorter completion count `tail` times."""
    shared = torch.minimum(MASK_W.sum(1), MASK_L.sum(1))

    def total(logits: list, token: Tensor, mask: Tensor) -> Tensor:
        each = tokens.token_log_probs(double(logits), token)
        return tokens.length_desensitised(each, mask, shared, tail)

    return Pairs(
        logp_w=total(W, TOKEN_W, MASK_W),
        logp_l=total(L, TOKEN_L, MASK_L),
        len_w=MASK_W.sum(1),
        len_l=MASK_L.sum(1),
        ref_w=total(REF_W, TOKEN_W, MASK_W),
        ref_l=total(REF_L, TOKEN_L, MASK_L),
        entropy_w=tokens.mean_entropy(double(REF_W), MASK_W),
        entropy_l=tokens.mean_entropy(double(REF_L), MASK_L),
        weight_w=tokens.on_policy_weight(double(W), TOKEN_W, MASK_W),
        weight_l=tokens.on_policy_weight(double(L), TOKEN_L, MASK_L),
    )


def test_log_probabilities_of_tokens_are_known() -> None:
    found = tokens.token_log_probs(double(L), TOKEN_L)
    expected = double([[-0.586552, -1.304019, -1.428390]])
    torch.testing.assert_close(found, expected, rtol=0, atol=DIGITS)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("logp_w", -1.180906),
        ("logp_l", -3.318961),
        ("ref_w", -1.481990),
        ("ref_l", -2.956285),
        ("entropy_w", 0.923688),  # [mallows-po] (entropy)
        ("entropy_l", 0.961808),
        ("weight_w", 1.290297),  # [wpo] (weights)
        ("weight_l", 0.848611),
    ],
)
def test_quantities_of_the_pair_are_known(field: str, expected: float) -> None:
    assert getattr(pair(), field).item() == pytest.approx(expected, abs=DIGITS)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (m.DPO(0.1).loss(), 0.660510),
        (m.LNDPO(10).loss(), 0.064146),
        (m.RainbowPO().loss(), 0.661210),
        (m.RainbowPO(norm="off").loss(), 0.022177),
        (m.SimPO(2.5, 1.375).loss(), 0.736723),
        (m.ORPO(0.1).loss(), 0.590453 + 0.033489),
        (m.IPOPerToken(0.1).loss(), 22.359335),
        (m.WPO(0.1).loss(), 0.723232),
    ],
)
def test_losses_of_the_pair_are_known(loss: PreferenceLoss, expected: float) -> None:
    assert loss(pair()).item() == pytest.approx(expected, abs=2 * DIGITS)


def test_scales_and_advantages_of_the_pair_are_known() -> None:
    rainbow, raw = m.RainbowPO().loss(), m.MallowsDPO(0.1, 1.0).loss()
    assert rainbow.advantage(pair()).item() == pytest.approx(0.379759, abs=DIGITS)
    assert rainbow.scale is not None
    assert raw.scale is not None
    assert rainbow.scale(pair()).item() == pytest.approx(0.017097, abs=DIGITS)
    assert raw.scale(pair()).item() == pytest.approx(0.058957, abs=DIGITS)
    assert m.ORPO(0.1).loss().advantage(pair()).item() == pytest.approx(0.921842, abs=DIGITS)


def test_a_tail_that_counts_half_is_known() -> None:
    """[ld-dpo] (likelihood)"""
    assert m.DPO(0.1).loss()(pair(0.5)).item() == pytest.approx(0.666530, abs=DIGITS)


def test_a_tail_that_does_not_count_leaves_the_shared_tokens() -> None:
    each = tokens.token_log_probs(double(L), TOKEN_L)
    torch.testing.assert_close(pair(0.0).logp_l, each[:, :2].sum(1))
    torch.testing.assert_close(pair(0.0).logp_w, pair().logp_w)


def test_prompts_in_front_do_not_use_up_the_shared_length() -> None:
    value, mask = double([[-5, -1, -2, -4]]), torch.tensor([[False, True, True, True]])
    found = tokens.length_desensitised(value, mask, torch.tensor([2]), 0.5)
    assert found.item() == pytest.approx(-1 - 2 - 0.5 * 4)


def test_what_is_outside_the_mask_changes_nothing() -> None:
    value = torch.tensor([[float("nan"), -1.0, float("-inf"), -2.0]], requires_grad=True)
    found = tokens.summed(value, torch.tensor([[False, True, False, True]]))
    assert found.item() == -3
    assert torch.autograd.grad(found.sum(), value)[0].tolist() == [[0, 1, 0, 1]]
    spoiled = double(REF_W)
    spoiled[0, 2] = float("nan")
    kept = tokens.mean_entropy(double(REF_W), MASK_W)
    torch.testing.assert_close(tokens.mean_entropy(spoiled, MASK_W), kept)


def test_pieces_along_the_sequence_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 7, 5, dtype=torch.float64, generator=generator)
    token = torch.randint(5, (2, 7), generator=generator)
    expected = logits.log_softmax(-1).gather(-1, token[..., None])[..., 0]
    monkeypatch.setattr(tokens, "PIECE", 3)
    torch.testing.assert_close(tokens.token_log_probs(logits, token), expected)
    mask = torch.arange(7)[None] < torch.tensor([[7], [4]])
    policy = torch.distributions.Categorical(logits=logits)
    entropy = (policy.entropy() * mask).sum(1) / mask.sum(1) / log(5)
    torch.testing.assert_close(tokens.mean_entropy(logits, mask), entropy)


def test_entropies_and_weights_have_no_gradient_and_log_probabilities_have() -> None:
    logits = double(L).requires_grad_()
    assert not tokens.mean_entropy(logits, MASK_L).requires_grad
    assert not tokens.on_policy_weight(logits, TOKEN_L, MASK_L).requires_grad
    tokens.token_log_probs(logits, TOKEN_L)[0, 1].backward()
    expected = torch.eye(3, dtype=torch.float64)[1] - logits[0, 1].detach().softmax(-1)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[0, 1], expected)


def test_half_precision_logits_are_scored_in_single_precision() -> None:
    logits = torch.tensor(L).bfloat16()
    found = tokens.token_log_probs(logits, TOKEN_L)
    torch.testing.assert_close(found, tokens.token_log_probs(logits.float(), TOKEN_L))
    assert found.dtype == torch.float32
    assert tokens.mean_entropy(logits, MASK_L).dtype == torch.float32


@pytest.mark.parametrize(("logits", "expected"), [([[[0.0] * 8]], 1.0), ([[[0.0, 1e4]]], 0.0)])
def test_entropy_runs_from_certain_to_undecided(logits: list, expected: float) -> None:
    found = tokens.mean_entropy(torch.tensor(logits), torch.tensor([[True]]))
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_a_tail_cannot_count_more_than_once() -> None:
    with pytest.raises(ValueError, match="between 0 and 1 times, got 2"):
        tokens.length_desensitised(column(1)[None], MASK_W[:, :1], torch.tensor([1]), 2.0)
