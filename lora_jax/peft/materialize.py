"""LoRA for any Flax model: an ordinary parameter tree with W + s A B in place of chosen matrices.

Our own transformer has hooks, which add (x A) B to a matrix's output and never form A B. A model that is not
ours has none; what can be done to it from outside is to give it other weights:

    declared = declare_lora(base, ["*/kernel"], rank=4)
    delta = init_delta(declared, seed=0)
    loss = lambda delta: measure(model.apply({"params": materialize(base, delta)}, x))
    jax.grad(loss)(delta)

The cost: each step computes the gradient of the whole of every adapted matrix, because A's and B's follow
from it, and holds that gradient and W + s A B, one copy each of the adapted matrices. So the FLOPs are those
of full fine-tuning and a little more (1.02 times by XLA's count, four 256 x 256 matrices at rank 8); the
optimizer's state and what is saved are LoRA's, small.
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
    """The update of one matrix before it is drawn."""

    weight: Spec
    a: Spec  # (stack, *inputs, rank)
    b: Spec  # (stack, rank, *outputs)
    scale: float  # s


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LowRank:
    """The update s A B of one matrix: A and B are its leaves, what gradients and optax see."""

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
    """Declare LoRA on the matrices whose paths match a pattern; from shapes alone, jax.eval_shape's included.

    base: flax.linen's params, an nnx State, pure dict or module, or any other tree; keys are joined by "/".
    targets: globs on whole paths, "*/kernel" or "encoder/*/Dense_?/kernel". ranks, alphas, axes: (pattern,
    value), the last that matches holds. axes: one letter for each axis of a weight that is not 2-D, s for a
    stack of layers, i for what its matmul sums over, o for what it gives: "iiio" for a convolution, "ioo" and
    "iio" for attention heads, "sio" for scanned layers. A starts at init_scale / sqrt(numbers taken in), B at
    zero, s = alpha / rank or alpha / sqrt(rank), as in LoRA (peft/methods/lora.py). Whether an embedding is
    also a head cannot be seen here: adapting it changes both.

    Raises:
        LoraJaxError: a pattern matches nothing, a part of a name only, or what is no matrix; a rank that the
            matrix cannot have; letters that do not fit its axes.
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
    """Draw A and set B to zero; a matrix's draw depends on the seed and its path, on nothing else."""
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
    """Return a tree like the base, W + s A B in place of the matrices that delta names, the rest as it is.

    The sum is taken in float32 and rounded to the matrix's own dtype. Call it inside the function that is
    differentiated, with respect to delta: a copy of the adapted matrices and full fine-tuning's FLOPs, as the
    head of this file says. Called once on a trained delta, it gives the merged model.

    Raises:
        LoraJaxError: the base has no such matrix, or one of another shape.
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
    """Join keys by "/"; the last step into an nnx Variable is no part of a name."""
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
    """Return the Spec of somebody else's matrix, its axes named by their letters."""
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
