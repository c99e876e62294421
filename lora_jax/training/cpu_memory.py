"""The peak memory of a training step on a CPU, predicted from the configuration before anything is compiled.

We count float32 weights, the optimizer's state and gradients. For activations we add up what each layer has,
with coefficients that we fitted to XLA's own analysis. If you change the model's layers, fit them again:
PYTHONPATH=. python tests/training/step_memory.py (a few minutes).
"""

from collections.abc import Mapping
from typing import NamedTuple

from lora_jax.config import ModelConfig, RunConfig
from lora_jax.model.attention import LEAST_ROWS, N_BLOCKS
from lora_jax.model.declare import count_parameters, declare
from lora_jax.model.transformer import UNROLL
from lora_jax.params import Spec
from lora_jax.training.device_memory import Rows, rows_of
from lora_jax.training.loss import tokens_at_once
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.optimizer import Optimizer

# JAX derives the gradient of attention with a bias (model/relative.py). It keeps so many arrays of scores in
# place of one. We measured 2.8 to 3.0 and 4.1 to 4.2 in plain code, and less in a loop.
SCORES_OF_BIAS = {"t5": 2.9, "transformer_xl": 4.1}
MOMENTS = 2  # arrays in Adam's state for each weight
BYTES_TRAINED = 4 * (2 + MOMENTS)  # bytes of a float32 weight with its moments and its gradient
BYTES_SUMMED = 4  # bytes of the sum of gradients, for each weight, if a batch is read in parts
BYTES = 4  # bytes of an activation


class Held(NamedTuple):
    """How often each kind of number is in memory at the peak. `count_kinds` counts the numbers of each kind.

    Attributes:
        d_model: In each layer: norms, projections and residuals.
        d_model_cut: In each layer, in addition, if attention is computed in blocks of rows.
        gelu: In each layer: the d_ff numbers of an MLP like GPT-2's.
        swiglu: In each layer: the d_ff numbers of an MLP like Llama's.
        scores: In each layer: the weights of a query for all keys, in all heads.
        block: Once: a whole block that is computed again, 13 d_model and 2 or 4 d_ff.
        block_scores: Once: the attention weights of a block.
        logits: Once: the logits in float32.
    """

    d_model: float
    d_model_cut: float
    gelu: float
    swiglu: float
    scores: float
    block: float
    block_scores: float
    logits: float


# We fitted these on a CPU at 2 to 12 layers, d_model 32 to 256, T 64 to 256 and V 256 to 4,096, for models
# like GPT-2 and Llama. They are within 5 %. A loop over the layers copies what each of its turns saves.
# training/device_memory.py is for accelerators.
UNROLLED = Held(9.3, 3.6, 2.0, 4.0, 1.0, 0.0, 0.0, 2.0)
LOOPED = Held(14.4, 0.0, 2.0, 4.0, 0.65, 0.0, 0.0, 1.4)
REMAT = {
    "dots": Held(4.8, 0.0, 1.0, 2.0, 0.0, 0.54, 2.2, 1.8),
    "full": Held(1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.4, 1.6),
}
# For an adapter on a frozen base. Matmuls with frozen weights need not keep their inputs.
UNROLLED_FROZEN = Held(4.5, 0.0, 2.0, 4.0, 2.1, 0.0, 0.0, 2.0)
LOOPED_FROZEN = Held(0.0, 0.0, 2.0, 4.0, 2.1, 0.0, 0.0, 2.3)


def memory_bytes(run: RunConfig, lanes: int = 1) -> float:
    """Predict the peak memory in bytes of a run's training step, or of several such runs in lanes."""
    return training_bytes(run.model, make_optimizer(run.optim), rows_of(run), lanes)


def training_bytes(model: ModelConfig, optimizer: Optimizer, rows: Rows, lanes: int = 1) -> float:
    """Predict the peak memory of a training step in bytes.

    Args:
        model: The model. Its remat is not "fit".
        optimizer: The optimizer.
        rows: What the step reads at once.
        lanes: Runs side by side.
    """
    of_part = step_bytes(model, rows.n_rows, rows.seq_len, lanes)
    of_part += lanes * more_than_adam(optimizer, declare(model))
    if rows.n_parts == 1:
        return of_part
    return of_part + BYTES_SUMMED * count_parameters(model).total * lanes


def more_than_adam(optimizer: Optimizer, specs: Mapping[str, Spec]) -> float:
    """Return the bytes of an optimizer's state beyond Adam's two moments. It is negative if it holds less."""
    return float(sum(4 * (optimizer.state_arrays(spec) - MOMENTS) * spec.size for spec in specs.values()))


def step_bytes(
    model: ModelConfig,
    n_rows: int,
    seq_len: int,
    lanes: int = 1,
    n_adapter: int | None = None,
) -> float:
    """Predict the peak memory of a training step in bytes.

    Args:
        model: The model.
        n_rows: Sequences in the step.
        seq_len: Tokens in a sequence.
        lanes: Runs side by side.
        n_adapter: Weights of an adapter. They alone train, and all lanes share the frozen base. If None,
            every weight trains, in each lane.
    """
    n_base = count_parameters(model).total
    weights = BYTES_TRAINED * n_base * lanes
    if n_adapter is not None:
        weights = 4 * n_base + BYTES_TRAINED * n_adapter * lanes
    held, kinds = which_held(model, n_adapter is not None), count_kinds(model, seq_len)
    *others, (kept, logits) = zip(held, kinds, strict=True)
    tokens = n_rows * seq_len
    activations = BYTES * tokens * sum(k * n for k, n in others)
    at_once = min(tokens, tokens_at_once(model.vocab_size, for_cpu=True))
    activations += BYTES * at_once * kept * logits
    if at_once < tokens:  # hidden states and their gradient in chunks, and the head's gradient twice
        head = 0 if n_adapter is not None else model.vocab_size
        activations += BYTES * model.d_model * (2 * tokens + head)
    return weights + lanes * activations


def which_held(model: ModelConfig, is_frozen: bool) -> Held:
    """Return the coefficients for a step.

    They depend on the remat policy, on the loop, and on what trains.
    """
    if model.remat != "none":
        return REMAT[model.remat]
    if model.n_layers > UNROLL:
        return LOOPED_FROZEN if is_frozen else LOOPED
    return UNROLLED_FROZEN if is_frozen else UNROLLED


def count_kinds(model: ModelConfig, seq_len: int) -> Held:
    """Return how many numbers of each kind one token has."""
    D, F, Y = model.d_model, model.ff_width, model.n_layers
    has_bias = model.positions in SCORES_OF_BIAS
    is_cut = model.causal and seq_len % N_BLOCKS == 0 and seq_len // N_BLOCKS >= LEAST_ROWS and not has_bias
    scores = (
        SCORES_OF_BIAS.get(model.positions, 1.0)
        * model.n_heads
        * seq_len
        * ((N_BLOCKS + 1) / (2 * N_BLOCKS) if is_cut else 1.0)
    )
    gelu, swiglu = (0, F) if model.is_gated else (F, 0)
    return Held(
        d_model=Y * D,
        d_model_cut=Y * D * is_cut,
        gelu=Y * gelu,
        swiglu=Y * swiglu,
        scores=Y * scores,
        block=13 * D + 2 * gelu + 4 * swiglu,
        block_scores=scores,
        logits=model.vocab_size,
    )
