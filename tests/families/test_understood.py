"""What a pipeline's configuration says is understood, or refused when it is loaded."""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from scoreward.models.diffusers import load
from scoreward.models.diffusers.skeleton import without_weights
from scoreward.models.diffusers.understood import Misunderstood
from tests.families import tiny, upstream
from tests.families.test_export import STEPS, changed, ours, theirs

Saved = Callable[[str], Path]


def altered(folder: Path, target: Path, file: str, **fields: Any) -> Path:
    """A copy of a pipeline with other entries in one of its configuration files."""
    shutil.copytree(folder, target)
    path = target / file
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return target


SCHEDULER, UNET = "scheduler/scheduler_config.json", "unet/config.json"
REFUSED = [
    ("sd15", SCHEDULER, {"rescale_betas_zero_snr": True}, "no picture can be read from the noise"),
    ("sd15", SCHEDULER, {"beta_schedule": "squaredcos_cap_v2"}, "beta_schedule is 'squaredcos_cap"),
    ("sd15", SCHEDULER, {"prediction_type": "flow_prediction"}, "prediction_type is 'flow_predict"),
    ("sd15", SCHEDULER, {"timestep_spacing": "odd"}, "timestep_spacing is 'odd', understood is"),
    ("sd15", SCHEDULER, {"thresholding": True}, "thresholding is True, understood is None or Fal"),
    ("sd15", SCHEDULER, {"trained_betas": [0.1] * 1000}, "trained_betas is "),
    ("sd15", UNET, {"time_cond_proj_dim": 32}, "takes its guidance as an input"),
    ("sd15", UNET, {"class_embed_type": "timestep"}, "class_embed_type is 'timestep'"),
    ("sd15", UNET, {"num_class_embeds": 4}, "num_class_embeds is 4"),
    ("sd15", UNET, {"in_channels": 9}, "in_channels is 9, understood is 4 for"),
    ("sd15", UNET, {"in_channels": 8}, "in_channels is 8"),
    ("sd15", UNET, {"out_channels": 8}, "a learnt variance is not read"),
    ("sdxl", UNET, {"time_cond_proj_dim": 32}, "takes its guidance as an input"),
    ("sd3", SCHEDULER, {"num_train_timesteps": 500}, "num_train_timesteps is 500, under"),
    ("sd3", SCHEDULER, {"invert_sigmas": True}, "invert_sigmas is True"),
    ("flux_dev", "transformer/config.json", {"in_channels": 32}, "in_channels is 32, under"),
    ("wan21", "transformer/config.json", {"in_channels": 9}, "in_channels is 9, understood is 4"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "fields", "said"), REFUSED)
def test_what_is_not_understood_is_refused_by_file_and_field(
    name: str, file: str, fields: dict, said: str, saved: Saved, tmp_path: Path
) -> None:
    folder = altered(saved(name), tmp_path / "other", file, **fields)
    # of another shape there are no weights
    mode = nullcontext() if file == SCHEDULER else without_weights()
    with mode, pytest.raises(Misunderstood, match=said) as caught:
        load(folder, tiny.loading(name))
    assert str(caught.value).startswith(file)


