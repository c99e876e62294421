"""What will train, before it does: weights, shares, optimizer bytes, and FLOPs beside full fine-tuning's."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.layout import draw, fill
from lora_jax.model.convention import counting
from lora_jax.model.declare import declare
from lora_jax.model.transformer import forward
from lora_jax.params import Params, Spec, combine, count
from lora_jax.peft.method import Method
from lora_jax.peft.methods.subset import Full
from lora_jax.percent import percent

BATCH = 2  # sequences of the counted step: with 1, JAX would drop an axis of size 1 here and there
ADAM_BYTES = 8  # two float32 moments for each trained number


class TrainedWeight(NamedTuple):
    """One row of the summary.

    Attributes:
        path: Path of the weight.
        shape: Its shape.
        rank: Its rank. None if it is not a factor.
        n_params: Its number of parameters.
        share: This number over the base's.
    """

    path: str
    shape: tuple[int, ...]
    rank: int | None
    n_params: int
    share: float

    @property
    def optimizer_bytes(self) -> int:
        """Bytes of AdamW's state for this weight."""
        return ADAM_BYTES * self.n_params


class Summary(NamedTuple):
    """What a method trains on a model.

    Attributes:
        rows: The weights that train.
        n_base: Parameters of the base.
        n_trainable: Parameters that train.
        optimizer_bytes: Bytes of AdamW's state.
        flops_per_token: FLOPs per token of a training step.
        full_flops_per_token: The same for full fine-tuning.
    """

    rows: list[TrainedWeight]
    n_base: int
    n_trainable: int
    optimizer_bytes: int
    flops_per_token: float
    full_flops_per_token: float


def summarise(model: ModelConfig, method: Method, seq_len: int) -> Summary:
    """Summarise what a method trains and what it costs.

    It uses shapes only and allocates nothing, so it works for a model of any size.

    Args:
        model: The shape of the base.
        method: The method, built for it.
        seq_len: Tokens in a sequence, for the cost of attention.
    """
    n_base = count(declare(model))
    rows = [
        TrainedWeight(path, spec.shape, dict(spec.axes).get("rank"), spec.size, spec.size / n_base)
        for path, spec in method.specs.items()
        if path in method.trainable
    ]
    n_trainable = sum(row.n_params for row in rows)
    return Summary(
        rows,
        n_base,
        n_trainable,
        ADAM_BYTES * n_trainable,
        training_flops_per_token(model, method, seq_len),
        training_flops_per_token(model, Full().build(model), seq_len),
    )


def print_summary(summary: Summary) -> None:
    """Print the summary as a table with two lines of totals."""
    columns = ("trains", "shape", "rank", "parameters", "% of base", "optimizer MB")
    rows = [
        (
            row.path,
            " x ".join(map(str, row.shape)),
            "" if row.rank is None else str(row.rank),
            f"{row.n_params:,}",
            percent(row.share, 4),
            f"{row.optimizer_bytes / 1e6:.3f}",
        )
        for row in summary.rows
    ]
    for line in draw(columns, rows, {2, 3, 4, 5}):
        print(line)
    ratio = summary.flops_per_token / summary.full_flops_per_token
    totals = (
        f"{summary.n_trainable:,} of {summary.n_base:,} parameters train"
        f" ({percent(summary.n_trainable / summary.n_base, 3)}), optimizer"
        f" {summary.optimizer_bytes / 1e6:.2f} MB",
        f"{summary.flops_per_token:.3e} FLOPs a token, {percent(ratio, 1)} of full fine-tuning's"
        f" {summary.full_flops_per_token:.3e}",
    )
    for text in totals:
        print(fill(text))


def training_flops_per_token(model: ModelConfig, method: Method, seq_len: float) -> float:
    """Return the FLOPs per token of one training step's matrix multiplications, two for each multiply-add.

    The forward pass counts everything that the method adds, and the full attention scores. The backward pass
    counts the gradients of activations, down to the lowest weight that trains, and the gradients of what
    trains. Elementwise work does not count.

    We count in the traced program, without the results that nothing reads. So the count is right for any
    hooks. What a method computes once for each step (DoRA's norms) is spread over two sequences. A loop over
    layers counts as if each turn did the same.

    Args:
        model: The shape of the base.
        method: The method, built for it.
        seq_len: Tokens in a sequence. A fractional mean is rounded up.
    """
    T = min(math.ceil(seq_len), model.context - method.hooks.n_before)
    shapes = _shapes(method.specs)
    trainable = {path: shape for path, shape in shapes.items() if path in method.trainable}
    frozen = {path: shape for path, shape in shapes.items() if path not in method.trainable}
    tokens_BT = jax.ShapeDtypeStruct((BATCH, T), jnp.int32)

    def loss(trainable: Params, frozen: Params, tokens_BT: jax.Array) -> jax.Array:
        return forward(model, combine(trainable, frozen), tokens_BT, method.hooks).sum()

    with counting():
        traced = jax.make_jaxpr(jax.value_and_grad(loss))(trainable, frozen, tokens_BT)
    return count_dot_flops(_drop_unread(traced)) / (BATCH * T)


def _shapes(specs: Mapping[str, Spec]) -> dict[str, Any]:
    return {path: jax.ShapeDtypeStruct(spec.shape, jnp.float32) for path, spec in specs.items()}


def _drop_unread(traced: Any) -> Any:
    from jax.interpreters.partial_eval import dce_jaxpr

    return dce_jaxpr(traced.jaxpr, [True] * len(traced.jaxpr.outvars))[0]


def count_dot_flops(jaxpr: Any) -> int:
    """Return the FLOPs of every matrix multiplication of a traced program.

    A loop's body counts for each turn.
    """
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            sizes = [equation.invars[0].aval.shape[axis] for axis in contracted]
            total += 2 * math.prod(sizes) * math.prod(equation.outvars[0].aval.shape)
        turns = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    total += turns * count_dot_flops(inner)
    return total
