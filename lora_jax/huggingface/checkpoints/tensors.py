"""One stored tensor and our weights in it: shapes, orientation, and fused q, k and v."""

import math
from collections.abc import Sequence

import numpy as np

from lora_jax.huggingface.architectures.architecture import Part, Place


def stored_shape(place: Place) -> tuple[int, ...]:
    """Return the shape of the whole tensor that a weight lies in."""
    n_parts = 1 if place.part is None else place.part.n_parts
    if place.n_inputs == 0:
        if place.tensor.endswith(".weight"):
            return place.shape  # a norm's scale, or a table
        return (math.prod(place.shape) * n_parts,)
    n_in, n_out = _matrix_shape(place)
    return (n_out * n_parts, n_in) if place.transposed else (n_in, n_out * n_parts)


def take_weight(stored: np.ndarray, place: Place) -> np.ndarray:
    """Return our weight that lies in a stored tensor. It is a view if possible."""
    out_last = stored.T if place.transposed else stored
    if place.part is not None:
        out_last = split_part(out_last, place.part, place.shape[place.n_inputs])
    return out_last.reshape(place.shape)


def fuse_weights(weights: Sequence[np.ndarray], places: Sequence[Place]) -> np.ndarray:
    """Undo `take_weight`: return the stored tensor of all weights that lie in it."""
    out_last = []
    for weight, place in zip(weights, places, strict=True):
        if place.n_inputs:
            weight = weight.reshape(_matrix_shape(place))
        elif not place.tensor.endswith(".weight"):
            weight = weight.reshape(-1)
        out_last.append(weight)
    first = places[0]
    stored = out_last[0]
    if first.part is not None:
        order = sorted(range(len(places)), key=lambda i: _index(places[i]))
        n_heads = first.shape[first.n_inputs]
        stored = fuse_parts([out_last[i] for i in order], first.part.layout, n_heads)
    return np.ascontiguousarray(stored.T if first.transposed else stored)


def split_part(x: np.ndarray, part: Part, n_heads: int) -> np.ndarray:
    """Return one of the matrices that are fused along the last axis, (..., out) of (..., n_parts * out)."""
    *lead, n_out = x.shape
    shape = (part.n_parts, -1) if part.layout == "blocks" else (n_heads, part.n_parts, -1)
    return x.reshape(*lead, *shape)[..., part.index, :].reshape(*lead, n_out // part.n_parts)


def fuse_parts(parts: Sequence[np.ndarray], layout: str, n_heads: int) -> np.ndarray:
    """Undo `split_part`. The parts must be in order."""
    *lead, n_out = parts[0].shape
    if layout == "blocks":
        return np.concatenate(parts, axis=-1)
    by_head = [part.reshape(*lead, n_heads, 1, -1) for part in parts]
    return np.concatenate(by_head, axis=-2).reshape(*lead, len(parts) * n_out)


def _index(place: Place) -> int:
    return 0 if place.part is None else place.part.index


def _matrix_shape(place: Place) -> tuple[int, int]:
    return math.prod(place.shape[: place.n_inputs]), math.prod(place.shape[place.n_inputs :])
