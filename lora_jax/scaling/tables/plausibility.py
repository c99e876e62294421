"""Are N, D and C what their names say?

We compare C with 6ND, and each with the models and budgets that exist.

This finds a wrong unit, whatever the column is called. If a factor makes everything fit, we refuse the table
and name the factor. What no unit explains becomes a doubt, and every verdict begins with it
(`RunTable.doubts`).
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.columns import N_COLUMNS
from lora_jax.scaling.tables.run_table import Array, RunTable
from lora_jax.scaling.tables.units import PLAIN, Unit, format_factor

# C / 6ND of correct tables. Attention, head and embeddings of small models make it larger than 1. A count of
# N with embeddings makes it smaller. (.6 to 2.8 in our own sweeps of models from 3.5 thousand parameters.)
RATIO = (0.5, 3.0)
NEAR = (0.7, 1.5)  # where the median must be once a wrong unit is put right
EVEN, EXACT = 1.01, 0.02  # a ratio that is equal in all runs must then be 1: 1024 is a length and no unit
FEW = 0.2  # share of the runs up to which a message names them one by one
# No language model lies outside these. Published tables have 3e5 to 2e10 parameters, ours from 3.5e3. Their D
# is 5e6 to 5e12, ours from 1.3e5. Their C is 1e15 to 4e23, ours from 7.6e9.
LIMITS = {"N": (1e3, 1e14), "D": (1e4, 1e17), "C": (1e8, 1e30)}
WORDS = {"N": "parameters", "D": "tokens", "C": "FLOPs"}
LOGARITHMS = {"N": (4, 13), "D": (6, 16), "C": (12, 29)}  # logarithms to base 10 of the usual values
FRACTIONS = 1e5  # a count below this is a whole number
TOKENS_PER_PARAMETER = (1e-3, 1e6)  # of any run; published: .006 to 6.4e4
USUAL = (0.02, 2e4)  # of the median run
TRAINABLE = ("trainable_params", "n_trainable")
# if less than this share of N is trained, a run is fine-tuning, which has few tokens and costs less than 6ND
FROZEN = 0.9
UNITS = {
    "N": ((1e3, 1e6, 1e9), (10.0, math.e)),
    "D": ((1e3, 1e6, 1e9, 1e12), (10.0, math.e)),
    "C": ((1e3, 1e6, 1e9, 1e12, 1e15, 1e18, 1e21, 8.64e16, 8.64e19), (10.0, math.e)),
}
NAMES = {
    1e3: "thousands",
    1e6: "millions",
    1e9: "billions",
    1e12: "trillions",
    1e15: "PFLOPs",
    1e18: "EFLOPs",
    1e21: "ZFLOPs",
    8.64e16: "TF-days",
    8.64e19: "PF-days",
}
OF_C = {1e3: "kFLOPs", 1e6: "MFLOPs", 1e9: "GFLOPs", 1e12: "TFLOPs"}


def question(
    table: RunTable,
    given: Collection[str] | None = None,
    names: Mapping[str, str] | None = None,
    *,
    refuse: bool = True,
) -> RunTable:
    """Return the table with its doubts about N, D and C.

    Args:
        table: The runs.
        given: Our columns that the file has. Others were derived. None takes all.
        names: For each of our names, the file's, as a mapping writes it.
        refuse: Whether to raise if a unit puts C / 6ND right. Otherwise that is a doubt too.

    Raises:
        LoraJaxError: A unit puts C / 6ND right, and `refuse` is set.
    """
    given = table.columns if given is None else given
    doubts = [
        *_ratios(table, names or {}, refuse),
        *table.doubts,
        *_magnitudes(table, given, names or {}),
    ]
    return replace(table, doubts=tuple(dict.fromkeys(doubts)))


def _ratios(table: RunTable, names: Mapping[str, str], refuse: bool) -> list[str]:
    """Compare every column of C with 6ND, by the convention of N that comes nearest."""
    if not table.has("D") or _is_finetuning(table):
        return []
    sizes = [name for name in dict.fromkeys((table.n_column, *N_COLUMNS)) if name in table.columns]
    doubts: list[str] = []
    for column in dict.fromkeys((table.flops_column, "flops", "flops_exact")):
        if column not in table.columns or not sizes:
            continue
        found = {name: table[column] / (6 * table[name] * table.variable("D")) for name in sizes}
        name = min(found, key=lambda n: float(np.abs(np.log(found[n])).max()))
        ratio = found[name]
        if RATIO[0] <= ratio.min() and ratio.max() <= RATIO[1]:
            continue
        quantities = {"N": table[name], "D": table.variable("D"), "C": table[column]}
        columns = {"N": name, "D": "n_tokens", "C": column}
        ways = _ways(quantities)
        told = _in_units(ratio, ways, columns, names)
        if ways and refuse:
            raise LoraJaxError(f"{table.source} has {told}: map the column in its unit.")
        doubts.append(told if ways else _in_words(table, ratio, "C" if column != "flops_exact" else column))
    return doubts


def _is_finetuning(table: RunTable) -> bool:
    trained = [table[name] for name in TRAINABLE if name in table.columns and table.has("N")]
    return "finetune_tokens" in table.columns or any(
        (x < FROZEN * table.variable("N")).any() for x in trained
    )


def _ways(quantities: Mapping[str, Array]) -> list[dict[str, Unit]]:
    """Return the ways to put C / 6ND right by the fewest units of N, D and C."""
    for count in (1, 2, 3):
        ways = [way for way in _units(count) if _fits(quantities, way)]
        if ways:  # prefer ways that have one unit for all
            return sorted(ways, key=lambda way: len({(unit.factor, unit.base) for unit in way.values()}))
    return []


def _units(count: int) -> Iterator[dict[str, Unit]]:
    choices = {
        v: (PLAIN, *map(Unit, factors), *(Unit(base=base) for base in bases))
        for v, (factors, bases) in UNITS.items()
    }
    for n in choices["N"]:
        for d in choices["D"]:
            for c in choices["C"]:
                if sum(not unit.is_plain for unit in (n, d, c)) == count:
                    yield {v: unit for v, unit in zip("NDC", (n, d, c), strict=True) if not unit.is_plain}


def _fits(quantities: Mapping[str, Array], way: Mapping[str, Unit]) -> bool:
    there = {v: way[v].value(x) if v in way else x for v, x in quantities.items()}
    with np.errstate(all="ignore"):
        ratio = there["C"] / (6 * there["N"] * there["D"])
    if not (RATIO[0] <= ratio.min() and ratio.max() <= RATIO[1]):
        return False
    if not NEAR[0] <= np.median(ratio) <= NEAR[1]:
        return False
    if ratio.max() < EVEN * ratio.min() and abs(float(np.median(ratio)) - 1) > EXACT:
        return False
    low, high = TOKENS_PER_PARAMETER
    each = there["D"] / there["N"]
    return bool(
        all(LIMITS[v][0] <= x.min() and x.max() <= LIMITS[v][1] for v, x in there.items())
        and low <= each.min()
        and each.max() <= high
    )


def _in_units(
    ratio: Array,
    ways: list[dict[str, Unit]],
    columns: Mapping[str, str],
    names: Mapping[str, str],
) -> str:
    told = []
    for way in ways[:3]:
        units = " and ".join(f"{v} is in {_name(v, unit)}" for v, unit in way.items())
        maps = " ".join(
            f"{columns[v]}='{unit.formula(names.get(columns[v], columns[v]))}'" for v, unit in way.items()
        )
        told.append(f"{units} (--map {maps})")
    return f"C / 6ND {_range(ratio)}, which is right if {', or if '.join(told)}"


def _name(variable: str, unit: Unit) -> str:
    if unit.base is not None:
        return "logarithms to base 10" if unit.base == 10 else "natural logarithms"
    known = OF_C.get(unit.factor) if variable == "C" else None
    return known or NAMES.get(unit.factor) or f"units of {format_factor(unit.factor)}"


def _range(ratio: Array) -> str:
    low, high = float(ratio.min()), float(ratio.max())
    return f"= {low:.3g} in every run" if high < EVEN * low else f"from {low:.3g} to {high:.3g}"


def _in_words(table: RunTable, ratio: Array, column: str) -> str:
    outside = (ratio < RATIO[0]) | (ratio > RATIO[1])
    if outside.sum() <= FEW * len(table):
        named = [f"{ratio[i]:.3g} in {table.run_ids[i]}" for i in np.flatnonzero(outside)]
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        return (
            f"{column} / 6ND is {', '.join(named[:3])}{more} and {RATIO[0]:g} to {RATIO[1]:g} in the other"
            " runs: N, D or C of these is not what was trained"
        )
    if ratio.max() < EVEN * ratio.min():
        middle = float(np.median(ratio))
        forward = " (2ND is the forward pass alone)" if abs(3 * middle - 1) < EXACT else ""
        return f"{column} / 6ND is {middle:.3g} in every run: N, D or C is counted otherwise{forward}"
    return (
        f"{column} / 6ND runs from {float(ratio.min()):.2g} to {float(ratio.max()):.2g}: D or C is counted"
        " otherwise"
    )


def _magnitudes(table: RunTable, given: Collection[str], names: Mapping[str, str]) -> list[str]:
    finetuning = _is_finetuning(table)
    there = {v: table.variable(v) for v in ("N", "D", "C") if table.has(v) and len(table)}
    doubts: dict[str, str] = {}
    for v, x in there.items():
        if (finetuning and v != "N") or (v == "C" and doubts and table.column_of("C") not in given):
            continue
        low, high = LIMITS[v]
        # few digits after the point suggest millions; many digits come from a formula
        broken = v == "N" and bool(((x < FRACTIONS) & (x != np.floor(x)) & (np.round(x, 3) == x)).any())
        if x.min() < low or x.max() > high or broken:
            doubts[v] = _doubt(table, v, x, given, names)
    if "N" in there and "D" in there and not {"N", "D"} & set(doubts) and not finetuning:
        each = there["D"] / there["N"]
        middle = float(np.median(each))
        usual = USUAL[0] <= middle <= USUAL[1]
        if not usual or each.min() < TOKENS_PER_PARAMETER[0] or each.max() > TOKENS_PER_PARAMETER[1]:
            doubts["D/N"] = (
                f"D / N runs from {each.min():.2g} to {each.max():.2g} tokens a parameter (median"
                f" {middle:.2g}): N, D or C is in another unit"
            )
    return list(doubts.values())


def _doubt(table: RunTable, v: str, x: Array, given: Collection[str], names: Mapping[str, str]) -> str:
    column = table.column_of(v)
    span = f"from {x.min():.3g} to {x.max():.3g}" if x.max() > x.min() else f"{x.max():.3g} everywhere"
    if column not in given:
        others = " and ".join(other for other in "NDC" if other != v)
        return f"{v} is derived and runs {span} {WORDS[v]}: {others} are in other units than they seem"
    low, high = LOGARITHMS[v]
    if low <= x.min() and x.max() <= high and (x != np.round(x)).any():
        unit = Unit(base=10.0)
    else:
        unit = Unit({"N": 1e9 if x.max() < 50 else 1e6, "D": 1e9 if x.max() < 1e4 else 1e6, "C": 1e18}[v])
    return (
        f"{v} runs {span}, which is no number of {WORDS[v]}: say its unit, as --map"
        f" {column}='{unit.formula(names.get(column, column))}'"
    )
