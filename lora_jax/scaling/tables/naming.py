"""Whose column is which: names and the unit of the loss, between a file and the table made of it."""

from collections.abc import Mapping

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.tables.columns import (
    ALTERNATIVES,
    BITS,
    KNOWN,
    NATS,
    NEEDED,
    UNIT_COLUMNS,
    UNIT_SPELLINGS,
    VARIABLES,
)
from lora_jax.scaling.tables.reading import Rows

CLUSTER_COLUMNS = ("trunk_id", "run_name", "run")  # one training run each, where values repeat
LOSS_COLUMNS = {NATS: ("loss", "heldout_loss"), BITS: ("bits_per_byte", "loss")}  # the first that a file has
SHOWN = 5  # units that a sentence names


def unit_of(text: str) -> str:
    unit = UNIT_SPELLINGS.get(text.strip().lower())
    if unit is None:
        raise LoraJaxError(f"A loss in {text!r} means nothing here{nearest(text, UNIT_SPELLINGS)}: use one.")
    return unit


def name_columns(source: str, header: list[str], mapping: Mapping[str, str], unit: str) -> dict[str, str]:
    """Return our name -> the file's name, for the columns that are there."""
    for ours, theirs in mapping.items():
        if ours not in KNOWN:
            raise LoraJaxError(f"Column {ours!r} means nothing here{nearest(ours, KNOWN)}: map one of these.")
        if theirs not in header:
            raise LoraJaxError(
                f"{source} has no column {theirs!r}{nearest(theirs, header)}: mend the mapping."
            )
    rename = {name: mapping.get(name, name) for name in KNOWN if mapping.get(name, name) in header}
    for theirs, ours in ALTERNATIVES.items():
        if ours not in rename and theirs in header:
            rename[ours] = theirs
    if "loss" not in mapping:
        found = next((name for name in LOSS_COLUMNS[unit] if name in header), None)
        if found is None:
            wanted = LOSS_COLUMNS[unit][0]
            other = " (it has bits_per_byte: ask for that unit)" if "bits_per_byte" in header else ""
            raise LoraJaxError(
                f"{source} has no column {wanted!r}{other or nearest(wanted, header)}: map one to it, as"
                " loss=<column>."
            )
        rename["loss"] = found
    if rename["loss"] == "heldout_loss" and "heldout_loss_se" in header:
        rename.setdefault("loss_se", "heldout_loss_se")
    return rename


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
