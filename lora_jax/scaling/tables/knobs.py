"""Settings of training in a file's own columns. They may differ between runs of equal N and D."""

import re
from collections.abc import Sequence

import numpy as np

from lora_jax.scaling.tables.columns import KNOWN, N_COLUMNS, SHAPES
from lora_jax.scaling.tables.last_steps import LENGTHS, POSITIONS, RUN_NAMES, simplify
from lora_jax.scaling.tables.run_table import RunTable

# parts of a column's name, between underscores, that mean a learning rate
RATE = re.compile(r"(^|_)(lr|learning_rate|learningrate|eta|peak_rate|base_rate)(_|$)")
# a name with one of these is a rate at another moment than the peak, so it is not one of the grid
NOT_PEAK = re.compile(r"(^|_)(min|final|end|cooldown|decay|schedule|scheduler|type|warmup|ratio)(_|$)")
SETTING = re.compile(
    r"(^|_)(bs|batch|batch_size|gbs|warmup|wd|weight_decay|decay|beta1|beta2|beta_1|beta_2|betas|eps|epsilon"
    r"|momentum|dropout|clip|grad_clip|schedule|scheduler|optimizer|optim|init|epochs?)(_|$)"
)
# no settings: what a run is, what it resulted in, and what only tells rows apart
SEEDS = frozenset({"seed", "random_seed", "rng_seed", "data_seed"})
NO_SETTING = SEEDS | {*POSITIONS, *LENGTHS, *RUN_NAMES, "status", "state", "cooled", "trunk_id"}
OURS = {*KNOWN, *N_COLUMNS} - {"batch_size", *SHAPES}
REPEATED = (
    3  # if a value has this many rows on average, a column of unknown name is a setting and not a result
)


def rates_of(table: RunTable) -> list[str]:
    """Return the columns of peak learning rates that vary, such as lr, peak_lr or optimizer.lr.

    Ours come first.
    """
    columns = [
        c for c in table.columns if is_rate(c) and len(np.unique(table[c])) > 1 and (table[c] > 0).all()
    ]
    return sorted(columns, key=lambda c: (c != "base_learning_rate", c != "learning_rate"))


def is_rate(column: str) -> bool:
    """Return whether a column's name means a peak learning rate."""
    name = _words(column)
    return bool(RATE.search(name)) and not NOT_PEAK.search(name)


def is_tuned(column: str) -> bool:
    """Return whether a column's name means a setting that people tune, such as a batch size or a decay."""
    return is_rate(column) or bool(SETTING.search(_words(column)))


def settings_within(table: RunTable, groups: Sequence[np.ndarray]) -> list[str]:
    """Return the settings that differ within any of the groups of rows. Learning rates come first.

    A column of unknown name counts as a setting if its values repeat. Results differ in every row.

    Args:
        table: The runs.
        groups: The rows of each group.
    """
    found: list[tuple[int, str]] = []
    for column in (*table.columns, *table.labels):
        if column in OURS or simplify(column) in NO_SETTING:
            continue
        values = np.asarray(table.labels[column] if column in table.labels else table.columns[column])
        if not any(len(np.unique(values[rows])) > 1 for rows in groups):
            continue
        name = _words(column)
        rank = 0 if is_rate(column) else 1 if SETTING.search(name) else 2
        if rank < 2 or len(np.unique(values)) * REPEATED <= len(values):
            found.append((rank, column))
    return [column for _, column in sorted(found, key=lambda pair: pair[0])]


def _words(column: str) -> str:
    """Return the name in small letters with underscores between its words: peakLr becomes peak_lr."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")
