"""Which column of a file is which of ours: names, formulas, and the unit of the loss."""

from collections.abc import Mapping

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.tables.columns import (
    ALTERNATIVES,
    BITS,
    KNOWN,
    N_COLUMNS,
    NATS,
    NEEDED,
    TEXTS,
    UNIT_COLUMNS,
    UNIT_SPELLINGS,
    VARIABLES,
)
from lora_jax.scaling.tables.conversion import File, Naming
from lora_jax.scaling.tables.reading import Rows
from lora_jax.scaling.tables.roles import assign_role, doubt_speed, find_loss, has_numbers, small_letter
from lora_jax.scaling.tables.synonyms import meaning_of, unit_of_name
from lora_jax.scaling.tables.units import parse_formula, refuse_log

CLUSTER_COLUMNS = ("trunk_id", "run_name", "run")  # if values repeat, each names a training run
SHOWN = 5  # units that a sentence names


def unit_of(text: str) -> str:
    """Return the unit of a loss by any of its spellings.

    Raises:
        LoraJaxError: The spelling is unknown.
    """
    unit = UNIT_SPELLINGS.get(text.strip().lower())
    if unit is None:
        raise LoraJaxError(f"A loss in {text!r} means nothing here{nearest(text, UNIT_SPELLINGS)}: use one.")
    return unit


def name_columns(file: File, mapping: Mapping[str, str], unit: str, needs_loss: bool = True) -> Naming:
    """Find which column of the file is which of ours.

    It is mapped, has our name, or has another name (synonyms.py).

    Args:
        file: The table as its file holds it.
        mapping: Our names and the file's column or formula.
        unit: Unit of the loss.
        needs_loss: Whether to refuse a table without a loss.

    Raises:
        LoraJaxError: A mapping names an unknown column, two columns that differ could be one of ours, a
            logarithm has no base, or the loss is missing.
    """
    naming, header = Naming({}), file.header
    for ours, text in mapping.items():
        _map(naming, file, VARIABLES.get(ours, ours), text)
    mapped = naming.mapped = set(naming.rename)
    naming.rename |= {name: name for name in KNOWN if name in header and name not in mapped}
    for theirs, ours in ALTERNATIVES.items():
        if ours not in naming.rename and theirs in header:
            naming.rename[ours] = theirs
    meanings = {n: m for n in header if n not in KNOWN and (m := meaning_of(n)) and has_numbers(file, n)}
    find_loss(naming, file, meanings, unit, needs_loss)
    if not set(N_COLUMNS) & set(naming.rename):
        found = {n: m for n, m in meanings.items() if m.ours in N_COLUMNS}
        assign_role(naming, file, found or small_letter(header, "n_params"))
    for ours in (name for name in KNOWN if name not in (*N_COLUMNS, "loss", *naming.rename)):
        found = {n: m for n, m in meanings.items() if m.ours == ours}
        assign_role(naming, file, found or small_letter(header, ours))
    if naming.known:
        naming.notes.append(f"Columns known by their names: {', '.join(naming.known)}.")
    if naming.rename.get("loss") == "heldout_loss" and "heldout_loss_se" in header:
        naming.rename.setdefault("loss_se", "heldout_loss_se")
    return naming


def _map(naming: Naming, file: File, ours: str, text: str) -> None:
    """Enter one mapping: a column's name, or a formula with it."""
    known = (*KNOWN, *TEXTS)
    if ours not in known:
        raise LoraJaxError(f"Column {ours!r} means nothing here{nearest(ours, known)}: map one of these.")
    if ours in TEXTS and not text:
        return  # "status=" means that no column is a status
    found = parse_formula(text, file.header)
    if found is None:
        raise LoraJaxError(
            f"{file.source} has no column {text!r}{nearest(text, file.header)}: mend the mapping, a column"
            " alone, or with a factor or as a power, such as 'params (M)*1e6' or '10**log10_flops'."
        )
    column, stated = found
    unit = unit_of_name(column, ours) if stated is None else stated
    if unit.base != unit.base:
        raise refuse_log(file.source, column, ours)
    naming.rename[ours] = column
    if not unit.is_plain:
        if ours in (*TEXTS, *UNIT_COLUMNS):
            raise LoraJaxError(f"{ours} is text and was mapped to {text!r}: name its column alone.")
        naming.units[ours] = unit
        why = ", as its name says" if stated is None else ""
        if stated is None:
            doubt_speed(naming, ours, column, unit)
        naming.notes.append(f"{ours} is {unit.formula(column)}{why}.")


def nameable(header: list[str], rename: Mapping[str, str]) -> list[str]:
    """Return the names that a condition may use: the file's columns, ours, derived ones, and letters."""
    return list(dict.fromkeys([*rename, *header, *NEEDED, *VARIABLES]))


def check_unit(source: str, rows: Rows, rename: Mapping[str, str], unit: str) -> None:
    """Refuse rows in several units, and a unit that differs from the one asked for.

    Raises:
        LoraJaxError: The rows have several units, or a unit that was not asked for or is unknown.
    """
    for name in (name for name in UNIT_COLUMNS if name in rename):
        values = list(dict.fromkeys(row.get(rename[name], "").strip() for _, row in rows))
        if len(values) > 1:
            shown = ", ".join(repr(v) for v in values[:SHOWN])
            raise LoraJaxError(
                f"{source} mixes units: column {rename[name]!r} has {shown}: keep one, as --where"
                f" {rename[name]}=VALUE."
            )
        told = UNIT_SPELLINGS.get(values[0].lower())
        if told is not None and told != unit:
            raise LoraJaxError(f"{source} has its loss in {told} and was to be read in {unit}: say {told!r}.")
        if told is None and name == "loss_unit" and values[0]:
            raise LoraJaxError(f"{source} has its loss in {values[0]!r}: convert it to {NATS!r} or {BITS!r}.")


def label_clusters(
    source: str,
    rows: Rows,
    header: list[str],
    rename: Mapping[str, str],
    cluster: str | None,
    usual: tuple[str, ...],
) -> tuple[str, ...] | None:
    """Return the training run of each row, or None if no column names it.

    The column is `cluster`, otherwise the first of `usual` whose values divide the rows. A column with a
    single value, or whose values never repeat, divides nothing.

    Raises:
        LoraJaxError: The file has no column `cluster`.
    """
    if cluster is not None:
        column = rename.get(cluster, cluster)
        if column not in header:
            raise LoraJaxError(
                f"{source} has no column {cluster!r}{nearest(cluster, header)}: name one to cluster by."
            )
        return tuple(row.get(column, "") for _, row in rows)
    for column in (name for name in usual if name in header):
        labels = tuple(row.get(column, "") for _, row in rows)
        if 1 < len(set(labels)) < len(labels):
            return labels
    return None
