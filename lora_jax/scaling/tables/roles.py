"""Which column is the loss, N, D or C, if there is no mapping and no column has our name."""

from collections.abc import Mapping

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.tables.columns import BITS, NATS
from lora_jax.scaling.tables.conversion import File, Naming, convert
from lora_jax.scaling.tables.number_text import is_ambiguous, read_count
from lora_jax.scaling.tables.synonyms import Meaning, meaning_of
from lora_jax.scaling.tables.units import Unit, has_prefixed_flops, refuse_log

LOSS_COLUMNS = {NATS: ("loss", "heldout_loss"), BITS: ("bits_per_byte", "loss")}  # the first that a file has
SAME = 0.005  # relative difference up to which two columns agree: "params (M)" is rounded
SMALL_LETTERS = {"n": "n_params", "d": "n_tokens", "c": "flops"}  # they count only if two of them are there


def find_loss(
    naming: Naming, file: File, meanings: Mapping[str, Meaning], unit: str, needed: bool = True
) -> None:
    """Find the column of the loss, and say which of several we use.

    Raises:
        LoraJaxError: The loss is missing though it is needed, is in another unit, or could be one of several
            columns that differ.
    """
    if "loss" in naming.mapped:
        found = meaning_of(naming.rename["loss"])
        if unit == NATS and found is not None and (found.group == "bits" or found.loss_unit == BITS):
            naming.notes.append(
                f"The loss is column {naming.rename['loss']!r}, which seems to be in bits per byte: if so,"
                " say --loss-unit bpb."
            )
        return
    groups = ("loss", "bits") if unit == BITS else ("loss",)
    exact = next((name for name in LOSS_COLUMNS[unit] if name in file.header), None)
    others = {n: m for n, m in meanings.items() if m.group in groups and n != exact}
    if exact is not None:
        naming.rename["loss"] = exact
        for name in others:
            naming.notes.append(f"The loss is column {exact!r}; {name!r} would be --map loss={name!r}.")
        return
    for name, meaning in others.items():
        if meaning.loss_unit not in (None, unit):
            raise LoraJaxError(
                f"{file.source} has its loss in {name!r}: say --loss-unit {meaning.loss_unit!r}."
            )
    if not others and not needed:
        return
    if not others:
        raise _no_loss(file, meanings, unit)
    bits = {n: m for n, m in others.items() if m.group == "bits"}
    assign_role(naming, file, {n: Meaning("loss", m.unit) for n, m in (bits or others).items()})


def _no_loss(file: File, meanings: Mapping[str, Meaning], unit: str) -> LoraJaxError:
    header = file.header
    wanted = LOSS_COLUMNS[unit][0]
    bits = next(
        (n for n in header if n == "bits_per_byte" or (n in meanings and meanings[n].group == "bits")), None
    )
    if bits is not None:
        said = f"{file.source} has no column {wanted!r}, and {bits!r} in bits per byte: read it with"
        return LoraJaxError(
            f"{said} --loss-unit bpb (loss_unit='bpb' in Python), or name a loss in nats per token, as"
            " --map loss=<column>."
        )
    likely = [name for name in header if "loss" in name.lower()]
    example = repr(likely[0]) if likely else "<column>"
    return LoraJaxError(
        f"{file.source} has no column {wanted!r}{nearest(wanted, header)}: map one to it, as loss={example}."
    )


def assign_role(naming: Naming, file: File, found: Mapping[str, Meaning]) -> None:
    """Enter the column that was found, or the first of several that agree.

    Raises:
        LoraJaxError: Two columns differ, or the column is a logarithm to an unknown base.
    """
    if not found:
        return
    # a count in our unit comes before the same in millions, which is rounded
    (column, meaning), *rest = sorted(found.items(), key=lambda item: not item[1].unit.is_plain)
    for name, other in rest:
        if not _agree(file, (column, meaning.unit), (name, other.unit)):
            ours, theirs = meaning.ours, other.ours
            ways = f"--map {ours}={column!r} or {theirs}={name!r}"
            raise LoraJaxError(
                f"{file.source} has columns {column!r} and {name!r}, which differ and of which either could"
                f" be {ours if ours == theirs else 'N'}: say which, as {ways}."
            )
    if meaning.unit.base != meaning.unit.base:
        raise refuse_log(file.source, column, meaning.ours)
    naming.rename[meaning.ours] = column
    if not meaning.unit.is_plain:
        naming.units[meaning.ours] = meaning.unit
        doubt_speed(naming, meaning.ours, column, meaning.unit)
    naming.known.append(f"{meaning.ours} is {_in_quotes(column, meaning.unit)}")


def doubt_speed(naming: Naming, ours: str, column: str, unit: Unit) -> None:
    """Add a doubt about GFLOPs that nobody confirmed.

    The same letters may mean a speed, or the compute of one token.
    """
    if has_prefixed_flops(column):
        naming.doubts.append(
            f"{ours} is {_in_quotes(column, unit)}, read off the column's name, which may also be a speed:"
            f" confirm it by --map {ours}={unit.formula(column)!r}"
        )


def _in_quotes(column: str, unit: Unit) -> str:
    return repr(column) if unit.is_plain else unit.formula(repr(column))


def small_letter(header: list[str], ours: str) -> dict[str, Meaning]:
    """Return a column `n`, `d` or `c` if another of the three is there too. Alone it could mean anything."""
    there = [name for name in header if name in SMALL_LETTERS]
    return {n: Meaning(ours) for n in there if SMALL_LETTERS[n] == ours and len(there) > 1}


def has_numbers(file: File, column: str) -> bool:
    """Return whether any cell of the column is a number."""
    cells = [row.get(column, "") for _, row in file.rows]
    return any(read_count(cell) is not None or is_ambiguous(cell) for cell in cells)


def _agree(file: File, first: tuple[str, Unit], second: tuple[str, Unit]) -> bool:
    """Return whether two columns have the same number in every row."""
    for _, row in file.rows:
        a, b = (read_count(convert(row.get(c, ""), unit)) for c, unit in (first, second))
        if a is None or b is None or not abs(a - b) <= SAME * abs(a):
            return False
    return True
