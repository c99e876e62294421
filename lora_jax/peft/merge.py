"""Fold what a method learned into a tree of the base's shape, and back; what rounding takes of it is told."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.stacks import join_blocks
from lora_jax.params import Params, combine
from lora_jax.peft.method import Adapted, MethodConfig

MAX_LOST = 0.05  # of the update, to rounding


class Merged(NamedTuple):
    """A merged model and the way back.

    params: every weight, at the base's paths, shapes and types; run it without hooks. originals: the base's
    own arrays of what was changed. lost: per changed weight, ||rounded - exact|| / ||exact - base||, norms
    over all its numbers; 0 in float32 up to float32's own rounding. total_lost: the same of all together.
    """

    params: Params
    originals: Params
    lost: dict[str, float]
    total_lost: float


def merge(
    model: ModelConfig, base: Params, adapted: Adapted, config: MethodConfig, *, force: bool = False
) -> Merged:
    """Merge in float32, then round to the base's types.

    Raises:
        LoraJaxError: the method has no merged form; or the base is shorter than float32 and more than 5 % of
            the update is lost to rounding, unless `force`.
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
            f"merging {name} into a base of {base[worst].dtype} would lose {total:.1%} of the update to"
            f" rounding ({worst}: {lost[worst]:.1%}), at most {MAX_LOST:.0%} is allowed: merge into it in"
            " float32, or force it."
        )
    return Merged(params, {path: base[path] for path in changed}, lost, total)


def unmerge(merged: Merged) -> Params:
    """Return the base, byte for byte."""
    return {**merged.params, **merged.originals}


def _square(x: jax.Array) -> float:
    return float(jnp.square(x).sum())
