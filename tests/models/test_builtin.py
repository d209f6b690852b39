"""The model that ships: text in, pictures out, and weights that know what they draw."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from scoreward.core.chain import draw, uniform
from scoreward.core.denoiser import Denoiser, Guided, NetworkDenoiser
from scoreward.core.kernel import euler
from scoreward.core.keys import Key, normal_each
from scoreward.core.process import RectifiedFlow
from scoreward.core.rows import Rows
from scoreward.data.portraits import load
from scoreward.models.builtin import portraits as builtin
from scoreward.models.builtin.transformer import NetworkSize
from scoreward.rewards.portraits import Verifier

KEY = Key(("builtin",))
SMALL = NetworkSize(hidden=16, depth=1, heads=2)


# What is around the network


def test_a_model_says_what_a_sampler_needs() -> None:
    model = builtin.portraits.untrained(SMALL)
    assert (model.kind, model.shape) == ("velocity", (3, 16, 16))
    assert isinstance(model.process, RectifiedFlow)
    denoiser = model.denoiser
    assert isinstance(denoiser, NetworkDenoiser)
    assert denoiser.network is model.network
    cond = model.encode(["a red hat", "a happy person with glasses"])
    x = (KEY / "x").normal(2, *model.shape)
    answer = denoiser(x, torch.tensor([0.3, 1.0]), cond)
    assert not answer.as_("velocity").any()  # untrained, so that x̂0 is x_t itself
    assert torch.equal(answer.x0, x)


def test_prompts_become_six_phrases_of_256_numbers() -> None:
    cond = builtin.words(["a red hat", "a happy person with short black hair, a blue shirt"])
    assert cond.shape == (2, 6, 256)
    assert [int(c.any(1).sum()) for c in cond] == [1, 3]


def test_nothing_is_what_the_empty_prompt_says() -> None:
    cond = builtin.portraits.nothing(builtin.words(["a red hat", "a happy person"]))
    assert isinstance(cond, Tensor)
    assert torch.equal(cond, builtin.words(["", ""]))
    with pytest.raises(TypeError, match="condition of the portraits model is a tensor"):
        builtin.portraits.nothing(None)
    with pytest.raises(TypeError, match="condition of the portraits model is a tensor"):
        builtin.portraits.nothing(Rows())


def test_pictures_are_moved_to_the_unit_interval_and_cut() -> None:
    x0 = torch.tensor([-3.0, -1.0, 0.0, 0.5, 1.0, 9.0])
    assert builtin.portraits.decode(x0).tolist() == [0.0, 0.0, 0.5, 0.75, 1.0, 1.0]


# Weights


def test_untrained_weights_depend_on_the_seed_and_disturb_nobody() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (builtin.portraits.untrained(SMALL, seed).network for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in parameters(first, again))
    assert not all(torch.equal(a, b) for a, b in parameters(first, other))


def parameters(*networks: torch.nn.Module) -> list[tuple[Tensor, ...]]:
    return list(zip(*(network.parameters() for network in networks), strict=True))


def test_given_weights_are_used() -> None:
    made = builtin.portraits.untrained(SMALL, seed=3).network
    model = builtin.portraits(made.state_dict(), SMALL)
    assert all(torch.equal(a, b) for a, b in parameters(model.network, made))
    with pytest.raises(RuntimeError, match="Missing key"):
        builtin.portraits({}, SMALL)  # not the shipped ones


def test_the_shipped_weights_are_small_finite_and_fit() -> None:
    assert builtin.portraits.path.stat().st_size <= 12_000_000
    weights = builtin.portraits.shipped()
    assert {name: w.shape for name, w in weights.items()} == {
        name: p.shape for name, p in builtin.portraits.untrained().network.state_dict().items()
    }
    assert all(w.dtype == torch.float32 and w.isfinite().all() for w in weights.values())
    assert (Path(builtin.portraits.path).parent / "LICENSE.md").exists()


# What the shipped model knows


def test_the_shipped_model_denoises_held_out_pictures_and_listens_to_their_captions() -> None:
    """Relative error of x0: well below that of answering nothing; captions help, wrong ones hurt.

    64 pictures of attribute combinations that no training picture has.
    """
    model, pictures = builtin.portraits(), load("test")
    x0, captions = pictures.images[:64], pictures.captions[:64]
    cond = builtin.words(captions)
    eps, t = (KEY / "eps").normal(64, 3, 16, 16), torch.full((64,), 0.8)
    x_t = 0.2 * x0 + 0.8 * eps

    def error(cond: Tensor) -> float:
        with torch.no_grad():
            answer = model.denoiser(x_t, t, cond).x0
        return ((answer - x0).square().mean() / x0.square().mean()).item()

    right, wrong, without = error(cond), error(cond.roll(1, 0)), error(torch.zeros_like(cond))
    assert right < 0.8 * without
    assert right < 0.6 * wrong
    assert without < 0.5


def test_the_shipped_model_draws_what_it_is_told_to() -> None:
    """More attributes are right than for another picture's prompt, and more still with guidance.

    Judged by the verifier that never enters training, on held-out prompts. By chance about four
    in ten attributes are alike in two prompts.
    """
    model, prompts = builtin.portraits(), load("test").captions[:16]
    keys = [KEY / "draw" / i for i in range(len(prompts))]
    start, cond = normal_each(keys, model.shape), model.encode(prompts)
    sampler, judge = uniform(euler(), 6), Verifier.load("b")

    def drawn(denoiser: Denoiser) -> Tensor:
        with torch.no_grad():
            return model.decode(draw(sampler, denoiser, start, keys, cond))

    def share_right(media: Tensor, told: list[str]) -> float:
        return judge.right(media, told).float().mean().item()

    plain, guided = drawn(model.denoiser), drawn(Guided(model.denoiser, 2.5, model.null))
    assert plain.min() >= 0
    assert plain.max() <= 1
    assert share_right(plain, prompts) > 0.8
    assert share_right(plain, [*prompts[1:], prompts[0]]) < 0.6
    assert share_right(guided, prompts) > share_right(plain, prompts) + 0.02
