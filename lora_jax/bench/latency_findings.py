"""What the trials of `latency` say: medians, overheads in pairs, and whether the paper's claims came out."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lora_jax.bench.figures import Provenance
from lora_jax.bench.latency import ADAPTER_H, ADAPTER_L, BASE, MERGED, N_UNTIMED, UNMERGED, Timed
from lora_jax.bench.medians import estimate_median
from lora_jax.bench.timing import divide
from lora_jax.config import ModelConfig, to_dict
from lora_jax.model.declare import declare
from lora_jax.model.transformer import compute_dtype
from lora_jax.params import count
from lora_jax.report.latency_rows import show_overhead, show_time

FORMAT = 1  # of latency.json
CAME_OUT, DID_NOT, UNDECIDED = "came out", "did not come out", "is not decided"
EQUAL = 0.01  # the paired interval of two that take the same time lies within so much of zero
# Table 1 of arXiv 2106.09685: milliseconds of the base, and what each adapter adds to it
PAPER: dict[str, dict[str, Any]] = {
    "32 x 512": {"milliseconds": 1449.4, "overhead": {ADAPTER_L: 0.022, ADAPTER_H: 0.030}},
    "16 x 256": {"milliseconds": 338.0, "overhead": {ADAPTER_L: 0.050, ADAPTER_H: 0.084}},
    "1 x 128": {"milliseconds": 19.8, "overhead": {ADAPTER_L: 0.207, ADAPTER_H: 0.303}},
}


def make_document(
    provenance: Provenance, model: ModelConfig, divisor: int, seed: int, timed: Sequence[Timed]
) -> dict[str, Any]:
    """Return everything as plain values: the trials, what they say, and where they come from.

    timed: in the order of PAPER, from the largest pass to the smallest.
    """
    sizes = [make_size(one, paper, PAPER[paper]) for one, paper in zip(timed, PAPER, strict=True)]
    return {
        "kind": "latency",
        "format": FORMAT,
        **asdict(provenance),
        "divisor": divisor,
        "seed": seed,
        "n_trials": len(timed[0][BASE].seconds),
        "n_untimed": N_UNTIMED,
        "model": to_dict(model),
        "n_params": count(declare(model)),
        "dtype": str(compute_dtype(model)),
        "sizes": sizes,
        "statements": [
            state_merged(sizes), state_growth(sizes), state_order(sizes), state_unmerged(sizes),
        ],
    }  # fmt: skip


def make_size(timed: Timed, paper: str, published: Mapping[str, Any]) -> dict[str, Any]:
    """Return one size: each variant with its trials, their median, and its overhead, paired with the base."""
    base = timed[BASE].seconds
    variants = []
    for variant in timed.variants:
        variants.append({
            "name": variant.name,
            "method": None if variant.method is None else to_dict(variant.method),
            "n_added": variant.n_added,
            "time": estimate_median(variant.seconds),
            "overhead": None if variant.name == BASE else estimate_overhead(variant.seconds, base),
            "paper_overhead": published["overhead"].get(variant.name),
            "seconds": list(variant.seconds),
        })  # fmt: skip
    return {
        "label": timed.size.label,
        **asdict(timed.size),
        "paper": paper,
        "paper_milliseconds": published["milliseconds"],
        "h_over_l": estimate_overhead(timed[ADAPTER_H].seconds, timed[ADAPTER_L].seconds),
        "variants": variants,
    }


def estimate_overhead(seconds: Sequence[float], of_base: Sequence[float]) -> dict[str, Any]:
    """Return the median of ratios less one, both members of a ratio from one trial."""
    return estimate_median([ratio - 1 for ratio in divide(seconds, of_base)])


def find(size: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(variant for variant in size["variants"] if variant["name"] == name)


def state_merged(sizes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Do the intervals of the two medians overlap at every size?

    Wide intervals overlap, too: where the paired one does not lie within EQUAL of zero, nothing is decided.
    """
    parts, verdicts = [], []
    for size in sizes:
        base, merged = find(size, BASE)["time"], find(size, MERGED)
        low, high = (sorted(ends) for ends in zip(base["ci95"], merged["time"]["ci95"], strict=True))
        overlap = low[-1] <= high[0]
        equal = all(abs(end) <= EQUAL for end in merged["overhead"]["ci95"])
        verdicts.append(DID_NOT if not overlap else CAME_OUT if equal else UNDECIDED)
        parts.append(
            f"at {size['label']} {show_time(merged['time'])} and the base {show_time(base)}, intervals that"
            f" {'overlap' if overlap else 'do not overlap'}; in pairs {show_overhead(merged['overhead'])}"
        )
    claim = f"Merged LoRA takes the time of the base, to {100 * EQUAL:g} %"
    return make_statement("merged", claim, summarise(verdicts), parts)


def state_growth(sizes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Does each adapter's overhead rise from size to size, its intervals apart?"""
    parts, verdicts = [], []
    for name in (ADAPTER_L, ADAPTER_H):
        overheads = [find(size, name)["overhead"] for size in sizes]
        steps = [compare(after, before) for before, after in itertools.pairwise(overheads)]
        verdicts += steps
        shown = [
            f"{show_overhead(overhead)} at {size['label']}"
            for size, overhead in zip(sizes, overheads, strict=True)
        ]
        parts.append(f"{name} adds {', '.join(shown)}")
    claim = "The overhead of adapters grows as batch x sequence shrinks"
    return make_statement("growth", claim, summarise(verdicts), parts)


def state_order(sizes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Does AdapterH take longer than AdapterL, in pairs, at every size?"""
    parts = [f"{show_overhead(size['h_over_l'])} at {size['label']}" for size in sizes]
    parts[0] = f"AdapterH over AdapterL, in pairs: {parts[0]}"
    verdicts = [compare_with_zero(size["h_over_l"]) for size in sizes]
    return make_statement("order", "AdapterH takes longer than AdapterL", summarise(verdicts), parts)


def state_unmerged(sizes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Does LoRA beside its base take longer than the base? The paper does not time it."""
    overheads = [find(size, UNMERGED)["overhead"] for size in sizes]
    parts = [
        f"{show_overhead(overhead)} over the base at {size['label']}"
        for size, overhead in zip(sizes, overheads, strict=True)
    ]
    claim = "LoRA that is not merged costs time"
    return make_statement("unmerged", claim, summarise([compare_with_zero(o) for o in overheads]), parts)


def compare(after: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """Say whether one number is above another, both with intervals."""
    if after["ci95"][0] > before["ci95"][1]:
        return CAME_OUT
    return DID_NOT if after["ci95"][1] < before["ci95"][0] else UNDECIDED


def compare_with_zero(overhead: Mapping[str, Any]) -> str:
    return compare(overhead, {"ci95": [0.0, 0.0]})


def summarise(verdicts: Sequence[str]) -> str:
    """One that is the other way round decides against, one that is open leaves it open."""
    return next((verdict for verdict in (DID_NOT, UNDECIDED) if verdict in verdicts), CAME_OUT)


def make_statement(key: str, claim: str, verdict: str, parts: Sequence[str]) -> dict[str, str]:
    evidence = "; ".join(parts)
    words = f"{claim}: {verdict}. {evidence[0].upper()}{evidence[1:]}."
    return {"key": key, "claim": claim, "verdict": verdict, "words": words}
