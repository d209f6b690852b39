"""The likelihood of a ranking: a law over orders, and the logistic loss for two."""

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy import special

from scoreward.core.keys import Key
from scoreward.losses.ranking import ranking

SCORES = Key(("scores",)).normal(3, 4, dtype=torch.float64)


def test_the_chances_of_all_orders_sum_to_one() -> None:
    """[pro] (ranking)"""
    total = sum((-ranking(SCORES[:, list(p)], 1.7)).exp() for p in permutations(range(4)))
    torch.testing.assert_close(total, torch.ones(3, dtype=torch.float64))


def test_the_likelihood_is_a_product_of_choices() -> None:
    s = 0.5 * SCORES.numpy()
    places = [special.log_softmax(s[:, k:], axis=1)[:, 0] for k in range(4)]
    np.testing.assert_allclose(ranking(SCORES, 0.5).numpy(), -sum(places), rtol=1e-12)


def test_two_answers_give_the_logistic_loss() -> None:
    gap = SCORES[:, 0] - SCORES[:, 1]
    expected = np.logaddexp(0, -0.3 * gap.numpy())
    np.testing.assert_allclose(ranking(SCORES[:, :2], 0.3).numpy(), expected, rtol=1e-12)


def test_far_scores_give_exact_slopes() -> None:
    """The worst order: each place loses to the last one, which is pushed down twice."""
    far = torch.tensor([[-1e4, 0.0, 1e4]], requires_grad=True)
    loss = ranking(far)
    loss.sum().backward()
    assert loss.item() == pytest.approx(3e4)
    assert far.grad is not None
    assert far.grad.tolist() == [[-1.0, -1.0, 2.0]]


def test_one_answer_is_no_ranking() -> None:
    with pytest.raises(ValueError, match="at least two answers, got 1"):
        ranking(SCORES[:, :1])
