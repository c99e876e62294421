"""What the core does not install: the modules of the extras, and the message if one is missing."""

# names that are imported; pyproject.toml has the packages
TRAIN = frozenset(
    {
        "array_record",
        "flax",
        "jax",
        "jaxlib",
        "optax",
        "orbax",
        "rouge_score",
        "sacrebleu",
        "safetensors",
        "tensorflow_datasets",
        "tokenizers",
        "wandb",
    }
)
GPU_COMPILE = ("jax_cuda12_plugin", "jax_plugins", "nvidia")
EXTRAS = (
    {module: "train" for module in TRAIN}
    | {"submitit": "slurm", "libtpu": "tpu"}
    | {module: "gpu-compile" for module in GPU_COMPILE}
)


def explain_missing(error: BaseException) -> str | None:
    """Return what to install if a module of an extra is missing. None for any other error."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    module = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(module)
    if extra is None:
        return None
    return f"This needs the package {module}, which is not installed: pip install 'lora-jax[{extra}]'."
