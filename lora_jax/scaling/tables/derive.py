"""Derive what a table lacks and its other columns determine: N, D or C from the other two, or from shapes."""

from dataclasses import replace
from typing import Any

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.columns import N_COLUMNS, SHAPES
from lora_jax.scaling.tables.counting import Shape, count_parameters, flops_per_token
from lora_jax.scaling.tables.run_table import Array, RunTable

SHAPED = "counted from the shapes"


def derive(table: RunTable) -> RunTable:
    """Fill in missing columns, and say so in `notes`.

    If the table has d_model and n_layers, we count N by every convention that the shapes determine
    (`count_parameters`). With vocab_size, context and n_tokens we also count the exact C. Then one of N, D
    and C follows from the other two by C = 6ND.

    Raises:
        LoraJaxError: A row has no possible shape.
    """
    columns, notes, formulas = dict(table.columns), list(table.notes), dict(table.formulas)
    if "base_learning_rate" not in columns and "learning_rate" in columns:
        columns["base_learning_rate"] = columns["learning_rate"]
    given = set(columns)
    per_token = _count_shapes(table.source, columns, notes)
    formulas |= dict.fromkeys(set(columns) - given, SHAPED)
    n_column = next((name for name in N_COLUMNS if name in columns), "n_params")
    flops = "flops" if "flops" in columns or "flops_exact" not in columns else "flops_exact"
    has_n, has_d, has_c = (name in columns for name in (n_column, "n_tokens", flops))
    if not has_d and per_token is not None and "flops_exact" in columns:
        columns["n_tokens"], has_d = columns["flops_exact"] / per_token, True
        formulas["n_tokens"] = "flops_exact / FLOPs per token"
        notes.append("n_tokens is not in the table: derived as flops_exact over the shapes' FLOPs per token.")
    elif not has_d and has_n and has_c:
        columns["n_tokens"], has_d = columns[flops] / (6 * columns[n_column]), True
        formulas["n_tokens"] = f"{flops} / (6 {n_column})"
        notes.append(f"n_tokens is not in the table: derived as {flops} / (6 {n_column}).")
    elif not has_n and has_d and has_c:
        columns["n_params"], has_n = columns[flops] / (6 * columns["n_tokens"]), True
        formulas["n_params"] = f"{flops} / (6 n_tokens)"
        notes.append(f"n_params is not in the table: derived as {flops} / (6 n_tokens).")
    if has_n and has_d and "flops" not in columns:
        columns["flops"] = 6 * columns[n_column] * columns["n_tokens"]
        formulas["flops"] = f"6 {n_column} n_tokens"
        notes.append(f"flops is not in the table: derived as 6 {n_column} n_tokens.")
    if has_d and per_token is not None and "flops_exact" not in columns:
        columns["flops_exact"] = per_token * columns["n_tokens"]
        formulas["flops_exact"] = "FLOPs per token of the shapes times n_tokens"
        notes.append(
            "flops_exact is not in the table: derived as the shapes' FLOPs per token times n_tokens."
        )
    return replace(
        table,
        columns=columns,
        notes=tuple(notes),
        formulas=formulas,
        n_column=n_column,
        flops_column="flops" if "flops" in columns else flops,
    )


def _count_shapes(source: str, columns: dict[str, Array], notes: list[str]) -> Array | None:
    """Add the counts of N that are missing.

    Returns:
        Exact FLOPs per token, (n,). None if the shapes do not determine them.
    """
    if "d_model" not in columns or "n_layers" not in columns:
        return None
    given = [name for name in SHAPES if name in columns]
    counts: list[dict[str, int]] = []
    per_token: list[int] = []
    known: dict[tuple[float, ...], tuple[dict[str, int], int | None]] = {}  # many runs share few shapes
    for i, row in enumerate(zip(*(columns[name].tolist() for name in given), strict=True)):
        if row not in known:
            try:
                known[row] = _count_shape(dict(zip(given, row, strict=True)))
            except LoraJaxError as problem:
                raise LoraJaxError(f"{source}, run {i + 1}: {problem}") from problem
        found, flops = known[row]
        counts.append(found)
        if flops is not None:
            per_token.append(flops)
    added = [name for name in counts[0] if name not in columns] if counts else []
    for name in added:
        columns[name] = np.array([count[name] for count in counts], dtype=np.float64)
    if added:
        notes.append(
            f"{', '.join(added)}: not in the table, counted from {', '.join(given)} as GPT-2's (biases, layer"
            " norms, learned positions, a tied head, an MLP without gate, 4 d_model wide unless d_ff says)."
        )
    return np.array(per_token, dtype=np.float64) if per_token else None


def _count_shape(row: dict[str, float]) -> tuple[dict[str, int], int | None]:
    """Return N by every convention, and exact FLOPs per token (None if the shape does not determine them)."""
    # Shape refuses a fraction, in its own words
    fields: dict[str, Any] = {name: int(v) if v.is_integer() else v for name, v in row.items()}
    shape = Shape(**fields)
    if shape.vocab_size is None or shape.context is None:
        return count_parameters(shape), None
    return count_parameters(shape), flops_per_token(shape, shape.context)
