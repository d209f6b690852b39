"""What a launcher asked for that this library does not do: refused, never ignored."""

from collections.abc import Mapping

OFF = ("", "0", "false", "no", "off")
REPLICAS = (
    "processes here hold whole replicas and share the samples; start them without it (torchrun, or "
    "`accelerate launch --multi_gpu`)"
)
ENGINES = {  # variables that `accelerate launch` sets → what they mean
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism configuration",
    "ACCELERATE_USE_TP": "tensor parallelism",
    "ACCELERATE_USE_SAGEMAKER": "SageMaker's own distribution",
}
SHARDED = ("FSDP", "DEEPSPEED", "MEGATRON_LM", "XLA")  # accelerate's names of distributions


class LauncherError(ValueError):
    """Settings of a launcher that a run cannot honour."""


def check_launcher(environment: Mapping[str, str], precision: str) -> None:
    """Raise LauncherError for settings of `accelerate launch` that are not honoured here.

    `precision` is the run's own, which alone decides.
    """

    def asked(name: str) -> str:
        value = environment.get(name, "").strip()
        return "" if value.lower() in OFF else value

    for variable, engine in ENGINES.items():
        if asked(variable):
            raise LauncherError(
                f"the launcher asks for {engine} ({variable}={environment[variable]}), which is "
                f"not supported yet: {REPLICAS}"
            )
    if compiler := asked("ACCELERATE_DYNAMO_BACKEND"):
        raise LauncherError(
            f"the launcher asks for torch.compile with {compiler!r} "
            "(ACCELERATE_DYNAMO_BACKEND), which is not applied here; leave out its dynamo settings"
        )
    wanted = asked("ACCELERATE_MIXED_PRECISION")
    if wanted and wanted != precision:
        raise LauncherError(
            f"the launcher asks for mixed precision {wanted!r} and the run for {precision!r}; the "
            "run decides: set it there (`mixed_precision` of a run, --loading.dtype of a recipe) "
            "and the same or 'no' in the launcher"
        )
    for variable, setting in (
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "`geometry.micro_batch`"),
        ("ACCELERATE_GRADIENT_CLIPPING", "`optimizer.max_norm`"),
    ):
        value = asked(variable)
        if value not in ("", "1", "none", "None") or (value == "1" and "CLIPPING" in variable):
            raise LauncherError(
                f"the launcher sets {variable}={value}, which is not used here; leave it out and "
                f"set {setting} of the run"
            )


def check_distribution(kind: str) -> None:
    """Raise LauncherError for a way to share a model, set up in this process, that is not ours."""
    if kind in SHARDED:
        raise LauncherError(
            f"accelerate was set up for {kind} in this process, which is not supported yet: "
            f"{REPLICAS}"
        )
