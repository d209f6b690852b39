"""A reward's answer is checked before anything is trained on it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from scoreward.data.prompts import Prompt
from scoreward.rewards.base import SLACK, RewardError, answers, differentiated, scored
from scoreward.rewards.catalogue import find
from scoreward.rewards.combine import Combined, Scaled, minimum
from scoreward.rewards.pictures import Frames

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


PICTURES = torch.rand(3, 3, 6, 8, generator=torch.Generator().manual_seed(0))
WRONG = {
    "NaN": (lambda x: x.index_fill(0, torch.tensor(1), torch.nan), "prompt 'b' hold .*not finite"),
    "infinite": (lambda x: x.index_fill(3, torch.tensor(7), torch.inf), "prompt 'a' .*not finite"),
    "8 bits": (lambda x: (x * 255).to(torch.uint8), "media of torch.uint8 came.*divide 8 bits"),
    "integers": (lambda x: x.long(), "media of torch.int64"),
    "truth": (lambda x: x > 0.5, "media of torch.bool"),
    "8 bits as floats": (lambda x: x * 255, r"values from 0.* to 25\d.* came.*x / 255"),
    "[-1, 1]": (lambda x: x * 2 - 1, r"values from -0\.9.*\(x \+ 1\) / 2"),
    "video out of range": (lambda x: x[:, :, None] * 2, r"came, and rewards look at \[0, 1\]"),
    "grey out of range": (lambda x: x[:, :1] - 0.5, "values from -0"),
    "one too many": (lambda x: torch.cat([x, x[:1]]), r"\(4, 3, 6, 8\) came with 3 prompts"),
    "no batch": (lambda x: x.flatten()[:3], r"shape \(3,\) came"),
    "no pixels": (lambda x: x[..., :0], r"\(3, 3, 6, 0\) came, which are empty"),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(WRONG))
@pytest.mark.parametrize("ask", [scored, differentiated])
def test_no_reward_is_asked_about_media_that_are_none(kind: str, ask: Callable) -> None:
    """Compressibility gave NaN its second-best value; here no reward is called at all."""
    broken, sentence = WRONG[kind]
    seen: list[Tensor] = []

    def mine(media: Tensor, prompts: Sequence[str]) -> Tensor:
        seen.append(media)
        return media.flatten(1).mean(1)

    with pytest.raises(RewardError, match=f"reward 'mine' was not asked: .*{sentence}"):
        ask("mine", mine, broken(PICTURES), PROMPTS)
    assert not seen


def test_rewards_of_the_catalogue_pass_the_same_door_by_themselves() -> None:
    for name in ("jpeg_compressibility", "contrast", "symmetry", "saturation"):
        for kind in ("NaN", "8 bits as floats", "[-1, 1]"):
            broken, sentence = WRONG[kind]
            with pytest.raises(ValueError, match=sentence):
                find(name)(broken(PICTURES), PROMPTS)


def test_what_is_rounding_beyond_the_range_is_cut_off_and_keeps_its_gradient() -> None:
    media = torch.tensor([-0.9 * SLACK, 0.5, 1 + 0.9 * SLACK]).expand(1, 3, 1, 3)
    seen: list[Tensor] = []
    scored("mine", lambda m, p: seen.append(m) or m.mean((1, 2, 3)), media, ["a"])
    assert seen[0][0, 0, 0].tolist() == [0.0, 0.5, 1.0]
    again = torch.full((1, 3, 2, 2), 0.5, requires_grad=True)
    differentiated("sum", lambda m, p: m.flatten(1).sum(1), again, ["a"]).sum().backward()
    assert again.grad is not None
    assert again.grad.eq(1).all()


def test_what_is_no_picture_has_no_range() -> None:
    points = torch.tensor([[-7.0, 300.0]])
    assert scored("sum", lambda m, p: m.sum(1), points, ["a"]).item() == 293
    spectra = torch.full((1, 9, 4, 4), -2.0)  # nine channels
    assert scored("mean", lambda m, p: m.flatten(1).mean(1), spectra, ["a"]).item() == -2


def write(media: Tensor) -> None:
    media.mul_(0.5)


WRITERS: dict[str, Callable[[Tensor], object]] = {
    "in place": write,
    "through a view": lambda m: m[0, 0].zero_(),
    "through numpy": lambda m: m.detach().numpy().fill(0.0),
    "through data": lambda m: m.data.clamp_(0.4, 0.6),
}


@pytest.mark.parametrize("how", list(WRITERS))
def test_a_reward_that_changes_what_the_next_one_sees_is_named(how: str) -> None:
    def writer(media: Tensor, prompts: Sequence[str]) -> Tensor:
        WRITERS[how](media)
        return media.flatten(1).mean(1)

    given = {"first": find("contrast"), "writer": writer, "last": find("contrast")}
    with pytest.raises(RewardError, match=r"^reward 'writer' wrote to the media.*media\.clone\(\)"):
        answers(given, PICTURES.clone(), PROMPTS)


def test_a_reward_may_reorder_its_own_list_of_prompts() -> None:
    def sorting(media: Tensor, prompts: list[str]) -> Tensor:
        prompts.sort(reverse=True)
        return torch.zeros(3)

    asked: list[list[str]] = []
    last = lambda m, p: asked.append(list(p)) or torch.zeros(3)  # noqa: E731
    answers({"sorting": sorting, "last": last}, PICTURES, PROMPTS)  # pyright: ignore
    assert asked == [["a", "b", "c"]]
    assert PROMPTS == ["a", "b", "c"]


def test_members_of_a_combination_pass_the_door_too() -> None:
    both = Combined(
        {"a": find("contrast"), "b": lambda m, p: m.mul_(2).flatten(1).mean(1)}, minimum
    )
    with pytest.raises(RewardError, match="reward 'b' wrote to the media"):
        scored("both", both, PICTURES.clone(), PROMPTS)


TOLD = [Prompt("a", {"count": 2}), "b", Prompt("c", {"count": 3, "kind": "cat"})]


def counting(media: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping]) -> Tensor:
    return torch.tensor([float(fields.get("count", 0)) for fields in metadata])


class CountingModule(torch.nn.Module):
    def forward(self, media: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping]) -> Tensor:
        return counting(media, prompts, metadata)


class CountingKeyword:
    def __call__(self, media: Tensor, prompts: Sequence[str], *, metadata: list) -> Tensor:
        return counting(media, prompts, metadata)


@pytest.mark.parametrize("reward", [counting, CountingModule(), CountingKeyword()])
def test_a_reward_with_a_parameter_metadata_is_given_the_fields_of_each_row(reward: Any) -> None:
    assert scored("counting", reward, PICTURES, TOLD).tolist() == [2.0, 0.0, 3.0]
    combined = Combined({"counting": reward}, minimum)
    assert scored("combined", combined, PICTURES, TOLD).tolist() == [2.0, 0.0, 3.0]
    scaled = Scaled(reward, 1.0)
    assert scored("scaled", scaled, PICTURES, TOLD).tolist() == [1.0, -1.0, 2.0]
    video = PICTURES[:, :, None].expand(-1, -1, 4, -1, -1)

    def per_frame(media: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping]) -> Tensor:
        return torch.tensor([float(fields.get("count", 0)) for fields in metadata])

    frames = Frames(per_frame)  # pyright: ignore[reportArgumentType]
    assert scored("frames", frames, video, TOLD).tolist() == [2.0, 0.0, 3.0]
