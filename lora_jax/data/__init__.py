"""Text to batches: sources, tokenizers, the token store, and the Dataset that training reads."""

from lora_jax.data.batches import Dataset, prepare

__all__ = ["Dataset", "prepare"]
