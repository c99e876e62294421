"""Weights on a mesh: gather them where a step uses them, in the dtype that it computes with.

Fully sharded data parallelism (Rajbhandari et al. 2020, arXiv 1910.02054) keeps a part of each weight on each
device. Left to itself, XLA gathers float32, or sends parts of a product around a ring in pieces that are too
small for the matrix units. Here we gather a weight once for each pass over it, in 16 bits if the step
computes in 16 bits.
"""

from collections.abc import Mapping
from functools import lru_cache, partial

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.model.compiled_for import on_cpu
from lora_jax.model.declare import declare
from lora_jax.model.placing import BATCH_AXES, FSDP_AXIS, TENSOR_AXIS, hold, is_on_mesh, split_axes
from lora_jax.model.stacks import inside_block
from lora_jax.params import LAYERS, Params


def gather_weights(config: ModelConfig, params: Params, dtype: jnp.dtype) -> Params:
    """Return the weights with each matrix whole along d_model, in `dtype`.

    Outside a mesh they stay as they are.

    Args:
        config: The model. Weights that are not the model's own but a method's stay as they are.
        params: Weights by path, of a whole model or of one block without the layer axis.
        dtype: What the step computes in.
    """
    if on_cpu() or not is_on_mesh():
        return params
    specs = _matrices(config)
    return {
        path: _gather(specs[path], dtype, weight) if path in specs else weight
        for path, weight in params.items()
    }


@lru_cache(maxsize=16)
def _matrices(config: ModelConfig) -> Mapping[str, tuple[str, ...]]:
    """Return the names of the axes of every matrix, by its path.

    For a matrix in a block it is the path there.
    """
    return {
        inside_block(path) or path: tuple(name for name, _ in spec.axes if name != LAYERS)
        for path, spec in declare(config).items()
        if spec.contract
    }


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _gather(names: tuple[str, ...], dtype: jnp.dtype, weight: jax.Array) -> jax.Array:
    return _gather_forward(names, dtype, weight)[0]


def _gather_forward(
    names: tuple[str, ...], dtype: jnp.dtype, weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    split = split_axes(names)
    narrow = hold(weight.astype(dtype), *split)  # hold them here, otherwise XLA gathers the wide numbers
    whole = hold(narrow, *(None if axis == FSDP_AXIS else axis for axis in split))
    return whole, jnp.zeros((), weight.dtype)


def _gather_backward(
    names: tuple[str, ...], dtype: jnp.dtype, like: jax.Array, g: jax.Array
) -> tuple[jax.Array]:
    split = split_axes(names)
    # Sum the whole array and then cut it. If we cut it at once, XLA computes the product in as many pieces as
    # there are devices, which takes longer (docs/accelerators.md).
    whole = hold(g, *(None if axis == FSDP_AXIS else axis for axis in split))
    return (hold(whole, *split).astype(like.dtype),)


_gather.defvjp(_gather_forward, _gather_backward)


def look_up(table_VD: jax.Array, tokens_BT: jax.Array) -> jax.Array:
    """Return the embeddings of the tokens, (B, T, D).

    On a mesh of accelerators each device looks up its part of the model's width, for the tokens of all
    devices that share the weights. Then they exchange these parts. So neither the table nor its gradient is
    ever whole.

    Args:
        table_VD: The embeddings of the vocabulary.
        tokens_BT: The tokens.
    """
    if on_cpu():
        return hold(table_VD, TENSOR_AXIS)[tokens_BT]
    data_axis = BATCH_AXES[0]
    rows_BTD = hold(table_VD, TENSOR_AXIS, FSDP_AXIS)[hold(tokens_BT, data_axis)]
    return hold(hold(rows_BTD, data_axis, None, FSDP_AXIS), BATCH_AXES)
