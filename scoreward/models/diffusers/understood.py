"""What adapters understand of a pipeline's configuration; the rest is refused when it is loaded.

A row of a table is a field of a configuration file and what is understood in it. What is not in a
table changes only how the pipeline itself would draw, or nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scoreward.models.diffusers.family import Family, Upstream, flow_like


class Misunderstood(ValueError):
    """A pipeline whose network would be asked something else than it was trained for."""


@dataclass(frozen=True)
class Field:
    """A field of a configuration, the values that are understood, and why others are not."""

    name: str
    values: tuple[Any, ...]
    why: str


NEUTRAL = (None, False)
TABLES = (
    Field(
        "beta_schedule", ("linear", "scaled_linear"), "the noise of other schedules is not known"
    ),
    Field("trained_betas", (None,), "a table of its own is not read"),
    Field("prediction_type", ("epsilon", "v_prediction", "sample"), "the answer is read otherwise"),
    Field("timestep_spacing", ("leading", "trailing", "linspace"), "its times are not known"),
    Field("timestep_type", (None, "discrete"), "the network would be asked at log σ, not at steps"),
    Field("thresholding", NEUTRAL, "its pictures are cut to a range while they are drawn"),
)
"""Of schedulers of networks on a table of ᾱ."""
FLOWS = (
    Field("num_train_timesteps", (1000,), "the network would be asked at other times"),
    Field("prediction_type", (None, "flow_prediction"), "a flow predicts velocities"),
    Field("invert_sigmas", NEUTRAL, "its times run the other way"),
)
"""Of schedulers of flows."""
UNETS = (
    Field(
        "time_cond_proj_dim",
        (None,),
        "it was distilled and takes its guidance as an input, which is not given to it; use the "
        "model that it was distilled from",
    ),
    Field("class_embed_type", (None,), "it takes a class or a noise level as an input"),
    Field("num_class_embeds", (None,), "it takes a class as an input"),
    Field("encoder_hid_dim_type", (None, "text_proj"), "it takes pictures as an input"),
)
"""Inputs of U-Nets."""
UNREAD = ("EDM", "LCM", "TCD", "Karras", "ScoreSde", "Consistency", "VQ", "Unclip", "RePaint")
"""Beginnings of schedulers whose networks are asked otherwise, or in fewer steps."""


def check(pipe: Upstream, family: Family) -> None:
    """Raises Misunderstood, which names file and field, what it says and what is understood."""
    name, config = type(pipe.scheduler).__name__, dict(pipe.scheduler.config)
    where = "scheduler/scheduler_config.json"
    if name.startswith(UNREAD):
        raise Misunderstood(
            f"{where}: the scheduler is {name}, and adapters do not ask networks as it does; save "
            "the pipeline with the scheduler that its network was trained with, such as "
            "DDIMScheduler or FlowMatchEulerDiscreteScheduler"
        )
    if family.table == flow_like(pipe.scheduler):
        kind = "a table of noise" if family.table else "a flow"
        raise Misunderstood(
            f"{where}: the scheduler is {name}, and the adapter of {type(pipe).__name__} is for "
            f"{kind}; if the network was trained otherwise, give `load` an adapter of your own "
            "(docs/adapters.md)"
        )
    _fields(where, config, TABLES if family.table else FLOWS)
    no_signal = family.table and config.get("rescale_betas_zero_snr")
    if no_signal and config.get("prediction_type", "epsilon") == "epsilon":
        raise Misunderstood(
            f"{where}: rescale_betas_zero_snr is true and prediction_type is 'epsilon'; where the "
            "signal is gone no picture can be read from the noise alone, so a network that "
            "predicts noise needs rescale_betas_zero_snr false, or v_prediction if it was trained "
            "for that"
        )
    for part in family.parts:
        network = getattr(pipe, part, None)
        if network is not None:
            INPUTS.get(part, lambda *_: None)(pipe, dict(network.config), f"{part}/config.json")
            _channels(pipe, family, dict(network.config), f"{part}/config.json")


def _fields(where: str, config: Mapping[str, Any], table: tuple[Field, ...]) -> None:
    for field in table:
        value = config.get(field.name, field.values[0])
        if value not in field.values:
            known = " or ".join(repr(one) for one in field.values)
            raise Misunderstood(
                f"{where}: {field.name} is {value!r}, understood is {known}; {field.why}"
            )


def _unet(pipe: Upstream, config: Mapping[str, Any], where: str) -> None:
    """Inputs of a U-Net beyond latents, time and text."""
    _fields(where, config, UNETS)
    wanted = "text_time" if hasattr(pipe, "text_encoder_2") else None
    _fields(where, config, (Field("addition_embed_type", (wanted,), "its inputs are others"),))


INPUTS: Mapping[str, Callable[[Upstream, Mapping[str, Any], str], None]] = {"unet": _unet}
"""What else is looked at, by the part that is trained."""


def _channels(pipe: Upstream, family: Family, config: Mapping[str, Any], where: str) -> None:
    """A network that takes latents of its VAE, and nothing beside them."""
    vae = pipe.vae.config
    own = vae.get("latent_channels") or vae.get("z_dim")
    taken = config.get("in_channels")
    if own is None or taken is None:
        return
    if taken not in (own, own * family.folded):
        raise Misunderstood(
            f"{where}: in_channels is {taken}, understood is {own * family.folded} for latents of "
            f"{own} channels; what inpainting, depth or a picture to edit add is not given to it"
        )
    given = config.get("out_channels")
    if where.startswith("unet") and given not in (None, own):
        raise Misunderstood(
            f"{where}: out_channels is {given}, understood is {own}; a learnt variance is not read"
        )
