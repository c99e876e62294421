"""Rows of anybody's table as `RateRun`s: which columns are rate, size, seed and other settings."""

from collections.abc import Sequence

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.rates.grids import RateRun
from lora_jax.scaling.rates.transfer import RateRuns
from lora_jax.scaling.tables.batches import batch_unit
from lora_jax.scaling.tables.columns import SHAPES
from lora_jax.scaling.tables.knobs import rates_of, settings_within
from lora_jax.scaling.tables.number_text import read_number
from lora_jax.scaling.tables.run_table import LeftOut, RunTable

SIZES = {
    "width": "d_model",
    "depth": "n_layers",
    "N": "n_params",
    "batch": "batch_size",
    "tokens": "n_tokens",
}
DIVERGED = "diverged"


def rate_runs(table: RunTable) -> RateRuns:
    """Return the runs of a table at several learning rates.

    The size is the batch, the tokens, and either d_model and n_layers or N. Other settings that differ within
    a size make series of their own.

    Raises:
        LoraJaxError: No column of learning rates varies.
    """
    rates = rates_of(table)
    if not rates:
        raise LoraJaxError(
            f"{table.source} has no column of learning rates that differ: give a sweep of rates, or say which"
            " column it is, as --map base_learning_rate='my column'."
        )
    axes = _axes_of(table)
    columns = {axis: np.asarray(table[name], dtype=float) for axis, name in axes.items()}
    cells = np.unique(np.stack([np.ones(len(table)), *columns.values()], 1), axis=0, return_inverse=True)[1]
    groups = [np.flatnonzero(cells.reshape(-1) == k) for k in range(int(cells.max()) + 1)]
    known = {rates[0], *axes.values(), *SHAPES, *SIZES.values()}
    others = [name for name in settings_within(table, groups) if name not in known]
    seeds = table.columns.get("seed", np.zeros(len(table)))
    n_params = table.columns.get("n_params")
    runs = [
        RateRun(
            name=table.run_ids[i],
            rate=float(table[rates[0]][i]),
            loss=float(table["loss"][i]),
            diverged=False,
            sizes={axis: float(values[i]) for axis, values in columns.items()},
            settings={name: _cell(table, name, i) for name in others},
            seed=int(seeds[i]),
            n_params=None if n_params is None else float(n_params[i]),
        )
        for i in range(len(table))
    ]
    lost = [out for out in table.left_out if out.reason == DIVERGED]
    gone = [run for out in lost if (run := _lost(out, axes, rates[0], others)) is not None]
    reasons = [out.reason for out in table.left_out if out.reason != DIVERGED]
    left_out = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}
    return RateRuns(
        table.source,
        _rate_name(table, rates),
        f"loss ({table.loss_unit})",
        (*runs, *gone),
        left_out,
        batch_name=_batch_name(table),
    )


def _rate_name(table: RunTable, rates: Sequence[str]) -> str:
    """Return what the rates of a table are, and which other columns of rates are not read.

    A column that says the same as the first is no other one: base_learning_rate may be derived from it.
    """
    same = [name for name in rates if np.array_equal(table[name], table[rates[0]])]
    first = next((name for name in same if name in table.sources), same[-1])
    others = ", ".join(table.sources.get(name, name) for name in rates if name not in same)
    return f"column {table.sources.get(first, first)!r}{f', beside {others}' if others else ''}"


def _batch_name(table: RunTable) -> str:
    """Return what the batch size of a table is, with its unit where D, S and B say it."""
    unit = batch_unit(table)
    source = table.sources.get("batch_size", "batch_size")
    return f"column {source!r}{'' if unit is None else f' ({unit})'}"


def _axes_of(table: RunTable) -> dict[str, str]:
    """Return the axes of size that a table has, with their columns: N only where the shape is not there."""
    there = {axis: name for axis, name in SIZES.items() if name in table.columns}
    if "width" in there and "depth" in there:
        there.pop("N", None)
    else:
        there = {
            axis: name for axis, name in there.items() if axis not in ("width", "depth") or "N" not in there
        }
    if not there:
        raise LoraJaxError(
            f"{table.source} has no column that says the size of a run: add or map n_params, d_model,"
            " batch_size or n_tokens."
        )
    return there


def _cell(table: RunTable, name: str, row: int) -> str:
    return table.labels[name][row] if name in table.labels else f"{table.columns[name][row]:g}"


def _lost(out: LeftOut, axes: dict[str, str], rate: str, others: list[str]) -> RateRun | None:
    """Return a run that diverged; None where the table does not say of what size and rate it was."""
    try:
        return RateRun(
            name=out.run_id,
            rate=float(out.row[rate]),
            loss=None,
            diverged=True,
            sizes={axis: float(out.row[name]) for axis, name in axes.items()},
            settings={name: _plain(out.row[name]) for name in others},
            seed=int(float(out.row.get("seed", 0))),
        )
    except (KeyError, ValueError):
        return None


def _plain(cell: str) -> str:
    """Return a cell as `_cell` writes it."""
    number = read_number(cell)
    return cell if number is None else f"{number:g}"
