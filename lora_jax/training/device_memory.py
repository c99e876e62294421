"""The peak memory of a training step on an accelerator, from the arrays that the compiled program keeps.

Each term is an array in XLA's buffer assignment. We counted them in programs for one and for four H100 and
for TPUs. We fitted none of them to a total. The tests compare the sum with what the compiler says.

Axes: B rows, T positions, D d_model, F d_ff, V vocabulary, H heads, K head width.
"""

from typing import NamedTuple

import jax.numpy as jnp

from lora_jax.config import ModelConfig, RunConfig
from lora_jax.model.attention_kernel import choose_kernel, heads_of
from lora_jax.model.declare import count_parameters, declare
from lora_jax.model.transformer import UNROLL
from lora_jax.target import Target
from lora_jax.training.loss import chunks_of
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.optimizer import Optimizer

FLOAT32 = 4  # bytes of a weight, a moment, a gradient or a logit
LANES = 128  # numbers in a row of a TPU's memory
STATISTICS = 4  # float32 numbers that the two norms of a block keep for each token


class Split(NamedTuple):
    """How many devices a mesh has along each axis (training/mesh.py).

    Attributes:
        data: Devices that split only the batch.
        fsdp: Devices that split the batch and the weights.
        tensor: Devices that split heads, feed-forward and vocabulary.
    """

    data: int = 1
    fsdp: int = 1
    tensor: int = 1

    @property
    def n_devices(self) -> int:
        """Return the number of devices."""
        return self.data * self.fsdp * self.tensor


ALONE = Split()


class DeviceMemory(NamedTuple):
    """Bytes of one device, by what they hold.

    Attributes:
        state: Weights and the optimizer's state. If a batch is read in parts, also the sum of gradients.
        copies: The blocks' weights in 16 bits, made once in a step.
        gradients: Gradients of the blocks' weights, in float32.
        saved: What the forward pass keeps for the backward pass.
        block: The most that the backward pass of one block needs at once.
        head: The logits of one chunk and their gradient, the head in 16 bits, and the hidden states.
        head_gradient: The head's gradient in float32. It exists together with `head` and afterwards.
    """

    state: float
    copies: float
    gradients: float
    saved: float
    block: float
    head: float
    head_gradient: float

    @property
    def peak(self) -> float:
        """The larger of two moments: at the head, and in the first backward pass through a block."""
        always = self.state + self.copies + self.head_gradient
        return always + self.saved + max(self.head, self.gradients + self.block)


class Rows(NamedTuple):
    """What a step reads at once. If it reads its batch in parts, this is one part.

    Attributes:
        n_rows: Number of rows.
        seq_len: Tokens in a row.
        n_parts: Number of parts of the batch.
    """

    n_rows: int
    seq_len: int
    n_parts: int = 1


