"""LoRA for any Flax model: an ordinary parameter tree with W + s A B in place of chosen matrices.

Our own transformer has hooks. They add (x A) B to a matrix's output and never form A B. Other models have
none. From outside, we can only give them other weights:

    declared = declare_lora(base, ["*/kernel"], rank=4)
    delta = init_delta(declared, seed=0)
    loss = lambda delta: measure(model.apply({"params": materialize(base, delta)}, x))
    jax.grad(loss)(delta)

This has a cost. Each step computes the gradient of the whole of every adapted matrix, because those of A and
B follow from it. It holds that gradient and W + s A B, one copy each of the adapted matrices. So the FLOPs
are slightly more than those of full fine-tuning (1.02 times by XLA's count, with four 256 x 256 matrices at
rank 8). The optimizer's state and the saved file are as small as LoRA's.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.params import Spec
from lora_jax.params import init as draw
from lora_jax.peft.low_rank import factor_specs, multiply, sizes

Tree = TypeVar("Tree")
Choices = Sequence[tuple[str, Any]]
AXES = re.compile("s?i+o+")


class Declared(NamedTuple):
    """The update of one matrix before it is drawn.

    Attributes:
        weight: Spec of the matrix.
        a: Spec of A, (stack, *inputs, rank).
        b: Spec of B, (stack, rank, *outputs).
        scale: The scale s.
    """

    weight: Spec
    a: Spec
    b: Spec
    scale: float


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LowRank:
    """The update s A B of one matrix. Its leaves are A and B, so gradients and optax see these only.

    Attributes:
        a: A, (stack, *inputs, rank).
        b: B, (stack, rank, *outputs).
        weight: Spec of the matrix.
        scale: The scale s.
    """

    a: jax.Array
    b: jax.Array
    weight: Spec = field(metadata={"static": True})
    scale: float = field(metadata={"static": True})

    def multiply(self) -> jax.Array:
        """Return s A B in float32, in the matrix's shape."""
        return self.scale * multiply(self.a, self.b, self.weight)


Delta = dict[str, LowRank]  # by the matrix's path


def declare_lora(
    base: Any,
    targets: Sequence[str],
    *,
    rank: int = 8,
    alpha: float = 16.0,
    ranks: Choices = (),
    alphas: Choices = (),
    axes: Choices = (),
    rslora: bool = False,
    init: Literal["normal", "uniform"] = "normal",
    init_scale: float = 1.0,
) -> dict[str, Declared]:
    """Declare LoRA on the matrices of any model, chosen by patterns on their paths.

    It uses shapes only, so the output of jax.eval_shape works too. A starts at init_scale / sqrt(inputs) and
    B at zero. The scale is s = alpha / rank, or alpha / sqrt(rank) with `rslora`. If an embedding is also the
    head, adapting it changes both; this function cannot see that.

    Args:
        base: The params of flax.linen, an nnx State, pure dictionary or module, or any other tree. Keys are
            joined by "/".
        targets: Globs on whole paths, such as "*/kernel" or "encoder/*/Dense_?/kernel".
        rank: The rank r, the inner width of A and B.
        alpha: Sets the scale s of the update.
        ranks: Pairs (pattern, rank) for matrices with another rank. The last match counts.
        alphas: Pairs (pattern, alpha) for matrices with another alpha. The last match counts.
        axes: Pairs (pattern, letters) for weights that are not 2-D, one letter for each axis: s for a stack
            of layers, i for an input, o for an output. Use "iiio" for a convolution, "ioo" and "iio" for
            attention heads, "sio" for scanned layers.
        rslora: Whether to use rank-stabilised scaling, s = alpha / sqrt(rank).
        init: Distribution of the initial A.
        init_scale: Factor on the initial A.

    Returns:
        The declared updates, by path.

    Raises:
        LoraJaxError: A pattern matches nothing, only a part of a name, or something that is no matrix; a
            matrix cannot have that rank; or the letters do not fit the axes.
    """
    shapes = {path: leaf.shape for path, leaf in _flatten(base)}
    paths = _find(shapes, targets)
    for name, choices in (("ranks", ranks), ("alphas", alphas), ("axes", axes)):
        for pattern, _ in choices:
            if not any(fnmatchcase(path, pattern) for path in paths):
                raise LoraJaxError(
                    f"{name} has the pattern {pattern!r}, which names none of the"
                    f" targets{nearest(pattern, paths)}."
                )
    declared: dict[str, Declared] = {}
    for path in paths:
        weight = _declare_weight(path, shapes[path], _choose(path, axes, None))
        k, _ = sizes(weight)
        r, its_alpha = _choose(path, ranks, rank), _choose(path, alphas, alpha)
        a, b = factor_specs(path, weight, r, Spec((), std=init_scale * k**-0.5, noise=init))
        declared[path] = Declared(weight, a, b, its_alpha / (r**0.5 if rslora else r))
    return declared


