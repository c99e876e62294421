"""Fold what a method learned into a tree of the base's shape, and undo it. We report what rounding loses."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.stacks import join_blocks
from lora_jax.params import Params, combine
from lora_jax.peft.method import Adapted, MethodConfig
from lora_jax.percent import percent

MAX_LOST = 0.05  # share of the update that rounding may lose


class Merged(NamedTuple):
    """A merged model and the way back.

    Attributes:
        params: Every weight, at the base's paths, shapes and types. Run it without hooks.
        originals: The base's own arrays of the weights that changed.
        lost: For each changed weight, ||rounded - exact|| / ||exact - base||, with norms over all its
            numbers. In float32 it is 0 up to float32's own rounding.
        total_lost: The same for all weights together.
    """

    params: Params
    originals: Params
    lost: dict[str, float]
    total_lost: float


def merge(
    model: ModelConfig, base: Params, adapted: Adapted, config: MethodConfig, *, force: bool = False
) -> Merged:
    """Fold a method's weights into the base. It merges in float32, then rounds to the base's types.

    Args:
        model: The shape of the base.
        base: The weights of the base.
        adapted: The trained weights and the frozen ones.
        config: The method that was trained.
        force: Merge even if rounding loses more than 5 % of the update.

    Raises:
        LoraJaxError: The method has no merged form. Or the base is shorter than float32, rounding would
            lose more than 5 % of the update, and `force` is not set.
    """
    name = type(config).__name__
    method = config.build(model)
    if method.merge is None:
        raise LoraJaxError(
            f"{name} changes what the model computes in a way that no weights of its own have: it cannot be"
            " merged, keep its checkpoint beside the base."
        )
    weights = combine(adapted.trainable, adapted.frozen)
    exact = join_blocks(method.merge({path: w.astype(jnp.float32) for path, w in weights.items()}))
    changed = {path for path, old in base.items() if not bool(jnp.array_equal(exact[path], old))}
    params, lost, rounding, moved = dict(base), {}, 0.0, 0.0
    for path in sorted(changed):
        old, new = base[path].astype(jnp.float32), exact[path]
        params[path] = new.astype(base[path].dtype)
        error, update = _square(params[path].astype(jnp.float32) - new), _square(new - old)
        lost[path] = (error / update) ** 0.5
        rounding, moved = rounding + error, moved + update
    total = (rounding / moved) ** 0.5 if moved else 0.0
    if total > MAX_LOST and not force:
        worst = max(lost, key=lost.__getitem__)
        raise LoraJaxError(
            f"merging {name} into a base of {base[worst].dtype} would lose {percent(total, 1)} of the"
            " update"
            " to"
            f" rounding ({worst}: {percent(lost[worst], 1)}), at most {percent(MAX_LOST)} is allowed:"
            " merge into it in float32, or force it."
        )
    return Merged(params, {path: base[path] for path in changed}, lost, total)


def unmerge(merged: Merged) -> Params:
    """Undo a merge.

    Returns:
        The weights of the base, byte for byte.
    """
    return {**merged.params, **merged.originals}


def _square(x: jax.Array) -> float:
    return float(jnp.square(x).sum())
