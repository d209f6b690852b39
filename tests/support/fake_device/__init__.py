"""A device without a card: `enable()` registers it as "fake", of which there are two.

Its memory is the host's and its tensors refuse to mix with the CPU's, so what is left behind on
one side fails as it would on a card. It is PrivateUse1 of torch, which can be renamed once in a
process: tests that need it run in processes of their own. What happens between host and device is
counted: `count("item")` numbers read, `count("read")` tensors read, `count("write")` tensors
written and waited for, `count("wait")` other waits.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import types
from pathlib import Path

import torch

SOURCE = Path(__file__).with_name("fake.cpp")
COMPILER = os.environ.get("CXX", "g++")
NAME = "fake"


def compiler() -> str | None:
    """What compiles it, or None where there is nothing."""
    return shutil.which(COMPILER)


def library() -> Path:
    """The compiled device; made once per source and torch, by one process at a time."""
    from torch.utils.cpp_extension import include_paths, library_paths

    known = hashlib.blake2b(SOURCE.read_bytes() + torch.__version__.encode(), digest_size=8)
    folder = Path(tempfile.gettempdir()) / f"scoreward-fake-device-{os.getuid()}"
    folder.mkdir(exist_ok=True, mode=0o700)
    target = folder / f"{known.hexdigest()}.so"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            aside = target.with_suffix(f".{os.getpid()}")
            includes = [f"-I{path}" for path in include_paths()]
            libraries = [f"-L{path}" for path in library_paths()]
            abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
            words = [COMPILER, "-O1", "-std=c++20", "-fPIC", "-shared", abi, *includes]
            words += [str(SOURCE), "-o", str(aside), *libraries, "-lc10", "-ltorch_cpu", "-ltorch"]
            subprocess.run(words, check=True, capture_output=True, text=True)
            aside.rename(target)
    return target


def enable(float64: bool = True) -> None:
    """Give this process the device; without `float64` it has none, like MPS."""
    torch.ops.load_library(library())
    torch.ops.fake_device.start()
    torch.utils.rename_privateuse1_backend(NAME)
    torch._register_device_module(NAME, _module())
    torch.utils.generate_methods_for_privateuse1_backend(unsupported_dtype=None)
    torch.ops.fake_device.refuse_float64(not float64)


def count(what: str) -> int:
    """How often something has happened since the device was registered."""
    return int(torch.ops.fake_device.count(what))


def _module() -> types.ModuleType:
    """What torch asks of `torch.fake`."""
    module = types.ModuleType(f"torch.{NAME}")
    answers = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 2,
        "current_device": torch.accelerator.current_device_index,
        "set_device": torch.accelerator.set_device_index,
        "_is_in_bad_fork": lambda: False,
        "manual_seed_all": lambda seed: None,
        "manual_seed": lambda seed: None,
        "synchronize": torch.accelerator.synchronize,
        "empty_cache": lambda: None,
        "get_rng_state": lambda device=0: torch.get_rng_state(),
        "set_rng_state": lambda state, device=0: None,
        "get_amp_supported_dtype": lambda: [torch.bfloat16, torch.float16],
    }
    for name, answer in answers.items():
        setattr(module, name, answer)
    return module
