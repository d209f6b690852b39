"""The second built-in model: letters in, grey pictures out, and weights that can spell a little."""

import pytest
import torch
from torch import Tensor

from scoreward.core.chain import draw
from scoreward.core.denoiser import Denoiser, Guided
from scoreward.core.keys import Key, normal_each
from scoreward.data import lettering as data
from scoreward.methods.sampling import Sampling
from scoreward.models.builtin import lettering as built_in
from scoreward.models.builtin.transformer import NetworkSize, places
from scoreward.rewards.ocr import Legible, PaddleReader

KEY = Key(("lettering",))
SMALL = NetworkSize(hidden=16, depth=1, heads=2, patch=8, text=data.DIM, places="waves")


def test_a_model_says_what_a_sampler_needs() -> None:
    model = built_in.lettering.untrained(SMALL)
    assert (model.kind, model.shape) == ("velocity", (1, 32, 64))
    cond = model.encode(["cat", data.caption("tiger")])
    x = (KEY / "x").normal(2, *model.shape)
    answer = model.denoiser(x, torch.tensor([0.3, 1.0]), cond)
    assert not answer.as_("velocity").any()  # untrained, so that x̂0 is x_t itself
    media = model.decode(torch.tensor([-3.0, -1.0, 0.0, 1.0, 9.0]).reshape(1, 1, 1, 5))
    assert media.shape == (1, 3, 1, 5)
    assert media[0, 2, 0].tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert torch.equal(model.null(cond), model.encode(["", ""]))  # pyright: ignore
    with pytest.raises(TypeError, match="condition of the lettering model is a tensor"):
        model.null(None)


def test_places_of_tokens_and_of_letters_speak_of_the_same_pixels() -> None:
    """The half of a token's waves that tells its column is what a letter at its middle gets."""
    grid = places((4, 8), 8, 2 * data.WAVES)
    letter = data.place_waves(torch.tensor([8 * 5 + 4.0]), data.WAVES)[0]
    torch.testing.assert_close(grid[2 * 8 + 5, data.WAVES :], letter)
    assert not torch.equal(grid[0], grid[8])  # rows differ too


def test_the_shipped_weights_are_small_finite_and_fit() -> None:
    assert built_in.lettering.path.stat().st_size <= 10_000_000
    weights = built_in.lettering.shipped()
    assert {n: w.shape for n, w in weights.items()} == {
        n: p.shape for n, p in built_in.lettering.untrained().network.state_dict().items()
    }
    assert all(w.dtype == torch.float32 and w.isfinite().all() for w in weights.values())
    assert (built_in.lettering.path.parent / "LICENSE.md").exists()


def test_the_shipped_model_writes_what_it_is_told_to() -> None:
    """On words it was never shown, more letters are right than for another word, and more still
    with guidance."""
    model, prompts = built_in.lettering(), data.captions("test")[:16]
    keys = [KEY / "draw" / i for i in range(len(prompts))]
    start, cond = normal_each(keys, model.shape), model.encode(prompts)
    sampler, reward = Sampling().sampler(), Legible(PaddleReader())

    def drawn(denoiser: Denoiser) -> Tensor:
        with torch.no_grad():
            return model.decode(draw(sampler, denoiser, start, keys, cond))

    plain, guided = drawn(model.denoiser), drawn(Guided(model.denoiser, 2.5, model.null))
    told, others = prompts, prompts[1:] + prompts[:1]
    right = float(reward(plain, told).mean())
    assert right > 0.5
    assert right > float(reward(plain, others).mean()) + 0.3
    assert float(reward(guided, told).mean()) > right - 0.05
