"""What the trials of `latency` say: medians, overheads in pairs, and whether the paper's claims came out."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from benchmarks.figures import Provenance
from benchmarks.latency import ADAPTER_H, ADAPTER_L, BASE, MERGED, N_UNTIMED, UNMERGED, Timed
from benchmarks.medians import estimate_median
from lora_jax.config import ModelConfig, to_dict
from lora_jax.model.declare import declare
from lora_jax.model.transformer import compute_dtype
from lora_jax.params import count
from lora_jax.percent import percent
from lora_jax.report.latency.results import (
    CAME_OUT,
    DID_NOT,
    FORMAT,
    KIND,
    UNDECIDED,
    LatencyTable,
    Median,
    SizeTimes,
    Statement,
    VariantTimes,
)
from lora_jax.report.latency.rows import show_overhead, show_time
from lora_jax.timing import divide

EQUAL = 0.01  # the paired interval of two that take the same time lies within so much of zero


@dataclass(frozen=True)
class Column:
    """A column of Table 1 of arXiv 2106.09685: milliseconds of the base, and what each adapter adds to it."""

    label: str
    milliseconds: float
    overheads: Mapping[str, float]


PAPER = (
    Column("32 x 512", 1449.4, {ADAPTER_L: 0.022, ADAPTER_H: 0.030}),
    Column("16 x 256", 338.0, {ADAPTER_L: 0.050, ADAPTER_H: 0.084}),
    Column("1 x 128", 19.8, {ADAPTER_L: 0.207, ADAPTER_H: 0.303}),
)


def make_table(
    provenance: Provenance, model: ModelConfig, divisor: int, seed: int, timed: Sequence[Timed]
) -> LatencyTable:
    """Return everything: the trials, what they say, and where they come from.

    timed: in the order of PAPER, from the largest pass to the smallest.
    """
    sizes = tuple(make_size(one, column) for one, column in zip(timed, PAPER, strict=True))
    return LatencyTable(
        kind=KIND,
        format=FORMAT,
        **vars(provenance),
        divisor=divisor,
        seed=seed,
        n_trials=len(timed[0][BASE].seconds),
        n_untimed=N_UNTIMED,
        model=to_dict(model),
        n_params=count(declare(model)),
        dtype=str(compute_dtype(model)),
        sizes=sizes,
        statements=(state_merged(sizes), state_growth(sizes), state_order(sizes), state_unmerged(sizes)),
    )


def make_size(timed: Timed, column: Column) -> SizeTimes:
    """Return one size: each variant with its trials, their median, and its overhead, paired with the base."""
    base = timed[BASE].seconds
    variants = tuple(
        VariantTimes(
            name=variant.name,
            method=None if variant.method is None else to_dict(variant.method),
            n_added=variant.n_added,
            time=estimate_median(variant.seconds),
            overhead=None if variant.name == BASE else estimate_overhead(variant.seconds, base),
            paper_overhead=column.overheads.get(variant.name),
            seconds=variant.seconds,
        )
        for variant in timed.variants
    )
    return SizeTimes(
        label=timed.size.label,
        **asdict(timed.size),
        paper=column.label,
        paper_milliseconds=column.milliseconds,
        h_over_l=estimate_overhead(timed[ADAPTER_H].seconds, timed[ADAPTER_L].seconds),
        variants=variants,
    )


def estimate_overhead(seconds: Sequence[float], of_base: Sequence[float]) -> Median:
    """Return the median of ratios less one, both members of a ratio from one trial."""
    return estimate_median([ratio - 1 for ratio in divide(seconds, of_base)])


def state_merged(sizes: Sequence[SizeTimes]) -> Statement:
    """Do the intervals of the two medians overlap at every size?

    Wide intervals overlap, too: where the paired one does not lie within EQUAL of zero, nothing is decided.
    """
    parts, verdicts = [], []
    for size in sizes:
        base, merged, overhead = size[BASE].time, size[MERGED].time, size.overhead(MERGED)
        overlap = max(base.low, merged.low) <= min(base.high, merged.high)
        equal = all(abs(end) <= EQUAL for end in overhead.ci95)
        verdicts.append(DID_NOT if not overlap else CAME_OUT if equal else UNDECIDED)
        parts.append(
            f"at {size.label} merged LoRA takes {show_time(merged)} and the base {show_time(base)}."
            f" The intervals {'overlap' if overlap else 'do not overlap'}. In pairs, the difference is"
            f" {show_overhead(overhead)}"
        )
    claim = f"Merged LoRA takes the time of the base, to {percent(EQUAL, digits=6)}"
    return make_statement("merged", claim, summarise(verdicts), parts)


def state_growth(sizes: Sequence[SizeTimes]) -> Statement:
    """Does each adapter's overhead rise from size to size, its intervals apart?"""
    parts, verdicts = [], []
    for name in (ADAPTER_L, ADAPTER_H):
        overheads = [size.overhead(name) for size in sizes]
        steps = [compare(after, before) for before, after in itertools.pairwise(overheads)]
        verdicts += steps
        shown = [
            f"{show_overhead(overhead)} at {size.label}"
            for size, overhead in zip(sizes, overheads, strict=True)
        ]
        parts.append(f"{name} adds {', '.join(shown)}")
    claim = "The overhead of adapters grows as batch x sequence shrinks"
    return make_statement("growth", claim, summarise(verdicts), parts)


def state_order(sizes: Sequence[SizeTimes]) -> Statement:
    """Does AdapterH take longer than AdapterL, in pairs, at every size?"""
    shown = [f"{show_overhead(size.h_over_l)} at {size.label}" for size in sizes]
    parts = [f"AdapterH over AdapterL, in pairs: {', '.join(shown)}"]
    verdicts = [compare_with_zero(size.h_over_l) for size in sizes]
    return make_statement("order", "AdapterH takes longer than AdapterL", summarise(verdicts), parts)


def state_unmerged(sizes: Sequence[SizeTimes]) -> Statement:
    """Does LoRA beside its base take longer than the base? The paper does not time it."""
    overheads = [size.overhead(UNMERGED) for size in sizes]
    shown = [
        f"{show_overhead(overhead)} at {size.label}" for size, overhead in zip(sizes, overheads, strict=True)
    ]
    parts = [f"It adds {', '.join(shown)}"]
    claim = "LoRA that is not merged costs time"
    return make_statement("unmerged", claim, summarise([compare_with_zero(o) for o in overheads]), parts)


def compare(after: Median, before: Median) -> str:
    """Say whether one number is above another, both with intervals."""
    if after.low > before.high:
        return CAME_OUT
    return DID_NOT if after.high < before.low else UNDECIDED


def compare_with_zero(overhead: Median) -> str:
    return compare(overhead, Median(0.0, (0.0, 0.0)))


def summarise(verdicts: Sequence[str]) -> str:
    """One that is the other way round decides against, one that is open leaves it open."""
    return next((verdict for verdict in (DID_NOT, UNDECIDED) if verdict in verdicts), CAME_OUT)


def make_statement(key: str, claim: str, verdict: str, parts: Sequence[str]) -> Statement:
    evidence = " ".join(f"{part[0].upper()}{part[1:]}." for part in parts)
    return Statement(key, claim, verdict, f"{claim}: {verdict}. {evidence}")
