"""Prefix tuning: learned keys and values in front of every layer's (Li & Liang 2021, arXiv 2101.00190)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.model.declare import declare
from lora_jax.model.hooks import HookPoint, Hooks
from lora_jax.model.stacks import BLOCKS
from lora_jax.params import Spec, Specs
from lora_jax.peft.added_positions import check_added
from lora_jax.peft.method import Method, task_head
from lora_jax.ranges import Length, Std, check_fields

PREFIX_K, PREFIX_V = "attn/prefix_k", "attn/prefix_v"


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """Trained keys and values in front of every layer's own, which every position sees.

    They are 2 length J K numbers for each layer (J key and value heads of width K). The keys are used as they
    are, without norm or rotation. With prefix keys P_k and values P_v, attention becomes (1 - lambda) h +
    lambda softmax(q P_k^T / sqrt K) P_v, where lambda is the share of attention that goes to the prefix. The
    first token has position `length`.

    The model does not start as the base. At a small std the values add nothing at the start, but they draw
    attention.

    Attributes:
        length: Number of keys and values in each layer.
        std: Standard deviation of their initial values.

    Reference: He et al. 2022 (arXiv 2110.04366), section 3.1.
    """

    AS_DATA: ClassVar[dict[str, Any]] = {"std": 0.02}

    length: Length = 16
    std: Std = 0.02

    def __post_init__(self) -> None:
        check_fields(self, "Prefix")

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model.

        Raises:
            LoraJaxError: The prefix leaves no room for a token in the model's context.
        """
        check_added("Prefix", self.length, model)
        base = declare(model)
        axes = tuple(
            {
                "layers": model.n_layers,
                "prefix": self.length,
                "kv_heads": model.kv_heads,
                "head_dim": model.head_dim,
            }.items()
        )
        added: Specs = {BLOCKS + path: Spec(axes, std=self.std) for path in (PREFIX_K, PREFIX_V)}
        return Method(
            specs=base | added,
            trainable=frozenset(added) | task_head(base),
            hooks=Hooks(key_values=_put_in_front, n_before=self.length),
        )


def _put_in_front(point: HookPoint, k_BTJK: jax.Array, v_BTJK: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _join(point.weights[PREFIX_K], k_BTJK), _join(point.weights[PREFIX_V], v_BTJK)


def _join(prefix_PJK: jax.Array, heads_BTJK: jax.Array) -> jax.Array:
    prefix_BPJK = jnp.broadcast_to(prefix_PJK.astype(heads_BTJK.dtype), (len(heads_BTJK), *prefix_PJK.shape))
    return jnp.concatenate([prefix_BPJK, heads_BTJK], axis=1)


METHODS = (Prefix,)
