"""Stacks: the stacked blocks as one run, or as a lower and an upper run if only the upper one trains.

If the upper blocks have arrays of their own, nothing is computed backward through the frozen lower blocks,
and the optimizer holds only the upper ones. Paths are "blocks/..." (Y - K layers) and "top_blocks/..." (K
layers).
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import jax.numpy as jnp

from lora_jax.errors import LoraJaxError
from lora_jax.params import Params, Spec, Specs

BLOCKS = "blocks/"
TOP_BLOCKS = "top_blocks/"
T = TypeVar("T")
STACKS = (BLOCKS, TOP_BLOCKS)  # from the embeddings to the head


def inside_block(path: str) -> str | None:
    """Return a weight's path inside its block, such as "attn/q". None if it is outside the blocks."""
    for stack in STACKS:
        if path.startswith(stack):
            return path.removeprefix(stack)
    return None


def split_specs(specs: Mapping[str, Spec], n_top: int) -> Specs:
    """Return the specs with the last n_top blocks as a stack of their own. 0 leaves them as they are.

    Raises:
        LoraJaxError: The model has fewer blocks.
    """
    n_layers = next(dict(spec.axes)["layers"] for path, spec in specs.items() if path.startswith(BLOCKS))
    return _split(specs, n_layers, n_top, lambda spec, begin, end: _with_layers(spec, end - begin))


def _with_layers(spec: Spec, n_layers: int) -> Spec:
    axes = tuple((name, n_layers if name == "layers" else size) for name, size in spec.axes)
    return Spec(axes, spec.contract, spec.std, spec.mean, spec.noise)


def split_blocks(params: Params, n_top: int) -> Params:
    """Return the tree with the last n_top blocks as a stack of their own. 0 leaves it as it is.

    Raises:
        LoraJaxError: The model has fewer blocks.
    """
    n_layers = next(len(weight) for path, weight in params.items() if path.startswith(BLOCKS))
    return _split(params, n_layers, n_top, lambda weight, begin, end: weight[begin:end])


def _split(tree: Mapping[str, T], n_layers: int, n_top: int, cut: Callable[[T, int, int], T]) -> dict[str, T]:
    """Return a tree with the last n_top blocks as a stack of their own.

    cut: Returns the layers from begin to end of what the tree holds for all of them.
    """
    _check(n_top, n_layers)
    if n_top == 0:
        return dict(tree)
    split: dict[str, T] = {}
    for path, whole in tree.items():
        inner = inside_block(path)
        if inner is None:
            split[path] = whole
            continue
        if n_top < n_layers:
            split[path] = cut(whole, 0, n_layers - n_top)
        split[TOP_BLOCKS + inner] = cut(whole, n_layers - n_top, n_layers)
    return split


def join_blocks(params: Params) -> Params:
    """Undo `split_blocks` and return one stack. Both stacks must hold the same weights.

    Raises:
        LoraJaxError: A weight is in one stack only, such as an adapter of the upper blocks.
    """
    inner = {stack: {p.removeprefix(stack) for p in params if p.startswith(stack)} for stack in STACKS}
    lower, upper = inner[BLOCKS], inner[TOP_BLOCKS]
    if lower and upper and lower != upper:
        raise LoraJaxError(
            f"{sorted(lower ^ upper)} are in one of the two stacks only: merge or drop the adapter first."
        )
    joined = {path: weight for path, weight in params.items() if inside_block(path) is None}
    for path in sorted(lower | upper):
        parts = [params[stack + path] for stack in STACKS if stack + path in params]
        joined[BLOCKS + path] = parts[0] if len(parts) == 1 else jnp.concatenate(parts)
    return joined


def _check(n_top: int, n_layers: int) -> None:
    if not 0 <= n_top <= n_layers:
        raise LoraJaxError(
            f"asked for the top {n_top} blocks of a model that has {n_layers}: ask for 1 to {n_layers}."
        )
