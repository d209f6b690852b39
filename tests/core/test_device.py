"""Which device a word means, and what is put there how."""

from pathlib import Path

import pytest
import torch

from scoreward.core import device
from scoreward.core.chain import draw, uniform
from scoreward.core.device import chosen, placed, wide, widest
from scoreward.core.gaussian import Gaussian
from scoreward.core.kernel import Kernel
from scoreward.core.keys import Key
from scoreward.core.prediction import Prediction
from scoreward.rewards.base import differentiated, scored
from scoreward.training.run import Run
from scoreward.training.team import Team
from tests.training.toys import about, finish, toy


def cards(monkeypatch: pytest.MonkeyPatch, kind: str, count: int, current: int = 0) -> None:
    """As if torch saw some accelerators."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: current)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="torch sees an accelerator")
def test_without_an_accelerator_everything_is_on_the_cpu() -> None:
    assert chosen() == chosen("cpu") == Team().device == torch.device("cpu")
    with pytest.raises(ValueError, match=r"^device 'cuda:1' was asked for and torch sees no accel"):
        chosen("cuda:1")


def test_auto_is_the_accelerator_that_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, "cuda", 2, current=1)
    assert chosen() == chosen("cuda") == torch.device("cuda", 1)
    assert (chosen("cpu"), chosen("cuda:0")) == (torch.device("cpu"), torch.device("cuda", 0))


def test_mps_has_an_index_as_its_tensors_have(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, "mps", 1)
    assert chosen("auto") == chosen("mps") == torch.device("mps", 0)


def test_each_of_several_processes_has_its_own_card(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, "cuda", 4)
    monkeypatch.setenv("WORLD_SIZE", "8")
    for rank, card in ((0, 0), (3, 3), (5, 1)):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert chosen() == chosen("cuda") == torch.device("cuda", card)
        assert chosen("cuda:2") == torch.device("cuda", 2)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "cuda:1",
            "device 'cuda:1' was asked for and torch sees 1 cuda device.s.; use cuda:0,",
        ),
        ("mps", "device 'mps' was asked for and torch sees 1 cuda device"),
        ("meta", "device 'meta' was asked for and torch sees 1 cuda device"),
        ("gpu", "torch knows no device 'gpu'; expected auto, cpu, or an accelerator such as cuda"),
    ],
)
def test_a_device_that_is_not_there_is_refused_in_a_sentence(
    name: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards(monkeypatch, "cuda", 1)
    with pytest.raises(ValueError, match=f"^{sentence}"):
        chosen(name)


def test_the_cpu_has_float64_and_keeps_it() -> None:
    x = torch.ones(2, dtype=torch.float64)
    assert widest(x.device) == placed(x, "cpu").dtype == wide(x.float()).dtype == torch.float64
    assert placed(torch.ones(2, dtype=torch.bfloat16), "cpu").dtype == torch.bfloat16


def test_without_float64_there_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on MPS."""

    def refuse(*shape: int, **how: object) -> torch.Tensor:
        raise TypeError("this device has no float64")

    x = torch.ones(2, dtype=torch.float64)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "zeros", refuse)
        assert widest.__wrapped__(torch.device("cpu")) == torch.float32
    monkeypatch.setattr(device, "widest", lambda where: torch.float32)
    assert placed(x, "cpu").dtype == wide(x).dtype == wide(x.bfloat16()).dtype == torch.float32
    assert placed(x.bfloat16(), "cpu").dtype == torch.bfloat16


class Source(torch.Tensor):
    """Notes how it is copied, and stays where it is."""

    waited: bool

    def to(self, device: torch.device, dtype: torch.dtype, non_blocking: bool) -> "Source":  # pyright: ignore
        self.waited = not non_blocking
        return self


@pytest.mark.parametrize(("name", "waited"), [("cpu", True), ("mps", True), ("cuda:1", False)])
def test_the_host_waits_for_what_it_may_read_too_early(name: str, waited: bool) -> None:
    source = torch.ones(2).as_subclass(Source)
    placed(source, name)
    assert source.waited == waited


@pytest.mark.skipif(torch.accelerator.is_available(), reason="torch sees an accelerator")
def test_a_run_says_where_it_was_made(tmp_path: Path) -> None:
    run: Run = toy(tmp_path / "run", 1)
    finish(run)
    assert (about(run)["settings"]["device"], about(run)["device"]) == ("auto", "cpu")


class Network(torch.nn.Module):
    """A reward that is a network."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, media: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        return media.flatten(1).sum(1) * self.scale


def test_a_reward_that_is_a_network_follows_the_media() -> None:
    reward = Network().double()
    media = torch.ones(2, 3, requires_grad=True)
    assert scored("mine", reward, media, ["a", "b"]).tolist() == [3, 3]
    differentiated("mine", reward, media, ["a", "b"]).sum().backward()
    assert media.grad is not None


class Silent(Kernel):
    """Draws noise and does not say so."""

    def __call__(self, pred: Prediction, s: torch.Tensor) -> Gaussian:
        return Gaussian(pred.x0, torch.ones(len(s), 1))


def test_a_kernel_whose_noise_is_not_declared_is_refused() -> None:
    from scoreward.tasks.toy import toy_model

    model, keys = toy_model(), [Key((0,))]
    with pytest.raises(ValueError, match=r"^Silent draws noise in step 1 -> 0.5 of which"):
        draw(uniform(Silent(), 2), model.denoiser, torch.ones(1, 2), keys, torch.tensor([0]))
