"""Which fused kernel attends. One rule decides by the target, dtype, lengths, head width and mask.

A fused kernel never holds the scores of all positions (Dao 2023, arXiv 2307.08691). `attend` asks this rule
while it is traced. `lora-jax compile` asks it for the words of its warning.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.target import Target

Kernel = Literal["cudnn", "triton", "splash"]  # each is a file of model/, such as splash_attention.py
# Which keys a position sees, beside the causal order: all, those of its own segment, or any set of keys.
Mask = Literal["none", "segments", "any"]

SPLASH_WIDTH = 256  # the widest heads that we compiled splash attention for
TRITON_WIDTHS = (
    16,
    128,
)  # Triton's smallest product, and the largest head for which its blocks fit into shared memory
TRITON_LENGTH = 64  # positions in a block of Triton's kernel
LEAST_LENGTH = 128  # positions in splash attention's smallest block


class Choice(NamedTuple):
    """A kernel, or why there is none.

    Attributes:
        kernel: The kernel, or None.
        reason: The end of the sentence "attention is not fused: ...".
    """

    kernel: Kernel | None
    reason: str = ""


class Heads(NamedTuple):
    """The inputs of attention, as far as the choice of a kernel depends on them.

    Attributes:
        n_queries: Positions that attend, T.
        n_keys: Positions that are attended to, S.
        width: Width of a head, K.
        dtype: Dtype of queries, keys and values.
        mask: Which keys a position sees, beside the causal order.
        has_bias: Whether something is added to the scores.
    """

    n_queries: int
    n_keys: int
    width: int
    dtype: jnp.dtype
    mask: Mask = "none"
    has_bias: bool = False


def describe_heads(q_BTHK: jax.Array, k_BSJK: jax.Array, mask: Mask, has_bias: bool) -> Heads:
    """Describe the arrays that attention reads."""
    T, K = q_BTHK.shape[1], q_BTHK.shape[3]
    return Heads(T, k_BSJK.shape[1], K, jnp.dtype(q_BTHK.dtype), mask, has_bias)


def heads_of(config: ModelConfig, length: int, dtype: jnp.dtype) -> Heads:
    """Describe the attention of a model in pretraining. Nothing is packed, and nothing stands in front."""
    has_bias = config.positions in ("t5", "transformer_xl")
    return Heads(length, length, config.head_dim, dtype, has_bias=has_bias)


def choose_kernel(target: Target, heads: Heads) -> Choice:
    """Return the fused kernel that attends on a target, or the reason why there is none."""
    if heads.has_bias:
        return Choice(None, "relative positions are added to the scores, which no kernel does here")
    if heads.n_keys != heads.n_queries:
        return Choice(None, "there are more keys than queries, as behind a prefix")
    if heads.mask == "any":
        return Choice(None, "a prompt stands in front of packed segments, which no kernel's mask expresses")
    if target.platform == "tpu":
        return _choose_on_tpu(heads)
    if target.platform == "gpu":
        return _choose_on_gpu(target, heads)
    return Choice(None, f"no kernel is known for {target.platform}")


def _choose_on_tpu(heads: Heads) -> Choice:
    if heads.dtype not in (jnp.bfloat16, jnp.float32):
        return Choice(None, f"the numbers are {heads.dtype}, and splash attention takes bfloat16 or float32")
    if heads.n_queries < LEAST_LENGTH:
        short = f"with {heads.n_queries} positions the scores are smaller than the kernel's smallest block"
        return Choice(None, f"{short} of {LEAST_LENGTH}")
    if heads.width > SPLASH_WIDTH:
        return Choice(None, f"the head width {heads.width} is over {SPLASH_WIDTH}")
    return Choice("splash")


def _choose_on_gpu(target: Target, heads: Heads) -> Choice:
    """Choose by cuDNN's rules, those of `check_layout` and `check_is_flash_attention` in jax/_src/cudnn."""
    capability = target.capability
    if capability is None:
        return Choice(None, "cuDNN's kernel is for NVIDIA GPUs")
    if capability < (8, 0):
        return Choice(None, f"the compute capability {capability[0]}.{capability[1]} is before Ampere's, 8.0")
    if heads.dtype not in (jnp.bfloat16, jnp.float16):
        return Choice(None, f"the numbers are {heads.dtype}, and cuDNN's kernel takes 16-bit numbers")
    widest = 256 if capability >= (9, 0) else 128
    if heads.width % 8 or heads.width > widest:
        return Choice(
            None, f"the head width {heads.width} is not a multiple of 8 of at most {widest}, which cuDNN asks"
        )
    if heads.mask == "none":
        return Choice("cudnn")
    narrowest, widest = TRITON_WIDTHS
    if not narrowest <= heads.width <= widest:
        width = f"in packed segments the head width {heads.width} is not between {narrowest} and {widest}"
        return Choice(None, width)
    if heads.n_queries < TRITON_LENGTH:
        return Choice(None, f"packed segments of {heads.n_queries} positions are less than a block")
    return Choice("triton")
