"""VeRA: y = W x + b * B (d * A x), with A and B frozen and shared.

Reference: Kopiczko et al. 2023 (arXiv 2310.11454).
"""

from dataclasses import dataclass
from math import prod, sqrt
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.model.hooks import Apply, HookPoint, Hooks
from lora_jax.model.layers import linear
from lora_jax.model.stacks import inside_block
from lora_jax.params import Params, Spec, Specs, init
from lora_jax.peft.low_rank import check_rank, drop, sizes, split_axes
from lora_jax.peft.method import Method, task_head
from lora_jax.peft.targets import find_targets
from lora_jax.ranges import BelowOne, Finite, Layers, Rank, Seed, check_fields

A, B = "vera/a", "vera/b"


@dataclass(frozen=True, kw_only=True)
class VeRA:
    """Trained vectors b and d for every target, between random matrices that all targets share.

    b starts at 0, so the model starts as the base. One A (inputs, rank) and one B (rank, outputs) serve all
    targets. They are as large as the largest target; a smaller one takes their first rows and columns. They
    are drawn from `projection_seed` alone, uniform with std sqrt(2 / fan-in) (section 3.2), so a checkpoint
    need not hold them.

    Attributes:
        rank: The inner width of A and B.
        targets: The matrices that get an update, named as for LoRA.
        projection_seed: Seed of A and B.
        d_start: Initial value of d.
        dropout: Dropout on x, where it enters the update.
        top_layers: Adapt only this many blocks, from the top. None adapts all.

    Reference: Kopiczko et al. 2023 (arXiv 2310.11454).
    """

    AS_DATA: ClassVar[dict[str, Any]] = {"rank": 1, "projection_seed": 0, "d_start": 0.1}

    rank: Rank = 256
    targets: tuple[str, ...] = ("q", "v")
    projection_seed: Seed = 0
    d_start: Finite = 0.1
    dropout: BelowOne = 0.0
    top_layers: Layers | None = None

    def __post_init__(self) -> None:
        check_fields(self, "VeRA")

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model.

        Raises:
            LoraJaxError: A pattern names no target, a matrix cannot have this rank, or the embedding is a
                target.
        """
        n_top = self.top_layers or 0
        base = declare(model, n_top)
        targets = find_targets(base, self.targets, n_top)
        if "embed/tokens" in targets:
            raise LoraJaxError(
                "VeRA's targets hold the embedding, whose shared A would be as long as the vocabulary: leave"
                " it out, or choose LoRA."
            )
        vectors: Specs = {}
        for path in targets:
            check_rank(path, base[path], self.rank)
            stack, _, outputs = split_axes(base[path])
            vectors[f"{path}_vera_d"] = Spec((*stack, ("rank", self.rank)), mean=self.d_start)
            vectors[f"{path}_vera_b"] = Spec((*stack, *outputs))
        shared = _declare_shared([sizes(base[path]) for path in targets], self.rank)
        return Method(
            specs=base | shared | vectors,
            trainable=frozenset(vectors) | task_head(base),
            hooks=_hooks(frozenset(inside_block(path) or path for path in targets), self.dropout),
            start=lambda base, seed: (base, init(vectors, seed) | init(shared, self.projection_seed)),
            merge=lambda params: _merge(params, base, targets),
            n_top=n_top,
        )


def _declare_shared(shapes: list[tuple[int, int]], rank: int) -> Specs:
    k, d = (max(numbers) for numbers in zip(*shapes, strict=True))
    R = ("rank", rank)
    return {
        A: Spec((("inputs", k), R), ("inputs",), std=sqrt(2 / k), noise="uniform"),
        B: Spec((R, ("outputs", d)), ("rank",), std=sqrt(2 / rank), noise="uniform"),
    }


def _hooks(targets: frozenset[str], dropout: float) -> Hooks:
    def adapt(point: HookPoint, x: jax.Array, apply: Apply) -> jax.Array:
        d_R = point.weights.get(f"{point.path}_vera_d")
        if d_R is None or point.path not in targets:
            return apply(x)
        b = point.weights[f"{point.path}_vera_b"]
        inputs, n_outputs = x.shape[x.ndim - point.n_contract :], b.size
        a = point.weights[A][: prod(inputs)].reshape(*inputs, -1)
        h = linear(drop(x, dropout, point.key), a, point.n_contract) * d_R.astype(x.dtype)
        update = linear(h, point.weights[B][:, :n_outputs].reshape(-1, *b.shape))
        return apply(x) + update * b.astype(x.dtype)

    return Hooks(linear=adapt)


def _merge(params: Params, base: Specs, targets: list[str]) -> Params:
    merged = {path: params[path] for path in base}
    for path in targets:
        spec = base[path]
        stack = split_axes(spec)[0]
        lead = tuple(n for _, n in stack)
        k, d = sizes(spec)
        b = params[f"{path}_vera_b"].reshape(*lead, 1, d)
        a = params[A][:k] * params[f"{path}_vera_d"][..., None, :]
        update = jnp.matmul(a, params[B][:, :d], precision=jax.lax.Precision.HIGHEST) * b
        merged[path] = merged[path] + update.reshape(spec.shape)
    return merged


METHODS = (VeRA,)
