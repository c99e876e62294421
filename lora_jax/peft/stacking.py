"""Runs of one method side by side: zero padding for ranks, scales and starts as data, and a shared base.

A rank is a column of the first factor and a row of the second: W + s A B, b * B (d * A x), U f(D h). If both
are zero and f(0) = 0, it adds nothing and both gradients are exactly zero. So AdamW leaves them zero, with
decay and clipping too. A run of rank r is therefore a run of rank R > r whose last ranks are zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from lora_jax.errors import LoraJaxError
from lora_jax.model.stacks import split_blocks
from lora_jax.params import Params, Spec
from lora_jax.peft.low_rank import SCALE
from lora_jax.peft.method import Adapted, Method, MethodConfig, start

Tree = TypeVar("Tree")
Shapes = Mapping[str, tuple[int, ...]]


def program(config: MethodConfig) -> MethodConfig:
    """Return the configuration that stands for all that compute the same program on other numbers.

    The fields in a method's AS_DATA (rank, scale, start) get the values that stand there.
    """
    fields: dict[str, Any] = dict(getattr(config, "AS_DATA", {}))
    if hasattr(config, "methods"):  # a combination holds other methods
        fields["methods"] = tuple(program(inner) for inner in getattr(config, "methods"))  # noqa: B009
    return replace(config, **fields) if fields else config  # pyright: ignore[reportArgumentType]


def adapt_all(
    base: Params, heads: Sequence[Params], methods: Sequence[Method], seeds: Sequence[int]
) -> list[Adapted]:
    """Return each run's weights as `adapt` gives them, padded to the largest rank so that shapes agree.

    If the runs do not change a weight of the base, all of them share one array. The scales of a run are among
    its frozen weights, under SCALE and their target.

    Args:
        base: The weights of the base.
        heads: New weights of the base that each run draws for itself.
        methods: The method of each run.
        seeds: The seed of each run.

    Raises:
        LoraJaxError: The runs differ in more than ranks.
    """
    split = split_blocks(base, methods[0].n_top)
    runs = zip(heads, methods, seeds, strict=True)
    return align([start({**split, **head}, method, seed) for head, method, seed in runs], methods)


def align(adapted: Sequence[Adapted], methods: Sequence[Method]) -> list[Adapted]:
    """Pad weights to the largest rank, and put the scales of each run among its frozen weights, as data.

    Args:
        adapted: The weights of each run.
        methods: The method of each run.

    Raises:
        LoraJaxError: The methods differ in more than ranks.
    """
    shapes = common_shapes(methods)
    aligned = []
    for (trainable, frozen), method in zip(adapted, methods, strict=True):
        scales = {SCALE + path: jnp.float32(scale) for path, scale in method.scales.items()}
        aligned.append(Adapted(pad(trainable, shapes), {**pad(frozen, shapes), **scales}))
    return aligned


def common_shapes(methods: Sequence[Method]) -> dict[str, tuple[int, ...]]:
    """Return the smallest shape of every weight that holds those of all runs. They may differ in ranks only.

    Raises:
        LoraJaxError: The methods differ in more than ranks.
    """
    first = methods[0]
    shapes = {path: spec.shape for path, spec in first.specs.items()}
    for other in methods[1:]:
        if other.specs.keys() != first.specs.keys() or other.n_top != first.n_top:
            path = min(other.specs.keys() ^ first.specs.keys(), default=f"{other.n_top} upper blocks")
            raise LoraJaxError(
                f"of {len(methods)} runs side by side some have {path} and others have not, they must be of"
                " one method and its targets: put them in groups of their own."
            )
        for path, spec in other.specs.items():
            if _without_ranks(spec) != _without_ranks(first.specs[path]):
                raise LoraJaxError(
                    f"runs side by side have {path} of shapes {first.specs[path].shape} and {spec.shape},"
                    " only ranks may differ: put them in groups of their own."
                )
            shapes[path] = tuple(map(max, shapes[path], spec.shape))
    return shapes


def _without_ranks(spec: Spec) -> list[tuple[str, int]]:
    return [axis for axis in spec.axes if axis[0] != "rank"]


def pad(tree: Tree, shapes: Shapes) -> Tree:
    """Return a tree, such as a TrainState, with zeros added behind every weight's numbers up to its shape."""

    def widen(leaf: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jnp.pad(leaf, [(0, n - m) for m, n in zip(leaf.shape, shape, strict=True)])

    return _reshape(tree, shapes, widen)


def cut(tree: Tree, shapes: Shapes) -> Tree:
    """Undo `pad`: keep the first numbers of every weight, as many as its shape says."""
    return _reshape(tree, shapes, lambda leaf, shape: leaf[tuple(slice(n) for n in shape)])


def _reshape(tree: Any, shapes: Shapes, change: Any) -> Any:
    def visit(keys: Any, leaf: Any) -> Any:
        shape = shapes.get(str(getattr(keys[-1], "key", ""))) if keys else None
        return leaf if shape is None or leaf.shape == shape else change(leaf, shape)

    return jax.tree_util.tree_map_with_path(visit, tree)


def split_shared(frozen: Sequence[Params]) -> tuple[Params, list[Params]]:
    """Return the frozen weights that are the same array in every run, and each run's other frozen weights."""
    first = frozen[0]
    same = {path for path in first if all(other[path] is first[path] for other in frozen)}
    own = [{path: weight for path, weight in one.items() if path not in same} for one in frozen]
    return {path: first[path] for path in same}, own


def own_shapes(method: Method) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight of one run without padding."""
    return {path: spec.shape for path, spec in method.specs.items()}
