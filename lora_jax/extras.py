"""What the core does not install: the modules of the extra `train`, and what is said where one is missing."""

# by the names that are imported; pyproject.toml has the packages
TRAIN = frozenset({
    "array_record", "flax", "jax", "jaxlib", "optax", "orbax", "rouge_score", "sacrebleu", "safetensors",
    "tensorflow_datasets", "tokenizers", "wandb",
})  # fmt: skip


def explain_missing(error: BaseException) -> str | None:
    """Return what to install where a module of the extra `train` is missing; None for any other error."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    module = (error.name or "").partition(".")[0]
    if module not in TRAIN:
        return None
    return f"This needs the package {module}, which is not installed: pip install 'lora-jax[train]'."
