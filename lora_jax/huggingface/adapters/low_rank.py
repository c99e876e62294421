"""Low-rank factors in peft's layout, and q, k and v that share a matrix: fused for export, split for import.

peft has A (R, in) and B (M, R), with y = W x + s B A x. The orientation is the same for GPT-2's Conv1D. Axes:
Y layers, R rank, I inputs, M the module's outputs, P the outputs of one of its parts.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.adapters.modules import AdapterModule, join_rows, split_rows
from lora_jax.params import Spec
from lora_jax.peft.low_rank import sizes, split_axes


class Factors(NamedTuple):
    """The update s B A of a weight, in every layer that has it.

    Attributes:
        a_YRI: A in every layer.
        b_YMR: B in every layer.
        scale: The scale s.
        magnitude_YM: Magnitude of each output (DoRA's m), or None.
    """

    a_YRI: np.ndarray
    b_YMR: np.ndarray
    scale: float
    magnitude_YM: np.ndarray | None = None

    @property
    def rank(self) -> int:
        """The rank R."""
        return self.a_YRI.shape[1]


def to_factors(a: np.ndarray, b: np.ndarray, spec: Spec, scale: float) -> Factors:
    """Return our A (stack, I, R) and B (stack, R, O) of a weight in peft's layout.

    They always get a layer axis.
    """
    k, d = sizes(spec)
    n_layers = len(a) if split_axes(spec)[0] else 1
    a_YIR, b_YRM = a.reshape(n_layers, k, -1), b.reshape(n_layers, -1, d)
    return Factors(a_YIR.swapaxes(1, 2), b_YRM.swapaxes(1, 2), scale)


def from_factors(factors: Factors, spec: Spec) -> tuple[np.ndarray, np.ndarray]:
    """Undo `to_factors`.

    Args:
        factors: The factors in peft's layout.
        spec: The weight's Spec. Its number of layers does not matter.
    """
    stack, inputs, outputs = split_axes(spec)
    lead = (len(factors.a_YRI),) if stack else ()
    a = factors.a_YRI.swapaxes(1, 2).reshape(*lead, *(n for _, n in inputs), factors.rank)
    b = factors.b_YMR.swapaxes(1, 2).reshape(*lead, factors.rank, *(n for _, n in outputs))
    return a, b


def fuse(
    module: AdapterModule, parts: dict[int, Factors], n_heads: int, norms: Mapping[int, np.ndarray]
) -> Factors:
    """Combine the updates of a module's parts into one update of the module.

    A is [A_q; A_v], and B has the rows of each part in columns of its own. Parts with the same A (as in an
    imported adapter) share it. So an adapter is exported as it was imported. If scales differ, the difference
    goes into B.

    Args:
        module: The module.
        parts: The updates of its parts, by index.
        n_heads: Number of heads.
        norms: Magnitudes (Y, P) of parts that DoRA does not adapt.
    """
    if len(module.paths) == 1:
        return parts[0]
    first = next(iter(parts.values()))
    is_shared = len(parts) > 1 and all(
        part.scale == first.scale and np.array_equal(part.a_YRI, first.a_YRI) for part in parts.values()
    )
    a_YRI = first.a_YRI if is_shared else np.concatenate([part.a_YRI for part in parts.values()], axis=1)
    rows: list[np.ndarray] = []
    start = 0
    for index, n_out in enumerate(module.n_out):
        b_YPR = np.zeros((len(a_YRI), n_out, a_YRI.shape[1]), np.float32)
        if index in parts:
            part = parts[index]
            end = start + part.rank
            b_YPR[:, :, start:end] = part.b_YMR * np.float32(part.scale / first.scale)
            start = 0 if is_shared else end
        rows.append(b_YPR)
    magnitude = _fuse_magnitudes(module, parts, n_heads, norms)
    return Factors(a_YRI, join_rows(module, rows, n_heads), first.scale, magnitude)


def _fuse_magnitudes(
    module: AdapterModule, parts: dict[int, Factors], n_heads: int, norms: Mapping[int, np.ndarray]
) -> np.ndarray | None:
    own = {index: part.magnitude_YM for index, part in parts.items() if part.magnitude_YM is not None}
    if not own:
        return None
    magnitudes = {**norms, **own}
    missing = [path for index, path in enumerate(module.paths) if index not in magnitudes]
    if missing:
        raise LoraJaxError(
            f"DoRA of a part of {module.name} needs the norms of {', '.join(missing)}, because peft's"
            " magnitudes are of the whole matrix, and no base was given: pass its weights."
        )
    columns = [magnitudes[index][..., None] for index in range(len(module.paths))]
    return join_rows(module, columns, n_heads)[..., 0]


def split(module: AdapterModule, factors: Factors, n_heads: int) -> dict[int, Factors]:
    """Undo `fuse` and return each part's update.

    The parts share A. If B is in blocks, each part keeps only its own columns.
    """
    if len(module.paths) == 1:
        return {0: factors}
    parts = split_rows(module, factors.b_YMR, n_heads)
    magnitudes: Sequence[np.ndarray | None] = [None] * len(parts)
    if factors.magnitude_YM is not None:
        magnitudes = [m[..., 0] for m in split_rows(module, factors.magnitude_YM[..., None], n_heads)]
    used = [np.abs(b_YPR).max(axis=(0, 1)) > 0 for b_YPR in parts]
    is_in_blocks = factors.magnitude_YM is None and np.sum(used, axis=0).max() == 1
    split_up: dict[int, Factors] = {}
    for index, b_YPR in enumerate(parts):
        columns = used[index] if is_in_blocks else np.ones(factors.rank, bool)
        if columns.any():
            split_up[index] = Factors(
                factors.a_YRI[:, columns], b_YPR[:, :, columns], factors.scale, magnitudes[index]
            )
    return split_up
