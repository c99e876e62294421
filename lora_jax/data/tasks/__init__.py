"""Labelled tasks: read (`load_task`), encode to tokens (`encode_*`), cut into batches (`make_batches`)."""

from lora_jax.data.tasks.batching import Batch, Batches, make_batches
from lora_jax.data.tasks.encoding import (
    Encoded,
    TextTokenizer,
    encode_classification,
    encode_generation,
    encode_prompts,
)
from lora_jax.data.tasks.load import load_task
from lora_jax.data.tasks.task import Example, TaskData

__all__ = [
    "Batch",
    "Batches",
    "Encoded",
    "Example",
    "TaskData",
    "TextTokenizer",
    "encode_classification",
    "encode_generation",
    "encode_prompts",
    "load_task",
    "make_batches",
]
