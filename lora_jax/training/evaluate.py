"""Held-out loss with its standard error."""

import jax.numpy as jnp
import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.params import Params
from lora_jax.training.heldout import HeldOut, clustered_standard_error
from lora_jax.training.mesh import batch_parts, make_evaluate_on, mesh_of

EVALUATION_BATCH = 32  # windows in a call


def measure_windows(model: ModelConfig, params: Params, windows_WU: np.ndarray) -> np.ndarray:
    """Return the mean loss of each window, float64 (W,), in nats per token."""
    mesh = mesh_of(params)
    compiled, parts = make_evaluate_on(mesh, model), 1 if mesh is None else batch_parts(mesh)
    n_rows = -(-EVALUATION_BATCH // parts) * parts
    losses = []
    for start in range(0, len(windows_WU), n_rows):
        batch = windows_WU[start : start + n_rows]
        padding = n_rows - len(batch)  # all batches have one shape, so one program serves them
        full = np.concatenate([batch, np.repeat(batch[:1], padding, axis=0)]) if padding else batch
        losses.append(np.asarray(compiled(params, jnp.asarray(full)), np.float64)[: len(batch)])
    return np.concatenate(losses)


def average(losses_W: np.ndarray, documents_W: np.ndarray) -> HeldOut:
    """Return the mean of the windows' losses with its standard error."""
    return HeldOut(float(losses_W.mean()), clustered_standard_error(losses_W, documents_W))