def rows_of(run: RunConfig) -> Rows:
    """Return what a run's step reads at once."""
    return Rows(run.optim.batch_size // run.optim.accumulate, run.data.seq_len, run.optim.accumulate)


def predict_memory(run: RunConfig, target: Target, split: Split = ALONE) -> DeviceMemory:
    """Predict the peak memory in bytes that a run's training step takes on one GPU or TPU.

    Args:
        run: The run, with its model, batch, optimizer and sequence length.
        target: What the step is compiled for.
        split: How the devices share the work. By default one device does it all.
    """
    return predict_step(run.model, make_optimizer(run.optim), rows_of(run), target, split)


def predict_step(
    model: ModelConfig, optimizer: Optimizer, rows: Rows, target: Target, split: Split = ALONE
) -> DeviceMemory:
    """Predict the same as `predict_memory` from a model, an optimizer and rows.

    Args:
        model: The model. Its remat is not "fit".
        optimizer: The optimizer.
        rows: What all devices together read at once.
        target: What the step is compiled for.
        split: How the devices share the work. By default one device does it all.
    """
    counts, specs = count_parameters(model), declare(model)
    n_rows, seq_len, n_parts = rows
    shards, width = split.fsdp * split.tensor, activation_bytes(model)
    arrays = sum((1 + optimizer.state_arrays(spec)) * spec.size for spec in specs.values())
    summed = counts.total if n_parts > 1 else 0
    # A loop that computes its blocks again casts weights to 16 bits inside it. A TPU's compiler moves that
    # out.
    copied = width < FLOAT32 and (model.remat == "none" or target.platform == "tpu")
    saved, block = _activations(model, n_rows // (split.data * split.fsdp), seq_len, target, split.tensor)
    gradients = FLOAT32 * counts.non_embedding / shards
    if is_plain(model):  # each block's gradient takes the place of what was kept for it
        gradients = max(0.0, gradients - saved)
    head, head_gradient = _head(model, n_rows, seq_len, split)
    return DeviceMemory(
        state=FLOAT32 * (arrays + summed) / shards,
        copies=width * counts.non_embedding / shards if copied else 0.0,
        gradients=gradients,
        saved=saved,
        block=block + _gathered(model, split),
        head=head,
        head_gradient=head_gradient,
    )


def activation_bytes(model: ModelConfig) -> int:
    """Return the bytes of one activation on an accelerator."""
    return FLOAT32 if model.compute_dtype == "float32" else 2


def is_plain(model: ModelConfig) -> bool:
    """Is the backward pass over the blocks plain code, and not a loop?"""
    return model.remat == "none" and model.n_layers <= UNROLL


def holds_scores(model: ModelConfig, seq_len: int, target: Target) -> bool:
    """Does attention hold the scores of all positions, because there is no fused kernel?"""
    dtype = jnp.dtype(jnp.float32 if activation_bytes(model) == FLOAT32 else jnp.bfloat16)
    return choose_kernel(target, heads_of(model, seq_len, dtype)).kernel is None


def _activations(
    model: ModelConfig, n_rows: int, seq_len: int, target: Target, tensor: int
) -> tuple[float, float]:
    """Return the bytes that the blocks save, and the most that the backward pass of one block needs.

    Args:
        model: The model.
        n_rows: Rows of one device.
        seq_len: Tokens in a row.
        target: What the step is compiled for.
        tensor: Number of devices that share heads and d_ff.
    """
    on_tpu, scored = target.platform == "tpu", holds_scores(model, seq_len, target)
    D, F, attended = model.d_model, model.ff_width / tensor, model.n_heads * model.head_dim / tensor
    # A TPU's kernel takes heads in rows of 128 numbers. The rest of a row is empty.
    head = -(-model.head_dim // LANES) * LANES if on_tpu and not scored else model.head_dim
    q, kv = model.n_heads * head / tensor, model.kv_heads * head / tensor
    n_up = 2 if model.is_gated else 1
    # A block keeps for each token: its input and the sum behind attention, both also normalised, q, k, v,
    # attention's output, the products into d_ff, and what goes into the product out of d_ff.
    kept = 4 * D + 2 * q + 2 * kv + (n_up + 1) * F
    products = 2 * D + (q + 2 * kv) * model.head_dim / head + n_up * F
    if on_tpu and not scored:
        products += q  # model/transformer.py keeps the kernel's output too
    numbers = {"none": kept, "dots": products, "full": D}[model.remat]
    if model.remat == "none" and not is_plain(model):
        numbers += attended  # attention's output has two readers, and a loop keeps it in the layout of each
    # What the block in work needs. In a loop: its part of each saved array, and the gradients of these. If it
    # is computed again: also all that it keeps.
    if model.remat != "none":
        block = (6 if on_tpu else 10) * D + 3.5 * F
    elif is_plain(model):
        block = 6 * D
    else:
        block = 13 * D + F
    width = activation_bytes(model)
    saved, block = width * numbers, width * block
    if model.remat == "none":
        saved += FLOAT32 * (STATISTICS + model.n_heads / tensor)
    if scored:
        scores = model.n_heads / tensor * seq_len
        # The attention weights, and on a GPU also the scores before the softmax.
        held = width if target.platform == "tpu" else FLOAT32 + width
        saved += held * scores if model.remat == "none" else 0.0
        block += (2 * FLOAT32 + width) * scores  # both once more, and their gradient
    tokens = n_rows * seq_len
    return tokens * model.n_layers * saved, tokens * block


def _head(model: ModelConfig, n_rows: int, seq_len: int, split: Split) -> tuple[float, float]:
    """Return the bytes of `head` and `head_gradient`. `n_rows` counts the rows of all devices."""
    width, parts = activation_bytes(model), split.data * split.fsdp
    n_chunks = chunks_of(model.vocab_size, n_rows, seq_len, split.n_devices, for_cpu=False)
    chunk = n_rows // parts * -(-seq_len // n_chunks)
    logits = (FLOAT32 + width) * chunk * model.vocab_size / split.tensor
    weights = model.vocab_size * model.d_model / split.tensor
    hidden = 3 * width * n_rows // parts * seq_len * model.d_model
    return logits + width * weights + hidden, FLOAT32 * weights / split.fsdp


def _gathered(model: ModelConfig, split: Split) -> float:
    """Return the bytes of one block's weights and their gradient, if a device gathers them from several."""
    if split.fsdp == 1:
        return 0.0
    per_block = count_parameters(model).non_embedding / model.n_layers / split.tensor
    return (activation_bytes(model) + FLOAT32) * per_block
