"""Training curves: the loss of each run against its tokens and FLOPs, from a results folder or a table."""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.names import inside
from lora_jax.scaling.tables.table import RunTable, read_table

Array = NDArray[np.float64]
COLUMNS = ("n_tokens", "flops", "loss")
HOT = 0.5  # share of its peak rate above which a point has not been cooled


@dataclass(frozen=True)
class TrainingCurve:
    """The loss of one run at k points of its training.

    Attributes:
        run_id: The run.
        n_params: N.
        n_tokens: Tokens so far (k,), rising.
        flops: FLOPs so far (k,), rising.
        loss: Loss (k,), in nats per token.
        cluster: A label that runs share if they share training, such as branches of one trunk. They are not
            independent evidence.
        hot: Whether a point was measured before the learning rate came down (k,). None if nobody knows.
    """

    run_id: str
    n_params: float
    n_tokens: Array
    flops: Array
    loss: Array
    cluster: str = ""
    hot: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        for name in COLUMNS:
            values = np.asarray(getattr(self, name), dtype=np.float64)
            object.__setattr__(self, name, values)
            if values.shape != (len(self.loss),) or len(values) < 2:
                raise LoraJaxError(
                    f"The curve of {self.run_id} has {name} of shape {values.shape} and loss of shape"
                    f" {np.shape(self.loss)}: give each two points or more."
                )
            if not (np.isfinite(values) & (values > 0)).all():
                raise LoraJaxError(f"The curve of {self.run_id} has a {name} not above 0: mend or drop it.")
        if not (np.isfinite(self.n_params) and self.n_params > 0):
            raise LoraJaxError(
                f"The run {self.run_id} has {self.n_params} parameters: give a number above 0."
            )
        for name in COLUMNS[:2]:
            if (np.diff(getattr(self, name)) <= 0).any():
                raise LoraJaxError(f"The curve of {self.run_id} has {name} that do not rise: sort its rows.")


def read_curves(folder: str | Path, *, n_column: str = "n_params") -> list[TrainingCurve]:
    """Read the training curve of every finished run of a results folder, cooled or not.

    The files are curves/RUN_ID.csv of the runs in runs.csv (docs/architecture.md). FLOPs are the curve's own.
    A row's loss is the mean since the row before it, so we put it halfway between the two. Runs of one size
    and seed are a cluster, because they may share a trunk.

    Args:
        folder: The results folder.
        n_column: Which column of runs.csv is N.

    Raises:
        LoraJaxError: A file or a column is missing, or a run has fewer than two rows.
    """
    folder = Path(folder)
    table = read_table(folder, keep_uncooled=True)
    sizes = table[n_column]
    seeds = table.columns.get("seed", np.zeros(len(table)))
    cooled = table.columns.get("cooled")
    curves = []
    for i, run_id in enumerate(table.run_ids):
        rows = _read_rows(inside(folder / "curves", f"{run_id}.csv", str(folder / "runs.csv")))
        rate = rows.get("learning_rate")
        middle = {name: (rows[name] + np.append(0.0, rows[name][:-1])) / 2 for name in COLUMNS[:2]}
        curves.append(
            TrainingCurve(
                run_id,
                float(sizes[i]),
                middle["n_tokens"],
                middle["flops"],
                rows["loss"],
                f"N = {sizes[i]:.9g}, seed {seeds[i]:g}",
                None if rate is None else _find_hot(rate, cooled is not None and bool(cooled[i])),
            )
        )
    return curves


def _find_hot(rate: Array, cooled: bool) -> NDArray[np.bool_]:
    """Return which points of a run came before its learning rate fell (k,).

    An optimizer that averages the weights keeps its rate to the end, and its run counts as cooled: then no
    point is hot.
    """
    hot: NDArray[np.bool_] = rate > HOT * rate.max()
    return np.zeros_like(hot) if cooled and hot[-1] else hot


def _read_rows(path: Path) -> dict[str, Array]:
    if not path.exists():
        raise LoraJaxError(f"{path} does not exist: approach 1 needs the training curve of every run.")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        header, rows = list(reader.fieldnames or ()), list(reader)
    for name in COLUMNS:
        if name not in header:
            raise LoraJaxError(f"{path} has no column {name!r}{nearest(name, header)}: add it.")
    wanted = [name for name in (*COLUMNS, "learning_rate") if name in header]
    try:
        return {name: np.array([float(row[name]) for row in rows]) for name in wanted}
    except (TypeError, ValueError) as problem:
        raise LoraJaxError(f"{path} has a cell that is not a number ({problem}): mend it.") from problem


def curves_of(table: RunTable) -> tuple[list[TrainingCurve], int]:
    """Return one curve for each training run of a table, and the number of rows that belong to none.

    A training run is a cluster of the table. If the table names none, it is a model size. Rows of one size
    and one C are averaged. A curve needs two different C. A point is cooled if the table's column `cooled`
    says so.
    """
    labels = table.clusters or tuple(f"N = {n:.9g}" for n in table.variable("N"))
    members: dict[tuple[str, float], list[int]] = defaultdict(list)
    for i, (label, n) in enumerate(zip(labels, table.variable("N"), strict=True)):
        members[str(label), float(n)].append(i)
    cooled = table.columns.get("cooled")
    curves, n_left = [], 0
    for (label, n), rows in members.items():
        flops, where = np.unique(np.round(np.log(table.variable("C")[rows]), 9), return_inverse=True)
        if len(flops) < 2:
            n_left += len(rows)
            continue
        count = np.bincount(where)
        ln_d, ln_loss = (
            np.bincount(where, np.log(v[rows])) / count for v in (table.variable("D"), table["loss"])
        )
        hot = None if cooled is None else np.bincount(where, cooled[rows] == 0) > 0
        curves.append(TrainingCurve(label, n, np.exp(ln_d), np.exp(flops), np.exp(ln_loss), label, hot))
    if not curves:
        raise LoraJaxError(
            f"{table.source} has no size trained with two different C: approach 1 needs curves,"
            " take approach 2."
        )
    return curves, n_left
