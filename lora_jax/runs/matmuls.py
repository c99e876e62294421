"""The time of a training step's matrix multiplications alone, in one compiled program. No step is faster.

The program is a chain of products. It has the shapes of every matmul of forward and backward, and nothing
else. x goes through each weight of a block, y = x w, and back, y w^T. That has the shape of x again, and the
next block takes it. x^T y has the shape of the weight's gradient and is returned. Attention's six products
turn q into q and return two more. The operands are orthonormal, so x w w^T = x. So no number grows or
vanishes, however deep the chain is. XLA may run products that do not depend on each other side by side, as in
the step.
"""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.model.declare import declare
from lora_jax.model.transformer import compute_dtype


class Operands(NamedTuple):
    """The operands of the chain.

    Attributes:
        block: (x, w) of every weight of a block.
        attention: Attention's q, k and v.
        head: (x, w) of every weight outside the blocks.
    """

    block: tuple[tuple[jax.Array, jax.Array], ...]
    attention: tuple[jax.Array, jax.Array, jax.Array]
    head: tuple[tuple[jax.Array, jax.Array], ...]


Product = tuple[tuple[int, ...], tuple[int, ...], int]  # left shape, right shape, number in a step


def time_matmuls(model: ModelConfig, batch_size: int, seq_len: int, repeats: int = 5) -> float:
    """Time the matmuls of one training step alone, forward and backward.

    We take every declared matmul at its shape, with three products each, and attention's six, in the model's
    compute dtype. Nothing else of the step is in it.

    Args:
        model: The model.
        batch_size: Sequences in the step.
        seq_len: Tokens in a sequence.
        repeats: How often it is timed.

    Returns:
        The median time in seconds.
    """
    run = compile_matmuls(model, batch_size, seq_len)
    run()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def compile_matmuls(model: ModelConfig, batch_size: int, seq_len: int) -> Callable[[], None]:
    """Return a function without arguments that runs a step's matmuls once and waits for them."""
    operands = make_operands(model, batch_size, seq_len)
    compiled = jax.jit(chain_matmuls, static_argnums=0).lower(model.n_layers, operands).compile()

    def run() -> None:
        jax.block_until_ready(compiled(operands))

    return run


def chain_matmuls(n_layers: int, operands: Operands) -> tuple[Any, list[Any]]:
    """Multiply through n_layers blocks and the head.

    The blocks are a list and not a scan, because a loop would add copies of what it carries. 48 blocks of
    matmuls alone compile in less than a second.

    Returns:
        What went through the chain, and the gradients.
    """
    xs, ws = zip(*operands.block, strict=True)
    q_XTK, k_XTK, v_XTK = operands.attention
    gradients = []
    for _ in range(n_layers):
        passed = [pass_weight(x_MI, w_IO) for x_MI, w_IO in zip(xs, ws, strict=True)]
        xs = [x_MI for x_MI, _ in passed]
        q_XTK, *rest = pass_attention(q_XTK, k_XTK, v_XTK)
        gradients.append(([dw_IO for _, dw_IO in passed], rest))
    return (xs, q_XTK), [*gradients, [pass_weight(*pair) for pair in operands.head]]


def pass_weight(x_MI: jax.Array, w_IO: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return y w^T and x^T y of y = x w. Here y stands in for its own gradient, which has its shape."""
    y_MO = x_MI @ w_IO
    return y_MO @ w_IO.T, x_MI.T @ y_MO


def pass_attention(
    q_XTK: jax.Array, k_XTK: jax.Array, v_XTK: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return stand-ins for the gradients of q, k and v. X is batch x heads.

    There are two products forward and four backward. The output serves as its own gradient, and there is no
    softmax.
    """
    scores_XTS = q_XTK @ k_XTK.swapaxes(1, 2)
    out_XTK = scores_XTS @ v_XTK
    dscores_XTS = out_XTK @ v_XTK.swapaxes(1, 2)
    return dscores_XTS @ k_XTK, dscores_XTS.swapaxes(1, 2) @ q_XTK, scores_XTS.swapaxes(1, 2) @ out_XTK


def make_operands(model: ModelConfig, batch_size: int, seq_len: int) -> Operands:
    """Make the chain's operands for a model from its declared weights."""
    dtype, tokens = compute_dtype(model), batch_size * seq_len
    block, head = (
        tuple((orthonormal(dtype, tokens, n_in), orthonormal(dtype, n_in, n_out)) for n_in, n_out in widths)
        for widths in _widths(model)
    )
    q_XTK = orthonormal(dtype, batch_size * model.n_heads, seq_len, model.head_dim)
    return Operands(block, (q_XTK, q_XTK, q_XTK), head)


def orthonormal(dtype: jnp.dtype, *shape: int) -> jax.Array:
    """Return an array whose last two axes are a matrix with orthonormal columns.

    A wide one has orthonormal rows.

    It is a part of the discrete Hartley transform, cos(2 pi i j / n) + sin(2 pi i j / n) over sqrt(n). This
    is dense, and cheap at any size.
    """
    rows, columns = shape[-2:]
    n = max(rows, columns)
    angle = 2 * np.pi / n * np.arange(n)
    values = (np.cos(angle) + np.sin(angle)) / np.sqrt(n)
    frame = values[np.outer(np.arange(rows), np.arange(columns)) % n]
    return jnp.asarray(np.broadcast_to(frame, shape), dtype)


def list_products(model: ModelConfig, batch_size: int, seq_len: int) -> list[Product]:
    """Return (left shape, right shape, number) of every matmul of a training step."""
    tokens, found = batch_size * seq_len, []
    for widths, times in zip(_widths(model), (model.n_layers, 1), strict=True):
        for n_in, n_out in widths:
            found.append(((tokens, n_in), (n_in, n_out), times))  # forward
            found.append(((tokens, n_out), (n_out, n_in), times))  # gradient of the input
            found.append(((n_in, tokens), (tokens, n_out), times))  # gradient of the weight
    heads, K, Y = batch_size * model.n_heads, model.head_dim, model.n_layers
    found.append(((heads, seq_len, K), (heads, K, seq_len), 2 * Y))
    found.append(((heads, seq_len, seq_len), (heads, seq_len, K), 4 * Y))
    return found


def _widths(model: ModelConfig) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return (n_in, n_out) of every weight that multiplies, first those of one block, then the others."""
    block, outside = [], []
    for spec in declare(model).values():
        if spec.contract:
            axes = {name: size for name, size in spec.axes if name != "layers"}
            n_in = math.prod(size for name, size in axes.items() if name in spec.contract)
            stacked = any(name == "layers" for name, _ in spec.axes)
            (block if stacked else outside).append((n_in, math.prod(axes.values()) // n_in))
    return block, outside
