"""Next-token cross-entropy, in nats per token."""

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.model.transformer import forward
from lora_jax.params import Params


def window_losses(config: ModelConfig, params: Params, windows_BU: jax.Array) -> jax.Array:
    """Return the mean loss of each window (B,) in float32; a window of U = T + 1 tokens has T predictions."""
    logits_BTV = forward(config, params, windows_BU[:, :-1])
    targets_BT1 = windows_BU[:, 1:, None]
    picked_BT = jnp.take_along_axis(logits_BTV, targets_BT1, axis=-1)[..., 0]
    return (jax.nn.logsumexp(logits_BTV, axis=-1) - picked_BT).mean(axis=-1)