def init_delta(declared: Mapping[str, Declared], seed: int) -> Delta:
    """Draw the initial LoRA weights: A at random, B at zero.

    Args:
        declared: What `declare_lora` returned.
        seed: Seed of the draw. The values of a matrix depend only on the seed and its path.

    Returns:
        The LoRA weights by path, for `materialize`. They are what you train.
    """
    return {
        path: LowRank(
            draw({f"{path}_lora_a": one.a}, seed)[f"{path}_lora_a"],
            draw({f"{path}_lora_b": one.b}, seed)[f"{path}_lora_b"],
            one.weight,
            one.scale,
        )
        for path, one in declared.items()
    }


def materialize(base: Tree, delta: Mapping[str, LowRank]) -> Tree:
    """Add LoRA updates to a tree of weights: W + s A B for every matrix in `delta`.

    Call it inside the function that you differentiate with respect to `delta`. It then makes a copy of the
    adapted matrices and costs the FLOPs of full fine-tuning. Call it once on a trained `delta` to get the
    merged model.

    Args:
        base: The weights of the base.
        delta: The LoRA weights, by path.

    Returns:
        A tree like the base. The sum is taken in float32 and rounded to the dtype of the matrix.

    Raises:
        LoraJaxError: The base has no such matrix, or one of another shape.
    """
    shapes = {path: leaf.shape for path, leaf in _flatten(base)}
    for path, update in delta.items():
        if shapes.get(path) != update.weight.shape:
            has = f"of shape {shapes[path]} there" if path in shapes else f"not there{nearest(path, shapes)}"
            raise LoraJaxError(
                f"delta updates {path} of shape {update.weight.shape}, which is {has}: it was"
                " made for another base."
            )

    def add(keys: Any, leaf: Any) -> Any:
        update = delta.get(_name(keys))
        if update is None:
            return leaf
        return (leaf.astype(jnp.float32) + update.multiply()).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(add, base)


def _flatten(tree: Any) -> list[tuple[str, Any]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(_name(keys), leaf) for keys, leaf in leaves if hasattr(leaf, "shape")]


def _name(keys: tuple[Any, ...]) -> str:
    """Join keys by "/". The last step into an nnx Variable is not part of the name."""
    if keys and keys[-1] == jax.tree_util.GetAttrKey("value"):
        keys = keys[:-1]
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def _find(shapes: Mapping[str, tuple[int, ...]], patterns: Sequence[str]) -> list[str]:
    matrices = {path: shape for path, shape in shapes.items() if len(shape) > 1}
    table = ", ".join(f"{path} ({' x '.join(map(str, shape))})" for path, shape in matrices.items())
    found: list[str] = []
    for pattern in patterns:
        hits = [path for path in shapes if fnmatchcase(path, pattern)]
        wrong = [path for path in hits if path not in matrices]
        if wrong:
            raise LoraJaxError(
                f"the target {pattern!r} half-matches: {wrong[0]} is no matrix, its shape is"
                f" {shapes[wrong[0]]}; there are {table}."
            )
        if not hits:
            inside = next((path for path in matrices if pattern in path), None)
            hint = nearest(pattern, matrices) if inside is None else f", it is only a part of {inside}"
            raise LoraJaxError(
                f"the target {pattern!r} matches no whole path{hint}; globs such as '*/kernel' are allowed;"
                f" there are {table}."
            )
        found += [path for path in hits if path not in found]
    if not found:
        raise LoraJaxError(f"no targets were given: name at least one of {table}.")
    return found


def _declare_weight(path: str, shape: tuple[int, ...], letters: str | None) -> Spec:
    """Return the Spec of a foreign model's matrix. Letters name its axes."""
    if letters is None and len(shape) != 2:
        raise LoraJaxError(
            f"{path} has {len(shape)} axes, {shape}, and which of them its matmul sums over is not known: say"
            f" axes=[({path!r}, LETTERS)], one letter an axis, s for a stack, i for in, o for out, such as"
            f" {'i' * (len(shape) - 1) + 'o'!r} for a convolution."
        )
    letters = letters or "io"
    if len(letters) != len(shape) or not AXES.fullmatch(letters):
        raise LoraJaxError(
            f"axes of {path} are {letters!r}, and its shape is {shape}: give one letter for each axis, at"
            " most one s, then i, then o."
        )
    words = {"s": "layers", "i": "in", "o": "out"}
    names = [words[letter] if letter == "s" else f"{words[letter]}{i}" for i, letter in enumerate(letters)]
    axes = tuple(zip(names, shape, strict=True))
    return Spec(axes, tuple(name for name in names if name.startswith("in")))


def _choose(path: str, choices: Choices, default: Any) -> Any:
    chosen = default
    for pattern, value in choices:
        if fnmatchcase(path, pattern):
            chosen = value
    return chosen
