"""Whose column is which: names, formulas, the unit of the loss, between a file and the table made of it."""

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

CLUSTER_COLUMNS = ("trunk_id", "run_name", "run")  # one training run each, where values repeat
SHOWN = 5  # units that a sentence names


def unit_of(text: str) -> str:
    unit = UNIT_SPELLINGS.get(text.strip().lower())
    if unit is None:
        raise LoraJaxError(f"A loss in {text!r} means nothing here{nearest(text, UNIT_SPELLINGS)}: use one.")
    return unit


def name_columns(file: File, mapping: Mapping[str, str], unit: str, needs_loss: bool = True) -> Naming:
    """Return which column each of our names is: mapped, named as ours, or by another name (synonyms.py).

    Raises LoraJaxError for a mapping from or to nothing, for two columns that could be one of ours and
    differ, for a logarithm to an unknown base, and where there is no loss though one is needed.
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
    """Enter one mapping, a column's name or a formula on it."""
    known = (*KNOWN, *TEXTS)
    if ours not in known:
        raise LoraJaxError(f"Column {ours!r} means nothing here{nearest(ours, known)}: map one of these.")
    if ours in TEXTS and not text:
        return  # "status=": no column is one
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
    """Return what a condition may name: the file's columns, ours, those that are derived, and letters."""
    return list(dict.fromkeys([*rename, *header, *NEEDED, *VARIABLES]))


def check_unit(source: str, rows: Rows, rename: Mapping[str, str], unit: str) -> None:
    """Refuse rows of several units, and a unit that the table names and that is not the one asked for."""
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
    """Return each row's training run, from the named column, or from a `usual` one that divides the rows.

    One that has a single value, or never the same twice, divides nothing.
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
