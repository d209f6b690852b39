"""What an adapter says about its family of diffusers pipelines, and what most of them share.

An adapter translates: our time in [0, 1] to the pipeline's timestep, its output to one of our
kinds, its latents to pictures, its text encoders to rows. It holds no state and no weights.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scoreward.core.prediction import Kind
from scoreward.core.process import DiscreteVP, Process, RectifiedFlow
from scoreward.models.diffusers.text import Text
from scoreward.models.diffusers.versions import OLDEST


@runtime_checkable
class VAE(Protocol):
    """What is asked of an autoencoder; what it answers, diffusers wraps in many ways."""

    @property
    def config(self) -> Any: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    def to(self, device: Any, /) -> Any: ...

    def decode(self, z: Tensor, /, *, return_dict: bool) -> Any: ...

    def encode(self, x: Tensor, /, *, return_dict: bool) -> Any: ...


@runtime_checkable
class Scheduler(Protocol):
    """What is asked of a scheduler: its settings, of which a fresh one makes the times."""

    @property
    def config(self) -> Any: ...

    @classmethod
    def from_config(cls, config: Any) -> Any: ...


@runtime_checkable
class Upstream(Protocol):
    """What is asked of every pipeline; its networks and sizes each family calls its own names."""

    @property
    def scheduler(self) -> Any: ...

    @property
    def components(self) -> dict[str, Any]: ...

    @classmethod
    def from_pretrained(cls, path: Any, /, **given: Any) -> Any: ...

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")  # names of linear layers in diffusers
JOINT = (*ATTENTION, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")


@dataclass(frozen=True)
class Size:
    """Of the media, in pixels and frames."""

    height: int
    width: int
    frames: int = 1


class Family(ABC):
    """One family of pipelines.  A new one is `size`, `shape`, `text` and `call`."""

    pipelines: ClassVar[tuple[str, ...]]  # names of classes in diffusers
    parts: ClassVar[tuple[str, ...]] = ("transformer",)  # what is trained
    targets: ClassVar[tuple[str, ...]] = ATTENTION  # layers that get LoRA unless told otherwise
    tokens: ClassVar[int] = 0  # of text, where the pipeline itself does not fix it
    edits: ClassVar[bool] = False  # whether prompts are instructions about a picture
    table: ClassVar[bool] = False  # whether noise comes by a table of ᾱ; else it is a flow
    folded: ClassVar[int] = 1  # channels of the network for one of the latents: patches are folded
    even: ClassVar[bool] = False  # whether a flow's grid starts from 1 … 1/steps
    patch: ClassVar[int] = 0  # latents along a token's side, where tokens shift the grid
    since: ClassVar[tuple[int, int]] = OLDEST  # the first diffusers in which it works

    def process(self, pipe: Upstream) -> Process:
        """How the pipeline adds noise."""
        return table_process(pipe.scheduler) if self.table else RectifiedFlow()

    def kind(self, pipe: Upstream) -> Kind:
        """What the network predicts; flows predict ε − x0."""
        return table_kind(pipe.scheduler) if self.table else "velocity"

    def guidance(self, pipe: Upstream) -> float | None:
        """Default of the guidance that the network was distilled to take as an input, if any."""
        return None

    def token(self, pipe: Upstream) -> int:
        """Pixels along a side of a token of a picture to edit."""
        raise NotImplementedError(f"{type(self).__name__} does not edit pictures")

    def reference(self, pipe: Upstream, z: Tensor) -> Tensor:
        """Latents of a picture to edit as tokens."""
        raise NotImplementedError(f"{type(self).__name__} does not edit pictures")

    @abstractmethod
    def size(self, pipe: Upstream) -> Size:
        """The size that the model was made for."""

    @abstractmethod
    def shape(self, pipe: Upstream, size: Size) -> tuple[int, ...]:
        """Of one sample's latents.  Raises ValueError for a size the model cannot draw."""

    def grid(self, pipe: Upstream, steps: int, size: Size) -> tuple[float, ...]:
        """The times at which the pipeline itself would ask the network, and the last one."""
        if self.table:
            return table_grid(pipe.scheduler, steps)
        return flow_grid(pipe.scheduler, steps, self.shift(pipe, steps, size), self.even)

    def shift(self, pipe: Upstream, steps: int, size: Size) -> float | None:
        """μ of a grid that is shifted by the size of the media; None where it is not."""
        if not self.patch:
            return None
        return shift_of_tokens(pipe.scheduler, prod(self.shape(pipe, size)[1:]) // self.patch**2)

    @abstractmethod
    def text(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
        """What the text encoders say; the pipeline has them loaded."""

    def nothing(self, pipe: Upstream, tokens: int) -> Text:
        """The same of no prompt, for guidance."""
        return self.away(pipe, [""], tokens)

    def away(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
        """The same of negative prompts."""
        return self.text(pipe, prompts, tokens)

    def adjust(self, network: "Network", pipe: Upstream) -> "Network":
        """The network with whatever of the pipeline's own settings its call needs."""
        return network

    @abstractmethod
    def call(self, network: "Network", x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        """The network's answer, of `kind`, shaped as x_t."""

    def decode(self, pipe: Upstream, x0: Tensor) -> Tensor:
        """Latents to media in about [-1, 1]: [batch, 3, (frames,) height, width]."""
        return decoded(pipe.vae, unscaled(pipe.vae, x0))

    def latents(self, pipe: Upstream, media: Tensor) -> Tensor:
        """Media in [-1, 1] to latents; the mean where the encoder is random."""
        return scaled(pipe.vae, encoded(pipe.vae, media))


class Network(nn.Module):
    """The trained parts of a pipeline, called as every network of ours: (x_t, t, cond)."""

    def __init__(
        self, family: Family, parts: Mapping[str, nn.Module], size: Size, guidance: float | None
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self.family, self.size, self.guidance = family, size, guidance
        self.boundary = 0.0  # the time below which the second part answers
        self.steps = 1000  # of the table, where there is one
        self.per_token = False  # whether the network wants a time for every token
        self.dtype = next(p for p in self.parameters() if p.is_floating_point()).dtype

    @property
    def main(self) -> Any:
        """The first part, for most families the only one."""
        return self.parts[self.family.parts[0]]

    def forward(
        self, x_t: Float[Tensor, "batch *shape"], t: Float[Tensor, " batch"], cond: Text
    ) -> Float[Tensor, "batch *shape"]:
        given = cond.cast(self.dtype)
        return self.family.call(self, x_t.to(self.dtype), t, given)

    def embedded_guidance(self, t: Tensor) -> Tensor | None:
        """The scale that a distilled network takes as an input, one per sample."""
        if self.guidance is None:
            return None
        return torch.full_like(t, self.guidance, dtype=torch.float32)


def divided(length: int, by: int, name: str) -> int:
    """length / by.  Raises ValueError unless it is whole."""
    if length < by or length % by:
        raise ValueError(f"this model draws {name} in multiples of {by}, got {length}")
    return length // by


def latent_frames(frames: int, by: int) -> int:
    """Of a video whose first frame stands alone and whose others are compressed `by` times."""
    return 1 + (divided(frames - 1, by, "frames after the first") if frames > 1 else 0)


def sides(size: Size, scale: int, down: int = 1, across: int | None = None) -> tuple[int, int]:
    """Height and width in latents of `scale` pixels, in whole patches of `down` by `across`."""
    across = down if across is None else across
    height = divided(size.height, scale * down, "heights")
    return height * down, divided(size.width, scale * across, "widths") * across


def said(pipe: Upstream, prompts: Sequence[str], tokens: int, **more: object) -> Any:
    """What `encode_prompt` answers in most pipelines: states first, then their mask."""
    return pipe.encode_prompt(
        list(prompts),
        do_classifier_free_guidance=False,
        device=pipe.text_encoder.device,
        max_sequence_length=tokens,
        **more,
    )


def image_scale(pipe: Upstream) -> int:
    """Pixels per latent along a side."""
    return 2 ** (len(pipe.vae.config.block_out_channels) - 1)


def flow_grid(
    scheduler: Scheduler, steps: int, mu: float | None = None, even: bool = False
) -> tuple[float, ...]:
    """A flow scheduler's own noise levels; `even` starts from 1 … 1/steps, as most pipelines do."""
    if not flow_like(scheduler):
        raise ValueError(
            f"this model is a flow, but its scheduler {type(scheduler).__name__} is not set up for "
            "one; save the pipeline with a FlowMatchEulerDiscreteScheduler"
        )
    fresh = type(scheduler).from_config(scheduler.config)
    given: dict[str, Any] = {}
    if type(fresh).__name__ == "FlowMatchEulerDiscreteScheduler":
        given["mu"] = mu
        if even:
            given["sigmas"] = torch.linspace(1, 1 / steps, steps, dtype=torch.float64).tolist()
    fresh.set_timesteps(steps, **given)
    return tuple(min(1.0, float(s)) for s in fresh.sigmas[: steps + 1])


def flow_like(scheduler: Scheduler) -> bool:
    """Whether a scheduler's sigmas are times of a flow."""
    named = type(scheduler).__name__.startswith("FlowMatch")
    return named or bool(scheduler.config.get("use_flow_sigmas", False))


def shift_of_tokens(scheduler: Scheduler, tokens: int) -> float:
    """μ of a resolution-dependent shift: linear in the number of image tokens.  [sd3] (23)"""
    setting = scheduler.config
    low, high = setting.get("base_image_seq_len", 256), setting.get("max_image_seq_len", 4096)
    first, last = setting.get("base_shift", 0.5), setting.get("max_shift", 1.15)
    return first + (last - first) * (tokens - low) / (high - low)


def table_process(scheduler: Scheduler) -> DiscreteVP:
    """The table of a DDPM-like scheduler as a process.  Raises ValueError for other schedules."""
    setting = scheduler.config
    schedule = setting.get("beta_schedule", "linear")
    if schedule not in ("linear", "scaled_linear") or setting.get("trained_betas") is not None:
        raise ValueError(
            f"the scheduler's beta_schedule is {schedule!r}; adapters read 'linear' and "
            "'scaled_linear' (a process of your own can be given from Python)"
        )
    return DiscreteVP(
        beta_start=setting["beta_start"],
        beta_end=setting["beta_end"],
        steps=setting.get("num_train_timesteps", 1000),
        root=schedule == "scaled_linear",
        snr_shift=float(setting.get("snr_shift_scale", 1.0)),
        zero_snr=bool(setting.get("rescale_betas_zero_snr", False)),
    )


def table_kind(scheduler: Scheduler) -> Kind:
    """What the network of such a scheduler predicts."""
    names: dict[str, Kind] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
    said = scheduler.config.get("prediction_type", "epsilon")
    if said not in names:
        raise ValueError(f"unknown prediction_type {said!r}; expected one of {', '.join(names)}")
    return names[said]


def table_grid(scheduler: Scheduler, steps: int) -> tuple[float, ...]:
    """Times of DDIM with the scheduler's spacing; the last is 0, or 1/1000 for an end at ᾱ[0]."""
    from diffusers import DDIMScheduler

    spacing = scheduler.config.get("timestep_spacing", "leading")
    ddim: Any = DDIMScheduler.from_config(scheduler.config, timestep_spacing=spacing)
    ddim.set_timesteps(steps)
    whole = scheduler.config.get("num_train_timesteps", 1000)
    last = 0.0 if ddim.config.get("set_alpha_to_one", True) else 1 / whole
    times = [(int(k) + 1) / whole for k in ddim.timesteps]
    return tuple(times) if times[-1] <= last else (*times, last)


def table_step(t: Float[Tensor, " batch"], steps: int = 1000) -> Float[Tensor, " batch"]:
    """The pipeline's timestep of our t, whole where t is on the grid."""
    position = t.float() * steps - 1
    nearest = position.round()
    return torch.where((position - nearest).abs() < 1e-3, nearest, position).clamp(min=0)


def normalised(vae: VAE, z: Tensor) -> Tensor:
    """Latents as the network sees them, by the VAE's own means and deviations."""
    mean, std = (_of_channels(getattr(vae.config, n), z) for n in ("latents_mean", "latents_std"))
    return (z - mean) / std


def denormalised(vae: VAE, x0: Tensor) -> Tensor:
    """The inverse of `normalised`."""
    mean, std = (_of_channels(getattr(vae.config, n), x0) for n in ("latents_mean", "latents_std"))
    return x0 * std + mean


def _of_channels(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device, dtype=like.dtype).view(
        1, -1, *[1] * (like.ndim - 2)
    )


def scaled(vae: VAE, z: Tensor) -> Tensor:
    """Latents as the network sees them, by the VAE's scale and shift."""
    return (z - (vae.config.get("shift_factor") or 0.0)) * vae.config.scaling_factor


def unscaled(vae: VAE, x0: Tensor) -> Tensor:
    """The inverse of `scaled`."""
    return x0 / vae.config.scaling_factor + (vae.config.get("shift_factor") or 0.0)


def decoded(vae: VAE, z: Tensor) -> Tensor:
    """What a VAE of pictures or video makes of latents."""
    return vae.decode(z.to(vae.dtype), return_dict=False)[0]


def encoded(vae: VAE, media: Tensor) -> Tensor:
    """The mean of a VAE's latents."""
    answer = vae.encode(media.to(vae.dtype), return_dict=False)[0]
    return answer if isinstance(answer, Tensor) else answer.mode()


# Pictures as sequences of 2 × 2 patches, as FLUX and Qwen-Image take them


def packed(z: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch tokens four"]:
    """Latents to tokens, row by row; a token's entries are channel, row, column."""
    patches = z.unfold(2, 2, 2).unfold(3, 2, 2)  # batch channels rows columns 2 2
    return patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def unpacked(
    tokens: Float[Tensor, "batch tokens four"], height: int, width: int
) -> Float[Tensor, "batch channels height width"]:
    """The inverse of `packed`; height and width of the latents."""
    patches = tokens.unflatten(1, (height // 2, width // 2)).unflatten(-1, (-1, 2, 2))
    return patches.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def places(height: int, width: int, picture: int, like: Tensor) -> Float[Tensor, "tokens three"]:
    """(picture, row, column) of each token, for rotary positions; height and width in tokens."""
    rows = torch.arange(height, device=like.device).repeat_interleave(width)
    columns = torch.arange(width, device=like.device).repeat(height)
    numbers = torch.full_like(rows, picture)
    return torch.stack([numbers, rows, columns], 1).to(like)
