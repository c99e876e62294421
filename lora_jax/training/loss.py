"""Next-token cross-entropy in nats per token. The logits of a large batch are never held as a whole.

Axes: B batch, U = T + 1 tokens of a window, T predictions, D model, V vocabulary, N chunks of C positions.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.model.compiled_for import on_cpu
from lora_jax.model.gathering import gather_weights
from lora_jax.model.hooks import NO_HOOKS, Pass
from lora_jax.model.stacks import inside_block
from lora_jax.model.transformer import Inputs, encode, read_head
from lora_jax.params import Params


class Room(NamedTuple):
    """How many float32 logits a device computes at once.

    Attributes:
        n_bytes: Largest size of the logits in bytes.
        n_tokens: Smallest number of tokens, even if their logits take more bytes.
    """

    n_bytes: int
    n_tokens: int


# Each chunk reads and writes the head's gradient. That moves 12 bytes for each weight, beside 6 FLOPs for
# each token and weight. With n_tokens tokens it takes a tenth of a CPU's time and a fifth of an H100's, by
# their data sheets. Chunks that fit a CPU's cache are faster than the whole. We timed the head's loss and
# gradient at (tokens, D, V) = (1,024, 128, 8,192): 156 ms whole, 123 ms in four chunks, and 148 ms if the
# backward pass computes the head again.
ROOM = {"cpu": Room(16 * 2**20, 256), "accelerator": Room(512 * 2**20, 2048)}


def window_losses(config: ModelConfig, params: Params, windows_BU: jax.Array) -> jax.Array:
    """Return the mean loss of each window over its T = U - 1 predictions, (B,), in float32."""
    x_BTD = encode(config, params, Inputs(windows_BU[:, :-1]), NO_HOOKS, None)
    return token_losses(Pass(config), params, x_BTD, windows_BU[:, 1:]).mean(axis=-1)


def mean_loss(config: ModelConfig, params: Params, windows_BU: jax.Array) -> jax.Array:
    """Compute the mean loss of all windows. This is what training differentiates.

    Args:
        config: The shape of the model.
        params: Its weights.
        windows_BU: Token ids. Each window holds one token more than the model reads.

    Returns:
        The loss in nats per token.
    """
    targets_BT = windows_BU[:, 1:]
    if count_chunks(config, *targets_BT.shape) == 1:
        return window_losses(config, params, windows_BU).mean()
    x_BTD = encode(config, params, Inputs(windows_BU[:, :-1]), NO_HOOKS, None)
    weights_BT = jnp.full(targets_BT.shape, 1 / targets_BT.size, jnp.float32)
    return summed_loss(Pass(config), params, x_BTD, targets_BT, weights_BT)


def count_chunks(config: ModelConfig, n_rows: int, seq_len: int) -> int:
    """Return the number of chunks of positions into which we cut the logits of a batch. 1 leaves them whole.

    Each chunk has every row. So a batch that is split over devices stays split.
    """
    n_devices = max(1, jax.sharding.get_abstract_mesh().size)
    return chunks_of(config.vocab_size, n_rows, seq_len, n_devices, for_cpu=on_cpu())


def chunks_of(vocab_size: int, n_rows: int, seq_len: int, n_devices: int, for_cpu: bool) -> int:
    """Return `count_chunks` for a batch of `n_rows` over `n_devices` devices."""
    n_tokens = n_devices * tokens_at_once(vocab_size, for_cpu)
    return min(seq_len, -(-n_rows * seq_len // n_tokens))


def tokens_at_once(vocab_size: int, for_cpu: bool) -> int:
    """Return the number of tokens whose logits a device computes at once."""
    room = ROOM["cpu" if for_cpu else "accelerator"]
    return max(room.n_tokens, room.n_bytes // (4 * vocab_size))


def token_losses(this: Pass, params: Params, x_BTD: jax.Array, targets_BT: jax.Array) -> jax.Array:
    """Return the loss of every token, (B, T), in float32.

    If there are several chunks, its gradient computes the head a second time. `summed_loss` does not.

    Args:
        this: The model, the hooks and the dropout key.
        params: The weights.
        x_BTD: Hidden states that the head reads (`encode`).
        targets_BT: The tokens to predict.
    """
    n_chunks = count_chunks(this.config, *targets_BT.shape)
    if n_chunks == 1:
        return cross_entropy(read_head(this.config, params, x_BTD, this.hooks, this.key), targets_BT)

    def chunk_losses(chunk: tuple[jax.Array, ...]) -> jax.Array:
        x_BCD, targets_BC, number = chunk
        key = _chunk_key(this.key, number)
        return cross_entropy(read_head(this.config, params, x_BCD, this.hooks, key), targets_BC)

    chunks = (_cut(x_BTD, n_chunks), _cut(targets_BT, n_chunks), jnp.arange(n_chunks))
    return _paste(jax.lax.map(jax.checkpoint(chunk_losses, prevent_cse=False), chunks), targets_BT.shape[1])


def summed_loss(
    this: Pass, params: Params, x_BTD: jax.Array, targets_BT: jax.Array, weights_BT: jax.Array
) -> jax.Array:
    """Return sum(weights * losses). Its gradient is computed in the same pass, chunk by chunk.

    While the logits of a chunk are there, we compute their gradient with respect to the hidden states and the
    weights that the head reads. So the head is computed once, and its logits are never stored (as in Liger's
    fused linear cross-entropy, Hsu et al. 2024, arXiv 2410.10989).

    Args:
        this: The model, the hooks and the dropout key.
        params: The weights.
        x_BTD: Hidden states that the head reads (`encode`).
        targets_BT: The tokens to predict.
        weights_BT: Weights of the losses, float32. They are not differentiated.
    """
    config, hooks = this.config, this.hooks
    n_chunks = count_chunks(config, *targets_BT.shape)
    if n_chunks == 1:
        logits_BTV = read_head(config, params, x_BTD, hooks, this.key)
        return (weights_BT * cross_entropy(logits_BTV, targets_BT)).sum()

    def chunk_loss(head: Params, x_BCD: jax.Array, rest: tuple[jax.Array, ...], key: Any) -> jax.Array:
        targets_BC, weights_BC, number = rest
        logits_BCV = read_head(config, head, x_BCD, hooks, _chunk_key(key, number))
        return (weights_BC * cross_entropy(logits_BCV, targets_BC)).sum()

    outside = {path: weight for path, weight in params.items() if inside_block(path) is None}
    x_NBCD = _cut(x_BTD, n_chunks)
    rest = (_cut(targets_BT, n_chunks), _cut(weights_BT, n_chunks), jnp.arange(n_chunks))
    first = jax.tree.map(lambda chunks: chunks[0], (x_NBCD, rest))
    head = _read_by(chunk_loss, outside, *first, this.key)
    gather = partial(gather_weights, config, dtype=x_BTD.dtype)
    return _sum_over_chunks(chunk_loss, gather)(head, x_NBCD, rest, this.key)


def _sum_over_chunks(chunk_loss: Any, gather: Callable[[Params], Params]) -> Any:
    """Return f(head, x_NBCD, rest, key) -> sum of the chunks' losses, with the gradient described above.

    Args:
        chunk_loss: The summed loss of one chunk.
        gather: Makes weights on a mesh ready for all chunks.
    """

    @jax.custom_vjp
    def total(head: Params, x_NBCD: jax.Array, rest: Any, key: Any) -> jax.Array:
        return jax.lax.map(lambda chunk: chunk_loss(head, *chunk, key), (x_NBCD, rest)).sum()

    def forward(head: Any, x_NBCD: Any, rest: Any, key: Any) -> tuple[jax.Array, Any]:
        x_NBCD, rest, key = x_NBCD.value, *jax.tree.map(lambda leaf: leaf.value, (rest, key))
        wanted = {path: weight.value for path, weight in head.items() if weight.perturbed}
        kept = {path: weight.value for path, weight in head.items() if not weight.perturbed}
        nothing = (jnp.zeros((), jnp.float32), jax.tree.map(jnp.zeros_like, wanted))
        wanted = gather(wanted)  # once for all chunks

        def add(carry: tuple[jax.Array, Params], chunk: Any) -> tuple[tuple[jax.Array, Params], jax.Array]:
            x_BCD, others = chunk
            loss, pull = jax.vjp(lambda w, x: chunk_loss({**kept, **w}, x, others, key), wanted, x_BCD)
            gradient, dx_BCD = pull(jnp.ones_like(loss))
            return (carry[0] + loss, jax.tree.map(jnp.add, carry[1], gradient)), dx_BCD

        (loss, gradient), dx_NBCD = jax.lax.scan(add, nothing, (x_NBCD, rest))
        return loss, (gradient, dx_NBCD, dict.fromkeys(kept))

    def backward(saved: Any, g: Any) -> tuple[Any, ...]:
        gradient, dx_NBCD, nothing = saved
        scaled, dx_NBCD = jax.tree.map(lambda d: (g * d).astype(d.dtype), (gradient, dx_NBCD))
        return {**scaled, **nothing}, dx_NBCD, None, None

    total.defvjp(forward, backward, symbolic_zeros=True)
    return total


def _read_by(function: Any, weights: Params, *others: Any) -> Params:
    """Return the weights that function(weights, *others) reads, so that no other gets a gradient."""
    traced = jax.make_jaxpr(function)(weights, *others).jaxpr
    read = {id(variable) for equation in traced.eqns for variable in equation.invars}
    paths = jax.tree.leaves({path: path for path in weights})  # in the order of the variables
    return {
        path: weights[path]
        for path, variable in zip(paths, traced.invars, strict=False)
        if id(variable) in read
    }


def cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Compute the loss of each target, -ln p(target).

    Args:
        logits: Logits (..., V).
        targets: Token ids (...).

    Returns:
        Losses (...), in nats.
    """
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - picked


def _chunk_key(key: jax.Array | None, number: jax.Array) -> jax.Array | None:
    return None if key is None else jax.random.fold_in(key, number)


def _cut(array_BT: jax.Array, n_chunks: int) -> jax.Array:
    """Reshape (B, T, ...) to (N, B, C, ...). The last chunk is filled up with zeros."""
    B, T = array_BT.shape[:2]
    C = -(-T // n_chunks)
    padding = [(0, 0), (0, n_chunks * C - T)] + [(0, 0)] * (array_BT.ndim - 2)
    padded = jnp.pad(array_BT, padding)
    return jnp.moveaxis(padded.reshape(B, n_chunks, C, *array_BT.shape[2:]), 1, 0)


def _paste(array_NBC: jax.Array, seq_len: int) -> jax.Array:
    """Undo `_cut` of an (N, B, C) array."""
    N, B, C = array_NBC.shape
    return jnp.moveaxis(array_NBC, 0, 1).reshape(B, N * C)[:, :seq_len]
