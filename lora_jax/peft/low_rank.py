"""The algebra of a low-rank update of any weight: shapes from its Spec, product, application.

Every weight W has stack axes (layers), input axes I that its matrix multiplication sums over, and output axes
O. Its factors are A (stack, I, R) and B (stack, R, O). With x (..., I), the update of x W is (x A) B.
"""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from lora_jax.errors import LoraJaxError
from lora_jax.model.hooks import HookPoint
from lora_jax.model.layers import linear
from lora_jax.params import Spec

Axes = tuple[tuple[str, int], ...]

SCALE = "scale/"  # runs side by side hold the scale s of a target among their weights, under this prefix


def split_axes(spec: Spec) -> tuple[Axes, Axes, Axes]:
    """Return the (stack, input, output) axes of a matrix. The input of an embedding is the vocabulary."""
    stack = tuple(axis for axis in spec.axes if axis[0] == "layers")
    rest = [axis for axis in spec.axes if axis[0] != "layers"]
    inputs = ("vocab",) if rest[0][0] == "vocab" else spec.contract
    return stack, tuple(a for a in rest if a[0] in inputs), tuple(a for a in rest if a[0] not in inputs)


def sizes(spec: Spec) -> tuple[int, int]:
    """Return (k, d), the number of inputs and of outputs of a matrix."""
    _, inputs, outputs = split_axes(spec)
    return math.prod(n for _, n in inputs), math.prod(n for _, n in outputs)


def factor_specs(path: str, spec: Spec, rank: int, a: Spec) -> tuple[Spec, Spec]:
    """Return the Specs of A and B.

    Args:
        path: Path of the weight, for messages.
        spec: Spec of the weight.
        rank: The rank of the update.
        a: Says how A starts (std, mean, noise). B starts at zero.

    Raises:
        LoraJaxError: The rank is below 1 or above the matrix's own.
    """
    stack, inputs, outputs = split_axes(spec)
    check_rank(path, spec, rank)
    R = ("rank", rank)
    is_lookup = inputs[0][0] == "vocab"
    first = Spec(
        (*stack, *inputs, R), () if is_lookup else tuple(n for n, _ in inputs), a.std, a.mean, a.noise
    )
    return first, Spec((*stack, R, *outputs), ("rank",))


def check_rank(path: str, spec: Spec, rank: int) -> None:
    """Refuse a rank that the matrix cannot have.

    Raises:
        LoraJaxError: The rank is below 1 or above the matrix's own.
    """
    k, d = sizes(spec)
    if not 1 <= rank <= min(k, d):
        raise LoraJaxError(
            f"the rank {rank} of {path} is not between 1 and {min(k, d)}, the rank that this {k} x {d} matrix"
            f" can have: {'lower' if rank > 1 else 'raise'} it."
        )


def apply_low_rank(x: jax.Array, a: jax.Array, b: jax.Array, n_contract: int) -> jax.Array:
    """Return (x A) B by two thin matrix multiplications. The product A B is never formed."""
    return linear(linear(x, a, n_contract), b)


def take_scale(point: HookPoint, scales: Mapping[str, float], dtype: jnp.dtype) -> jax.Array:
    """Return the scale s of a matrix.

    If the weights hold one, it counts. Otherwise the configuration's does.
    """
    return jnp.asarray(point.weights.get(SCALE + point.path, scales[point.path]), dtype)


def drop(x_BT: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Drop entries of x (B, T, ...) with probability `rate`, and scale up the others.

    Without a key, drop nothing.

    We draw position after position. So padding behind a row does not change what is dropped before it.
    """
    if key is None or rate == 0.0:
        return x_BT
    B, T, *rest = x_BT.shape
    kept = jax.random.bernoulli(key, 1 - rate, (T, B, *rest)).swapaxes(0, 1)
    return jnp.where(kept, x_BT / (1 - rate), 0).astype(x_BT.dtype)


def multiply(a: jax.Array, b: jax.Array, spec: Spec) -> jax.Array:
    """Return A B in float32, in the shape of the weight that `spec` declares."""
    stack, _, _ = split_axes(spec)
    lead = tuple(n for _, n in stack)
    k, d = sizes(spec)
    a_KR = a.astype(jnp.float32).reshape(*lead, k, -1)
    b_RD = b.astype(jnp.float32).reshape(*lead, -1, d)
    return jnp.matmul(a_KR, b_RD, precision=jax.lax.Precision.HIGHEST).reshape(spec.shape)


def column_norms(
    w: jax.Array, a: jax.Array, b: jax.Array, scale: float | jax.Array, n_contract: int
) -> jax.Array:
    """Return ||W + s A B|| over the inputs for every output, in float32, in the shape of W's output axes.

    For each column w of W we compute w'w + 2 s b'(A'w) + s^2 b'(A'A)b. So W + s A B is never formed. This
    costs 2 k d r FLOPs, as much as r tokens cost in x W, and one more reading of W.
    """
    outputs = w.shape[n_contract:]
    w_KO = w.astype(jnp.float32).reshape(math.prod(w.shape[:n_contract]), -1)
    a_KR = a.astype(jnp.float32).reshape(len(w_KO), -1)
    b_RO = b.astype(jnp.float32).reshape(a_KR.shape[1], -1)
    exact = jax.lax.Precision.HIGHEST
    cross_RO = jnp.matmul(a_KR.T, w_KO, precision=exact)
    own_RO = jnp.matmul(jnp.matmul(a_KR.T, a_KR, precision=exact), b_RO, precision=exact)
    square_O = jnp.square(w_KO).sum(0) + (b_RO * (2 * scale * cross_RO + scale**2 * own_RO)).sum(0)
    return jnp.sqrt(square_O).reshape(outputs)