@pytest.mark.parametrize(
    ("name", "scheduler", "said"),
    [
        ("sdxl", "EDMEulerScheduler", "the scheduler is EDMEulerScheduler, and adapters"),
        ("sdxl", "EDMDPMSolverMultistepScheduler", "do not ask networks as it does"),
        ("sd15", "LCMScheduler", "do not ask networks as it does"),
        ("sd15", "TCDScheduler", "do not ask networks as it does"),
        ("sd15", "FlowMatchEulerDiscreteScheduler", "StableDiffusionPipeline is for a t"),
        ("sd3", "DDIMScheduler", "the adapter of StableDiffusion3Pipeline is for a flow"),
    ],
)  # fmt: skip
def test_a_scheduler_of_another_kind_is_refused(
    name: str, scheduler: str, said: str, saved: Saved, tmp_path: Path
) -> None:
    pipe: Any = diffusers.DiffusionPipeline.from_pretrained(saved(name))
    pipe.scheduler = getattr(diffusers, scheduler)()
    pipe.save_pretrained(tmp_path / "other")
    with pytest.raises(Misunderstood, match=said):
        load(tmp_path / "other", tiny.loading(name))


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("steps", [500, 1000, 100])
def test_a_table_of_any_length_is_asked_where_the_pipeline_asks_it(
    steps: int, offset: int, spacing: str, saved: Saved, tmp_path: Path
) -> None:
    change = {"num_train_timesteps": steps, "steps_offset": offset, "timestep_spacing": spacing}
    folder = altered(saved("sd15"), tmp_path / "other", SCHEDULER, **change)
    asked: list[float] = []
    pipe: Any = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    model = load(folder, tiny.loading("sd15"))
    mine: Any = model.network
    for network in (pipe.unet, mine.parts["unet"]):
        network.register_forward_pre_hook(
            lambda _, given: asked.append(float(torch.as_tensor(given[1]).flatten()[0]))
        )
    z = upstream.noise(model.shape)
    expected = upstream.drawn("sd15", pipe, z, 4, 1.0, tmp_path)
    theirs_asked, asked[:] = list(asked), []
    found = ours_in(model, z, 4)
    # a last call at the end of the table, which changes nothing, is not made
    assert asked == theirs_asked[: len(asked)]
    assert len(asked) >= len(theirs_asked) - (spacing == "linspace")
    if spacing != "linspace":  # upstream's DDIM does not step to the next of these times
        assert (found - expected).abs().max() < 3e-4


def ours_in(model: Any, z: Tensor, steps: int) -> Tensor:
    """Our picture by DDIM on the model's own times."""
    from scoreward.core.chain import Sampler, draw
    from scoreward.core.kernel import ddim
    from scoreward.core.keys import Key

    times = model.grid(steps)
    sampler = Sampler(times, (ddim(),) * (len(times) - 1))
    with torch.no_grad():
        cond = model.encode(upstream.PROMPTS)
        x0 = draw(sampler, model.denoiser, z, [Key((i,)) for i in range(len(z))], cond)
        return model.decode(x0)


@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_without_signal_what_does_not_predict_noise_stays_finite(
    kind: str, saved: Saved, tmp_path: Path
) -> None:
    change = {"rescale_betas_zero_snr": True, "prediction_type": kind}
    change |= {"timestep_spacing": "trailing"}
    folder = altered(saved("sd15"), tmp_path / "other", SCHEDULER, **change)
    model = load(folder, tiny.loading("sd15"))
    assert torch.isfinite(ours_in(model, upstream.noise(model.shape), 3)).all()


@pytest.mark.parametrize("name", ["sd15", "sd3"])
def test_a_folder_of_a_variant_is_loaded_and_written_as_one(
    name: str, saved: Saved, tmp_path: Path
) -> None:
    plain: Any = diffusers.DiffusionPipeline.from_pretrained(saved(name))
    plain.save_pretrained(tmp_path / "half", variant="fp16")
    model, other = (load(f, tiny.loading(name)) for f in (saved(name), tmp_path / "half"))
    z = upstream.noise(model.shape)
    assert torch.equal(ours(model, z, upstream.PROMPTS), ours(other, z, upstream.PROMPTS))
    weights = changed(other)
    after = ours(other, z, upstream.PROMPTS)
    assert other.save is not None
    other.save(weights, tmp_path / "whole", True)
    pipe: Any = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "whole", variant="fp16")
    pipe.set_progress_bar_config(disable=True)
    drawn = upstream.drawn(name, pipe, z, STEPS, 1.0, tmp_path)
    assert (drawn - after).abs().max() < 3e-4


@pytest.mark.parametrize(
    "targets", [("conv1", "to_q"), ("conv_shortcut", "conv_in"), ("conv_out",)]
)
def test_adapters_on_convolutions_are_merged(
    targets: tuple[str, ...], saved: Saved, tmp_path: Path
) -> None:
    model = load(saved("sd15"), tiny.loading("sd15", targets=targets, alpha=3.0))
    z = upstream.noise(model.shape)
    before, weights = ours(model, z, upstream.PROMPTS), changed(model)
    assert any(".lora_A." in n and w.ndim == 4 for n, w in weights.items())
    assert model.save is not None
    model.save(weights, tmp_path / "whole", True)
    after = ours(model, z, upstream.PROMPTS)
    assert (after - before).abs().max() > 1e-3
    plain = theirs("sd15", tmp_path / "whole", z, None, tmp_path)
    assert (plain - after).abs().max() < 3e-4
