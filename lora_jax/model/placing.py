"""Where arrays lie on the mesh of devices that a step is traced on.

Outside a mesh these functions do nothing.

The mesh itself, and where weights lie between steps, is in training/mesh.py.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.sharding import PartitionSpec

FSDP_AXIS, TENSOR_AXIS = "fsdp", "tensor"  # axes of a mesh of devices (training/mesh.py)
BATCH_AXES = ("data", FSDP_AXIS)  # they split the batch
# Which axis of the mesh splits an axis of a weight.
SPLIT_BY = {
    "d_model": FSDP_AXIS,
    "d_ff": TENSOR_AXIS,
    "heads": TENSOR_AXIS,
    "kv_heads": TENSOR_AXIS,
    "vocab": TENSOR_AXIS,
}


def is_on_mesh() -> bool:
    """Return whether the program is traced on a mesh of devices."""
    return not jax.sharding.get_abstract_mesh().empty


def split_axes(names: Sequence[str]) -> list[str | None]:
    """Return the axis of the mesh that splits each axis of a weight, by their names. None if it is whole."""
    return [SPLIT_BY.get(name) for name in names]


def hold(array: jax.Array, *axes: Any) -> jax.Array:
    """Keep an array split over axes of the mesh, if the step is traced on one.

    Left to itself, XLA may split activations as the weights are split, and communicate those instead.
    """
    return jax.lax.with_sharding_constraint(array, PartitionSpec(*axes)) if is_on_mesh() else array


def split_attention(attend: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Return attend(q_BTHK, k_BTJK, v_BTJK, segments_BT or None), split over the mesh if there is one.

    Each device attends to its own rows and heads, which needs no communication. XLA cannot split a kernel.
    """
    if not is_on_mesh():
        return attend
    heads, rows = PartitionSpec(BATCH_AXES, None, TENSOR_AXIS), PartitionSpec(BATCH_AXES)
    return jax.shard_map(attend, in_specs=(heads,) * 3 + (rows,), out_specs=heads, check_vma=False)
