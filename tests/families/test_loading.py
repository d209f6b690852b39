"""Loading, what of a pipeline is in memory, the cache of prompts, and what wrong input is told."""

import json
import pickle
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch

from scoreward.data.prompts import Instruction
from scoreward.data.store import TensorStore
from scoreward.models.base import Model
from scoreward.models.diffusers import (
    Loading,
    PretrainedError,
    UnsupportedPipeline,
    load,
    versions,
)
from scoreward.models.diffusers.pretrained import quantised
from scoreward.models.diffusers.prompts import Pictures, Prompts
from scoreward.models.diffusers.text import Remembered, Text, fingerprint, padded
from tests.families import tiny, upstream

Folder = Callable[[str], Path]


def prompts_of(model: Model) -> Prompts:
    assert isinstance(model.encode, Prompts)
    return model.encode


def encoders(model: Model) -> list[Any]:
    pipe = prompts_of(model).pipe
    return [pipe.text_encoder, pipe.tokenizer]


def test_encoders_are_loaded_for_new_prompts_only(saved: Folder) -> None:
    model = load(saved("sd3"), tiny.loading("sd3"))
    assert encoders(model) == [None, None]
    first = prompts_of(model)(upstream.PROMPTS)
    assert None not in encoders(model)
    again = load(saved("sd3"), tiny.loading("sd3"))
    second = prompts_of(again)([*reversed(upstream.PROMPTS), upstream.PROMPTS[0]])
    assert encoders(again) == [None, None]  # everything was on disk
    assert torch.equal(second.states, first.states[[1, 0, 0]])
    assert second.pooled is not None
    assert first.pooled is not None
    assert torch.equal(second.pooled, first.pooled[[1, 0, 0]])


def test_offloaded_encoders_leave_after_use(saved: Folder) -> None:
    model = load(saved("sd3"), tiny.loading("sd3", offload=True))
    kept = load(saved("sd3"), tiny.loading("sd3", cache=False))
    text = prompts_of(model)(["a new prompt"])
    assert encoders(model) == [None, None]
    assert torch.equal(text.states, prompts_of(kept)(["a new prompt"]).states)


