"""IA3: learned scales of keys, values and the MLP's hidden units (Liu et al. 2022, arXiv 2205.05638)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.model.declare import declare
from lora_jax.model.hooks import Apply, HookPoint, Hooks
from lora_jax.model.stacks import BLOCKS
from lora_jax.params import Params, Spec, Specs
from lora_jax.peft.method import Method, task_head

OUTPUTS = ("attn/k", "attn/v")  # we scale their outputs, bias included
INPUTS = ("mlp/down",)  # we scale their inputs


@dataclass(frozen=True, kw_only=True)
class IA3:
    """Trained scales on keys, values and the inside of the MLP: l_k k, l_v v and W_down(l_ff h).

    They act entry by entry. Each layer has 2 J K + F of them (J key and value heads of width K, an MLP of
    width F). All scales start at one, so the model
    starts as the base. As in peft, keys and values are scaled after their bias and before norms and rotation.

    Reference: Liu et al. 2022 (arXiv 2205.05638).
    """

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model."""
        base = declare(model)
        heads = (("layers", model.n_layers), ("kv_heads", model.kv_heads), ("head_dim", model.head_dim))
        added: Specs = {f"{BLOCKS}{path}_ia3": Spec(heads, mean=1.0) for path in OUTPUTS}
        hidden = (("layers", model.n_layers), ("d_ff", model.ff_width))
        added |= {f"{BLOCKS}{path}_ia3": Spec(hidden, mean=1.0) for path in INPUTS}
        return Method(
            specs=base | added,
            trainable=frozenset(added) | task_head(base),
            hooks=Hooks(linear=_scale),
            merge=lambda params: _merge(params, base),
        )


def _scale(point: HookPoint, x: jax.Array, apply: Apply) -> jax.Array:
    if point.path in OUTPUTS:
        y_BTJK = apply(x)
        return y_BTJK * point.weights[f"{point.path}_ia3"].astype(y_BTJK.dtype)
    if point.path in INPUTS:
        return apply(x * point.weights[f"{point.path}_ia3"].astype(x.dtype))
    return apply(x)


def _merge(params: Params, base: Specs) -> Params:
    """Return the base's weights in float32, with k and v (columns, biases) and down (rows) scaled."""
    merged = {path: params[path] for path in base}
    for path in OUTPUTS:
        scale_YJK = params[f"{BLOCKS}{path}_ia3"].astype(jnp.float32)
        merged[BLOCKS + path] = merged[BLOCKS + path] * scale_YJK[:, None]
        bias = f"{BLOCKS}{path}_bias"
        if bias in merged:
            merged[bias] = merged[bias] * scale_YJK
    for path in INPUTS:
        scale_YF = params[f"{BLOCKS}{path}_ia3"].astype(jnp.float32)
        merged[BLOCKS + path] = merged[BLOCKS + path] * scale_YF[:, :, None]
    return merged


METHODS = (IA3,)
