"""The processes that train together.  The only file that imports accelerate.

Gradients are summed here rather than by a wrapper around the network, so that processes may hold
different numbers of samples, including none, and still make exactly the update of one process.
"""

import atexit
import os
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import TypeVar, cast

import torch
from accelerate import Accelerator
from accelerate.state import is_initialized
from accelerate.utils import GradientAccumulationPlugin, gather_object
from torch import Tensor, nn

from scoreward.core.denoiser import PRECISIONS
from scoreward.core.device import chosen
from scoreward.rewards.base import RewardError
from scoreward.training.launcher import check_distribution, check_launcher

T = TypeVar("T")


class Team:
    """Rank, size, device, and the few sums that cross processes."""

    def __init__(self, mixed_precision: str = "no", device: str = "auto") -> None:
        if mixed_precision not in ("no", *PRECISIONS):
            raise ValueError(
                f"`mixed_precision` must be one of no, {', '.join(PRECISIONS)}, got "
                f"{mixed_precision!r}"
            )
        check_launcher(os.environ, mixed_precision)
        self.precision = PRECISIONS.get(mixed_precision)
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1
        if several:
            # the optimiser imports it sooner or later, and its default arguments keep the group of
            # that moment, with its threads, beyond the end: so before there is a group
            import_module("torch.distributed.nn")
        self.device = chosen(device)
        # the group of processes is one of CUDA cards if each has its own
        on_cards = several and self.device.type == "cuda" and ":" not in device
        self._accelerator = Accelerator(
            # precision is ours: accelerate allows one a process, and wraps more than the network
            mixed_precision="no",
            # it makes the group of processes and nothing else: tensors are put on our own device,
            # so one process may have runs on several, and a device whose sums accelerate does not
            # know sends them through the host
            cpu=not (is_initialized() or on_cards),
            # one step per call, whatever the launcher's environment says
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        )
        check_distribution(self._accelerator.distributed_type.value)
        if self.size > 1:  # left to the interpreter, its threads sometimes abort the process
            atexit.register(self._accelerator.end_training)

    @property
    def rank(self) -> int:
        return self._accelerator.process_index

    @property
    def size(self) -> int:
        return self._accelerator.num_processes

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks."""
        return self._accelerator.is_main_process

    def wait(self) -> None:
        self._accelerator.wait_for_everyone()

    def gather(self, items: Sequence[T]) -> list[T]:
        """The items of all processes, in order of rank."""
        return list(items) if self.size == 1 else gather_object(list(items))

    def leader(self, value: T) -> T:
        """The leading process's value, on every process."""
        return self.gather([value])[0]

    def all_or_none(self, work: Callable[[], T]) -> T:
        """`work()`; a RewardError of one process is raised on all, so that none waits for ever."""
        answer: list[T] = []
        failure: RewardError | None = None
        try:
            answer.append(work())
        except RewardError as error:
            failure = error
        failures = self.gather([] if failure is None else [str(failure)])
        if failures:
            raise failure or RewardError(failures[0])
        return answer[0]

    def total(self, value: float) -> float:
        """Sum over processes."""
        return float(sum(self.gather([value])))

    def summed(self, value: Tensor) -> Tensor:
        """Sum of a tensor over processes; all must ask for tensors of one shape."""
        if self.size == 1:
            return value
        given = value.to(self._accelerator.device, copy=True)  # where the processes add up
        answer = self._accelerator.reduce(given, reduction="sum")
        return cast(Tensor, answer).to(value.device)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum gradients over processes, in one message; a process without samples adds zeros."""
        if self.size == 1:
            return
        held = list(parameters)
        for parameter in held:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in held if p.grad is not None]
        flat = self.summed(torch.cat([g.flatten() for g in gradients]))
        pieces = flat.split([g.numel() for g in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))