def test_the_cache_tells_models_settings_and_prompts_apart(saved: Folder, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(saved("sd3"), other)
    weights = other / "text_encoder" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    parts = ["text_encoder", "tokenizer"]
    assert fingerprint(other, parts) != fingerprint(saved("sd3"), parts)
    shorter = load(saved("sd3"), tiny.loading("sd3", tokens=16))
    longer = load(saved("sd3"), tiny.loading("sd3", tokens=32))
    lengths = [prompts_of(m)(["a fox"]).states.shape[1] for m in (shorter, longer)]
    assert lengths[1] - lengths[0] == 16


def test_a_damaged_entry_is_made_again(tmp_path: Path) -> None:
    row, asked = Text(torch.ones(1, 2, 3)), []

    def make(places: list[int]) -> Text:
        asked.append(list(places))
        return Text(torch.cat([row.states] * len(places)))

    known = Remembered(TensorStore(tmp_path, "salt"))
    assert len(known(["a", "b", "a"], make)) == 3
    assert asked == [[0, 1]]
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(b"half")
    known(["a"], make)
    assert asked == [[0, 1], [0]]
    known(["a"], make)
    assert len(asked) == 2
    Remembered(TensorStore(tmp_path, "other salt"))(["a"], make)
    assert len(asked) == 3
    assert not list(tmp_path.rglob("*.writing"))


def test_large_numbers_of_new_prompts_are_read_in_batches() -> None:
    sizes = []

    def make(places: list[int]) -> Text:
        sizes.append(len(places))
        return Text(torch.tensor(places, dtype=torch.float32).reshape(-1, 1, 1))

    made = Remembered(TensorStore(None, ""))([str(i) for i in range(40)], make)
    assert sizes == [16, 16, 8]
    assert made.states.flatten().tolist() == list(range(40))


def test_the_empty_condition_of_sdxl_is_zero(saved: Folder) -> None:
    model = load(saved("sdxl"), tiny.loading("sdxl"))
    cond = prompts_of(model)(upstream.PROMPTS)
    empty = prompts_of(model).null(cond)
    assert empty.states.shape == cond.states.shape
    assert not empty.states.any()
    assert cond.states.any()


def test_a_prompt_longer_than_allowed_is_cut_and_masks_shorten() -> None:
    rows = [torch.ones(2, 3), 2 * torch.ones(9, 3)]
    text = padded(rows, 5)
    assert text.states[1].shape == (5, 3)
    assert text.mask is not None
    assert text.mask.sum(1).tolist() == [2, 5]
    assert text[:1].shortened().states.shape == (1, 2, 3)


def test_an_instruction_travels_between_processes(tmp_path: Path) -> None:
    one = pickle.loads(pickle.dumps(Instruction("paint it red", tmp_path / "a.png")))
    assert (one, one.image) == ("paint it red", tmp_path / "a.png")


@pytest.mark.parametrize("name", tiny.PIPELINES)
def test_latents_are_the_inverse_of_decoding_in_scale(name: str, saved: Folder) -> None:
    """The VAE's own mean, in the units that the network sees."""
    model = load(saved(name), tiny.loading(name))
    assert isinstance(model.decode, Pictures)
    size = tiny.size_of(name)
    frames = [size["frames"]] if "frames" in size else []
    media = torch.rand(2, 3, *frames, size["height"], size["width"])
    z = model.decode.latents(media)
    assert z.shape[1:] == model.shape
    doubled = 2 * z  # decoding is x0 → VAE(f(x0)), latents is f⁻¹(VAE'(media)); f is affine
    family, pipe = model.decode.family, model.decode.pipe
    heard = []
    pipe.vae.decode = lambda z, *a, **k: (heard.append(z), (media * 2 - 1,))[1]
    family.decode(pipe, z)
    pipe.vae.encode = lambda m, **k: (heard[0],)
    assert torch.allclose(family.latents(pipe, media), z, atol=1e-4)
    assert not torch.allclose(doubled, z)


def test_the_vae_waits_on_the_cpu_and_other_parts_are_frozen(saved: Folder) -> None:
    model = load(saved("sd3"), tiny.loading("sd3", tiling=True, offload=True, dtype="bf16"))
    assert isinstance(model.decode, Pictures)
    vae = model.decode.pipe.vae
    assert not any(p.requires_grad for p in vae.parameters())
    assert vae.dtype == torch.float32
    assert vae.use_tiling
    assert vae.use_slicing
    kinds = {p.dtype for n, p in model.network.named_parameters() if p.requires_grad}
    frozen = {p.dtype for n, p in model.network.named_parameters() if not p.requires_grad}
    assert (kinds, frozen) == ({torch.float32}, {torch.bfloat16})
    answer = model.denoiser(
        upstream.noise(model.shape), torch.tensor([0.2, 0.9]), prompts_of(model)(["a", "b"])
    )
    assert answer.x0.dtype == torch.float32


def changed_index(folder: Path, target: Path, name: str) -> Path:
    """A copy of a folder that claims to be another pipeline."""
    shutil.copytree(folder, target)
    index = json.loads((target / "model_index.json").read_text())
    (target / "model_index.json").write_text(json.dumps(index | {"_class_name": name}))
    return target


def test_a_pipeline_without_adapter_is_told_what_is_missing(saved: Folder, tmp_path: Path) -> None:
    folder = changed_index(saved("sd3"), tmp_path / "other", "KolorsPipeline")
    with pytest.raises(UnsupportedPipeline, match=r"no adapter for KolorsPipeline.*docs/adapters"):
        load(folder)
    folder = changed_index(saved("sd3"), tmp_path / "newer", "StableDiffusion3Pipeline")
    with pytest.raises(ValueError, match=r"heights in multiples of 4, got 33"):
        load(folder, tiny.loading("sd3", height=33))


@pytest.mark.parametrize("name", tiny.PIPELINES)
def test_a_pipeline_that_came_later_is_named_with_what_to_install(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Really absent from an old diffusers; a new one is replaced by one that has nothing."""
    index = {"_class_name": tiny.CLASSES[name], "_diffusers_version": "0.99.0"}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    monkeypatch.setattr(versions, "version", lambda name: "0.99.0")  # new enough for any adapter
    found = diffusers.__version__
    if tiny.CLASSES[name] in dir(diffusers):
        found = "0.1.0"
        monkeypatch.setitem(sys.modules, "diffusers", SimpleNamespace(__version__=found))
    said = f"diffusers {found} has no {tiny.CLASSES[name]}; install a newer one with: pip install"
    with pytest.raises(UnsupportedPipeline, match=re.escape(said)):
        load(tmp_path)


class TooNew:
    """A diffusers that wants what the installed transformers does not have."""

    __version__ = "0.99.0"

    def __getattr__(self, name: str) -> None:
        raise RuntimeError("Failed to import it because of:\ncannot import name 'Mistral3'")


def test_a_pipeline_that_transformers_is_too_old_for(
    saved: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved("sd3")
    monkeypatch.setitem(sys.modules, "diffusers", TooNew())
    said = r"diffusers 0.99.0 cannot import StableDiffusion3Pipeline with transformers [\d.]+"
    with pytest.raises(UnsupportedPipeline, match=said + r" \(cannot import name 'Mistral3'\)"):
        load(folder)


def test_prompts_of_wan_may_need_ftfy(saved: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(saved("wan21"), tiny.loading("wan21", cache=False))
    pipe = prompts_of(model).pipe
    prompts_of(model)._load()

    def without(*given: Any, **named: Any) -> Any:
        return ftfy.fix_text(given[0])  # pyright: ignore (the name that is missing)

    monkeypatch.setattr(pipe, "encode_prompt", without)
    with pytest.raises(ImportError, match="without ftfy; install it with: pip install ftfy"):
        prompts_of(model)(["a fox"])


def test_an_adapter_of_ones_own_is_taken(saved: Folder, tmp_path: Path) -> None:
    from scoreward.models.diffusers.sd3 import StableDiffusion3

    folder = changed_index(saved("sd3"), tmp_path / "other", "StableDiffusion3Img2ImgPipeline")
    with pytest.raises(UnsupportedPipeline, match="no adapter for StableDiffusion3Img2ImgPipeline"):
        load(folder)
    model = load(folder, tiny.loading("sd3"), family=StableDiffusion3())
    assert model.shape == (4, 16, 24)


def test_what_is_not_a_pipeline_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(PretrainedError, match=r"is a single file, not a diffusers pipeline"):
        load(tmp_path / "model.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PretrainedError, match=r"a folder without model_index.json"):
        load(tmp_path / "empty")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "model_index.json").write_text("{")
    with pytest.raises(PretrainedError, match=r"model_index.json cannot be read"):
        load(tmp_path / "damaged")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PretrainedError, match=r"'nobody/nothing' is neither a folder"):
        load("nobody/nothing")


def test_wrong_settings_are_named(saved: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"is called nothing; its linear layers are called .*to_q"):
        load(saved("sd3"), tiny.loading("sd3", targets=("nothing",)))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"quantise='nf4' needs a GPU"):
        load(saved("sd3"), tiny.loading("sd3", quantise="nf4"))
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ImportError, match=r"quantise='int8' needs bitsandbytes"):
            quantised("int8", torch.float32)
    with pytest.raises(ValueError, match="quantised weights cannot train"):
        Loading(lora=False, quantise="int8")
    with pytest.raises(ValueError, match="weights in fp16 lose small updates"):
        Loading(lora=False, dtype="fp16")


def test_an_adapter_may_need_a_newer_diffusers_than_others(
    saved: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = changed_index(saved("sd3"), tmp_path / "other", "QwenImagePipeline")
    monkeypatch.setattr(versions, "version", lambda name: "0.36.0")
    with pytest.raises(ImportError, match=r"diffusers 0.36.0 is not supported.*>=0\.37,<1\.0"):
        load(folder)
    load(saved("sd3"), tiny.loading("sd3"))


@pytest.mark.parametrize("found", ["0.30.1", "1.2.0"])
def test_versions_out_of_range_are_refused(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "version", lambda name: found)
    with pytest.raises(ImportError, match=rf"diffusers {found} is not supported.*>=0\.33,<1\.0"):
        versions.check_diffusers()
