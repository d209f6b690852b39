"""What a launcher asks for and does not get is said in a sentence."""

import re

import pytest

from scoreward.training.launcher import LauncherError, check_distribution, check_launcher
from scoreward.training.team import Team

REFUSED = {
    "ACCELERATE_USE_FSDP": ("true", "asks for FSDP"),
    "ACCELERATE_USE_DEEPSPEED": ("true", "asks for DeepSpeed"),
    "ACCELERATE_USE_MEGATRON_LM": ("1", "asks for Megatron-LM"),
    "ACCELERATE_USE_PARALLELISM_CONFIG": ("true", "asks for a parallelism configuration"),
    "ACCELERATE_USE_TP": ("true", "asks for tensor parallelism"),
    "ACCELERATE_USE_SAGEMAKER": ("true", "asks for SageMaker's own distribution"),
    "ACCELERATE_DYNAMO_BACKEND": ("INDUCTOR", "torch.compile with 'INDUCTOR'"),
    "ACCELERATE_MIXED_PRECISION": ("fp8", "mixed precision 'fp8' and the run for 'no'"),
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": ("4", "`geometry.micro_batch`"),
    "ACCELERATE_GRADIENT_CLIPPING": ("1.0", "`optimizer.max_norm`"),
}


@pytest.mark.parametrize("variable", REFUSED)
def test_what_is_not_honoured_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value, sentence = REFUSED[variable]
    monkeypatch.setenv(variable, value)
    with pytest.raises(LauncherError, match=re.escape(sentence)):
        Team()


def test_what_an_ordinary_launch_sets_is_fine() -> None:
    """As `accelerate launch` writes it for plain processes."""
    ordinary = {
        "ACCELERATE_MIXED_PRECISION": "no",
        "ACCELERATE_DYNAMO_BACKEND": "NO",
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1",
        "ACCELERATE_USE_FSDP": "false",
        "ACCELERATE_USE_CPU": "True",
    }
    for precision in ("no", "bf16"):
        check_launcher(ordinary, precision)
    check_launcher({"ACCELERATE_MIXED_PRECISION": "bf16"}, "bf16")
    with pytest.raises(LauncherError, match="'bf16' and the run for 'no'"):
        check_launcher({"ACCELERATE_MIXED_PRECISION": "bf16"}, "no")
    with pytest.raises(LauncherError, match="'fp16' and the run for 'bf16'"):
        check_launcher({"ACCELERATE_MIXED_PRECISION": "fp16"}, "bf16")


def test_one_is_no_accumulation_and_is_a_bound_of_the_norm() -> None:
    check_launcher({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1"}, "no")
    with pytest.raises(LauncherError, match="sets ACCELERATE_GRADIENT_CLIPPING=1, which"):
        check_launcher({"ACCELERATE_GRADIENT_CLIPPING": "1"}, "no")


def test_a_distribution_set_up_in_this_process_is_refused() -> None:
    for kind in ("NO", "MULTI_CPU", "MULTI_GPU"):
        check_distribution(kind)
    for kind in ("FSDP", "DEEPSPEED", "MEGATRON_LM", "XLA"):
        with pytest.raises(LauncherError, match=f"set up for {kind} in this process"):
            check_distribution(kind)
