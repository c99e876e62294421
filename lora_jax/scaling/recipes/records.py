"""The recipes of a results folder, from its records, which say more than its table."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lora_jax.scaling.rates.grids import KIND, RateRun, say_setting, setting
from lora_jax.scaling.rates.records import read_folder
from lora_jax.scaling.recipes.sorting import doubt_mixture, sort_recipes
from lora_jax.scaling.tables.run_table import RunTable
from lora_jax.table_lag import find_folder, list_records


def recorded_runs(path: Path) -> list[RateRun]:
    """Return the runs of a results folder with their settings. Any other table has none.

    Args:
        path: The folder, or its runs.csv.
    """
    folder = find_folder(path)
    return list(read_folder(folder).runs) if folder is not None and list_records(folder) else []


def doubt_recipes(table: RunTable, recorded: Sequence[RateRun]) -> RunTable:
    """Return the table, with one more doubt if its runs come from several recipes.

    Args:
        table: The table.
        recorded: Runs with their settings, from `recorded_runs`. Those of the table are among them.
    """
    doubt = doubt_mixture(_of(table, recorded))
    return table if doubt is None else replace(table, doubts=(*table.doubts, doubt))


def split_by(table: RunTable, recorded: Sequence[RateRun], name: str) -> list[tuple[str, RunTable]]:
    """Return the runs of a results folder by recipe, or by one setting of their configurations.

    Args:
        table: The runs.
        recorded: Runs with their settings, among them those of the table.
        name: "recipe", "optimizer", or a field such as "optim.batch_size" or "batch_size".

    Returns:
        The name and the runs of each part. Nothing where no record has such a setting.
    """
    runs = _of(table, recorded)
    if not runs:
        return []
    row_of = {run_id: i for i, run_id in enumerate(table.run_ids)}
    if name == "recipe":
        parts = {recipe.label: list(recipe.run_ids) for recipe in sort_recipes(runs, table.source)}
    else:
        parts = _by_setting(runs, name)
    return [(label, table.take(sorted(row_of[i] for i in ids))) for label, ids in parts.items()]


def _by_setting(runs: Sequence[RateRun], name: str) -> dict[str, list[str]]:
    known = {n for run in runs for n in run.settings}
    wanted = KIND if name == "optimizer" else name
    [field] = [n for n in known if wanted in (n, n.rpartition(".")[2])][:1] or [None]
    if field is None:
        return {}
    parts: dict[str, list[str]] = {}
    for run in runs:
        parts.setdefault(say_setting(field, setting(run, field)), []).append(run.name)
    return parts


def _of(table: RunTable, recorded: Sequence[RateRun]) -> list[RateRun]:
    kept = set(table.run_ids)
    return [run for run in recorded if run.name in kept]
