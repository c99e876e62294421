"""Which laws a table can be asked about, and why it cannot be asked about the others."""

from collections.abc import Mapping, Sequence

import numpy as np

from lora_jax.scaling.comparing.comparison_report import Excluded
from lora_jax.scaling.comparing.origins import SAME, SHARES, Split, cut, order_rows, varying
from lora_jax.scaling.fitting.certificate import COLLINEAR
from lora_jax.scaling.laws import LAWS
from lora_jax.scaling.laws.law import Law
from lora_jax.scaling.tables.run_table import RunTable

DETERMINED = 1e-6  # residual of a logarithm that the law's own variables leave of another variable


def candidates(
    table: RunTable, response: str = "loss", shares: Sequence[float] = SHARES
) -> list[tuple[str, Law]]:
    """Return (name, law) of every law that the table can be asked about.

    Such a law predicts the response. The table has its variables, and they vary. The smallest training set of
    the origins leaves it a degree of freedom. A law of one variable is a candidate even if other variables
    vary, because the table may be a slice. `notes_of` says what it ignores. Laws of two variables are also
    candidates if D = kN.

    Args:
        table: The runs.
        response: The column to predict.
        shares: Shares of the rows at which the origins lie.
    """
    usual = {name: law for name, law in LAWS.items() if law.compared}
    return screen(table, usual, response, cut(order_rows(table, response), shares))[0]


def unasked() -> list[Excluded]:
    """Return the laws that a comparison tries only if you name them."""
    return [
        Excluded(name, f"{len(law.names)} parameters take long at every origin: name it by --laws {name}")
        for name, law in LAWS.items()
        if not law.compared
    ]


def screen(
    table: RunTable, laws: Mapping[str, Law], response: str, splits: Sequence[Split]
) -> tuple[list[tuple[str, Law]], list[Excluded]]:
    """Return the laws that qualify, and those that do not, each with its reason.

    Args:
        table: The runs.
        laws: The laws by name.
        response: The column to predict.
        splits: The splits at which they would be fitted.
    """
    n_smallest = min(len(s.train) for s in splits)
    kept, excluded = [], []
    for name, law in laws.items():
        reason = _reason(table, law, response, n_smallest)
        if reason is None:
            kept.append((name, law))
        else:
            excluded.append(Excluded(name, reason))
    return kept, excluded


def _reason(table: RunTable, law: Law, response: str, n_smallest: int) -> str | None:
    if law.response != response:
        return f"predicts {law.response}, not {response}"
    missing = [v for v in law.variables if not table.has(v)]
    if missing:
        return f"the table has no {' and no '.join(f'{table.column_of(v)} ({v})' for v in missing)}"
    constant = [v for v in law.variables if v not in varying(table, law.variables)]
    if constant:
        return f"{' and '.join(f'{table.column_of(v)} ({v})' for v in constant)} is the same in every row"
    for v, other in law.same_unit.items():
        if other != "1" and np.ptp(np.log(table.variable(v) / table.variable(other))) < SAME:
            return f"{v} = k {other} in every row, so their effects cannot be told apart"
    n_params = len(law.names)
    if n_smallest <= n_params:
        return (
            f"{n_params} parameters, and {n_smallest} rows in the smallest training set: it takes"
            f" {n_params + 1}"
        )
    return None


def notes_of(law: Law, table: RunTable) -> list[str]:
    """Return what a reader must know about a law on this table: what it ignores or cannot separate."""
    notes = []
    ignored = _ignored(law, table)
    if ignored:
        at = f" at one {law.variables[0]}" if law.variables == ("C",) else ""
        are = "varies" if len(ignored) == 1 else "vary"
        frontier = "; it is fitted to all rows, not to the frontier" if at else ""
        notes.append(f"ignores {' and '.join(ignored)}, which {are}{at}{frontier}")
    logs = {v: np.log(table.variable(v)) for v in law.variables if v not in law.same_unit}
    letters = list(logs)
    for i, v in enumerate(letters):
        for w in letters[i + 1 :]:
            if np.ptp(logs[w] - logs[v]) < 0.01:
                notes.append(f"{w} = k {v} in every row: their exponents cannot be separated")
            elif abs(np.corrcoef(logs[v], logs[w])[0, 1]) > COLLINEAR:
                notes.append(f"{v} and {w} move together: their exponents are hardly separated")
    return notes


def _ignored(law: Law, table: RunTable) -> list[str]:
    """Return what varies, is no variable of the law, and does not follow from those (as S from D)."""
    if "L" in law.variables:
        return []  # a law of the loss sees all through the loss
    own = [np.log(table.variable(v)) for v in law.variables]
    design = np.stack([np.ones(len(table)), *own], axis=1)
    found = []
    for v in varying(table):
        if v in law.variables:
            continue
        x = np.log(table.variable(v))
        left = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
        if np.abs(left).max() > DETERMINED:
            found.append(v)
            design = np.column_stack([design, x])  # what follows from this one is not a further thing
    return found
