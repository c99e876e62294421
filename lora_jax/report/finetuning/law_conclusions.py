"""What a table of fine-tuning runs says, in sentences."""

from lora_jax.report.finetuning.law_rows import count, say_ends, say_place
from lora_jax.scaling.finetuning.results import Capacity, Crossover, FinetuningReport

MOST_PAIRS = 6


def summarise(report: FinetuningReport) -> list[str]:
    """Return the answer: which methods have laws, where they cross, from which rank LoRA is full's equal."""
    laws = [m for m in report.methods if m.law is not None]
    if not laws:
        why = next((m.no_law for m in report.methods if m.no_law is not None), "there are none")
        return [
            f"No method of {report.source} has a law: {why}. The table shows the lowest loss of each.",
            *map(_say_capacity, report.capacities),
        ]
    lines = [
        f"{len(laws)} of {len(report.methods)} methods of {report.source} have a law of"
        f" {' and '.join(_variables(report))}."
    ]
    if report.form_why and report.forms:
        lines.append(report.form_why)
    lines += [_say_pair(pair) for pair in report.crossovers[:MOST_PAIRS]]
    if len(report.crossovers) > MOST_PAIRS:
        lines.append(f"{len(report.crossovers) - MOST_PAIRS} more pairs are in the table.")
    lines += [_say_capacity(capacity) for capacity in report.capacities]
    lines += [
        f"{m.name} is left out of comparisons: {m.apart}." for m in report.methods if m.apart is not None
    ]
    return lines


def _variables(report: FinetuningReport) -> list[str]:
    formula = next((m.law.formula for m in report.methods if m.law is not None), "")
    return [v for v in (report.x, "F") if f"{v}^" in formula]


def _say_pair(pair: Crossover) -> str:
    names = f"{pair.first} and {pair.second}"
    known = [c for c in pair.crossings if c.found == "identified"]
    if known:
        c = known[len(known) // 2]
        places = f"{len(known)} of {len(pair.crossings)} places"
        more = f" The runs determine where they cross at {places}." if c.at else ""
        return (
            f"{names} cross at F = {count(c.finetune_tokens.value)} ({say_ends(c.finetune_tokens)}) where"
            f" {say_place(c.at)}. Above that F, {c.above} is better.{more}"
        )
    better = {c.above for c in pair.crossings if c.found == "none"}
    if len(better) == 1 and all(c.found == "none" for c in pair.crossings):
        return f"{names} do not cross within the runs: {next(iter(better))} is better everywhere."
    if any(c.found == "extrapolated" for c in pair.crossings):
        return f"{names} cross only at an F outside the runs, by extrapolation, or the runs cannot tell."
    return f"These runs do not determine where {names} cross."


def _say_capacity(capacity: Capacity) -> str:
    if capacity.missing is not None:
        return f"The runs do not determine the capacity of {capacity.method}: {capacity.missing}."
    inside = [knee for knee in capacity.knees if knee.found == "identified"]
    if not inside:
        return f"{capacity.method} falls behind {capacity.full} only at ranks outside those of the runs."
    knee = inside[len(inside) // 2]
    return (
        f"{capacity.method} falls behind {capacity.full} below rank {count(knee.rank.value)}"
        f" ({say_ends(knee.rank)}) where {say_place(knee.at)}."
    )
