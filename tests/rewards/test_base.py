"""A reward's answer is checked before anything is trained on it."""

import pytest
import torch
from torch import Tensor

from scoreward.rewards.base import RewardError, scored

MEDIA, PROMPTS = torch.arange(6.0).reshape(3, 2), ["a", "b", "c"]


def test_a_good_answer_passes_unchanged() -> None:
    assert scored("sum", lambda m, p: m.sum(1), MEDIA, PROMPTS).tolist() == [1.0, 5.0, 9.0]


@pytest.mark.parametrize(
    "answer", [[1, 2, 3], torch.tensor([1, 2, 3]), torch.tensor([1.0, 2, 3], dtype=torch.float64)]
)
def test_lists_integers_and_other_precisions_become_float32(answer: object) -> None:
    value = scored("r", lambda m, p: answer, MEDIA, PROMPTS)  # pyright: ignore
    assert value.dtype == torch.float32
    assert value.tolist() == [1.0, 2.0, 3.0]


def test_a_reward_carries_no_gradients() -> None:
    weight = torch.ones(2, requires_grad=True)
    assert not scored("r", lambda m, p: m @ weight, MEDIA, PROMPTS).requires_grad


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_refused_with_its_prompt(broken: float) -> None:
    with pytest.raises(RewardError) as caught:
        scored("mine", lambda m, p: torch.tensor([0.0, broken, 1.0]), MEDIA, PROMPTS)
    sentence = f"reward 'mine' returned {broken} for prompt 'b'; rewards must be finite"
    assert str(caught.value) == sentence


@pytest.mark.parametrize("shape", [(3, 1), (2,), (), (1, 3)])
def test_another_shape_is_refused_with_both_shapes(shape: tuple[int, ...]) -> None:
    """(3, 1) would broadcast against [3] to 9 numbers without an error."""
    with pytest.raises(RewardError) as caught:
        scored("mine", lambda m, p: torch.zeros(shape), MEDIA, PROMPTS)
    assert str(caught.value) == (
        f"reward 'mine' returned shape {shape} for 3 samples; expected (3,), one number per sample"
    )


def test_an_exception_is_named_and_kept_as_the_cause() -> None:
    def broken(media: Tensor, prompts: object) -> Tensor:
        return {}["key"]

    with pytest.raises(RewardError, match=r"^reward 'mine' raised KeyError: 'key'; the round was"):
        scored("mine", broken, MEDIA, PROMPTS)
    with pytest.raises(RewardError) as caught:
        scored("mine", broken, MEDIA, PROMPTS)
    assert isinstance(caught.value.__cause__, KeyError)


def test_what_is_not_a_number_is_refused() -> None:
    with pytest.raises(RewardError, match=r"^reward 'mine' returned a str"):
        scored("mine", lambda m, p: "good", MEDIA, PROMPTS)  # pyright: ignore
    with pytest.raises(RewardError, match=r"^reward 'mine' returned a NoneType"):
        scored("mine", lambda m, p: None, MEDIA, PROMPTS)  # pyright: ignore
