"""Low-rank methods by what they adapt: which matrices, at one budget of parameters, and how much rank.

The questions of tables 5 and 6 of Hu et al. 2021 (arXiv 2106.09685), asked of any sweep whose low-rank
methods differ in their targets. Axes: S seeds, N test examples.
"""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lora_jax.scaling.methods.target_words import say_target_sets
from lora_jax.scaling.methods.uncertainty import Array, holm, paired_difference

TOLERANCE = 0.1  # sets whose parameters differ by no more, as a share of the largest, have one budget
FEWEST_SETS, FEWEST_RANKS = 3, 3
# Targets that are one matrix, of a block or of the model.
SINGLE = ("q", "k", "v", "o", "up", "gate", "down", "embedding", "head")
SIZES = ("rank", "alpha", "targets")
Method = Mapping[str, Any]


def compare_target_sets(
    methods: Sequence[Method], values_of: Callable[[str], Array], of: str | None, larger_is_better: bool
) -> dict[str, Any] | None:
    """Return the part `target_sets` of comparison.json; None where low-rank methods do not differ in targets.

    methods: of comparison.json. values_of: a run's test values (N,) by its run_id. of: what these are, None:
    no measure of the score, so that nothing can be paired.

        of, unit ("points": of a score from 0 to 1, in percent; "nats")
        budget null (fewer than three sets of one size) or {
            n_least, n_most (trainable parameters), sets [{label, name, rank, n_trainable}] the best first,
            several_less_single, softmax_less_other: a contrast or null
            pairs [{label, over, ...contrast, after_holm}] of every two sets, the better of the two first
        }
        ranks [{name, labels (by rank), ranks, growth (contrast of the largest less the smallest rank, or
            null)}] of sets with three ranks and more
        sentences [what came out]

    A contrast: {more [labels], less [labels], value, se, ci95, p, n_seeds, distinguishable}, the mean of some
    methods less the mean of others, paired by seed and test example. several: more than one matrix a block.
    softmax: q or k alone, other: one other matrix alone.
    """
    members = _low_rank(methods)
    if len({set_name(m) for m in members}) < 2:
        return None
    of_method = {m["label"]: m for m in members}

    def contrast(more: Sequence[Method], less: Sequence[Method]) -> dict[str, Any] | None:
        return _contrast(more, less, values_of) if of and more and less else None

    budget = _find_budget(members)
    found = {
        "of": of, "unit": "points" if larger_is_better else "nats", "larger_is_better": larger_is_better,
        "budget": _describe_budget(budget, contrast, larger_is_better) if budget else None,
        "ranks": [_describe_ranks(line, contrast) for line in _find_lines(members)],
    }  # fmt: skip
    return {**found, "sentences": say_target_sets(found, of_method)}


def set_name(method: Method) -> str:
    """Return what a method's targets are called: "qv", "mlp", "q+down"."""
    targets = list(method["method"]["targets"])
    return "".join(targets) if all(len(name) == 1 for name in targets) else "+".join(targets)


def _low_rank(methods: Sequence[Method]) -> list[Method]:
    """Return the scored methods of the largest family that differ in targets, rank and alpha alone."""
    families: dict[str, list[Method]] = {}
    for method in methods:
        config = method["method"]
        if method["score"] is None or "targets" not in config or "rank" not in config or config.get("ranks"):
            continue
        rest = {name: value for name, value in config.items() if name not in SIZES}
        families.setdefault(json.dumps(rest, sort_keys=True), []).append(method)
    return max(families.values(), key=len, default=[])


def _find_budget(members: Sequence[Method]) -> list[Method]:
    """Return a method of each set, of sizes within TOLERANCE; of all such, the one of the most sets."""
    best: list[Method] = []
    for largest in members:
        size, chosen = largest["n_trainable"], {}
        for method in members:
            name, n = set_name(method), method["n_trainable"]
            in_budget = size * (1 - TOLERANCE) <= n <= size
            if in_budget and (name not in chosen or chosen[name]["n_trainable"] < n):
                chosen[name] = method
        if (len(chosen), -_spread(chosen.values())) > (len(best), -_spread(best)):
            best = list(chosen.values())
    return best if len(best) >= FEWEST_SETS else []


def _spread(methods: Any) -> float:
    sizes = [method["n_trainable"] for method in methods]
    return max(sizes) / min(sizes) if sizes else np.inf


def _describe_budget(
    budget: Sequence[Method], contrast: Callable[..., dict[str, Any] | None], larger_is_better: bool
) -> dict[str, Any]:
    sign = -1 if larger_is_better else 1
    ordered = sorted(budget, key=lambda m: sign * m["score"]["value"])
    single = [m for m in ordered if _is_single(m)]
    several = [m for m in ordered if not _is_single(m)]
    softmax = [m for m in single if set_name(m) in ("q", "k")]
    other = [m for m in single if m not in softmax]
    pairs = [
        {"label": one["label"], "over": two["label"], **found}
        for one, two in itertools.combinations(ordered, 2) if (found := contrast([one], [two])) is not None
    ]  # fmt: skip
    stands = holm([pair["p"] for pair in pairs])
    for pair, after in zip(pairs, stands, strict=True):
        pair["after_holm"] = pair["distinguishable"] and after
    sizes = [m["n_trainable"] for m in budget]
    return {
        "n_least": min(sizes), "n_most": max(sizes),
        "sets": [
            {"label": m["label"], "name": set_name(m), "rank": m["method"]["rank"],
             "n_trainable": m["n_trainable"]}
            for m in ordered
        ],
        "several_less_single": contrast(several, single), "softmax_less_other": contrast(softmax, other),
        "pairs": pairs,
    }  # fmt: skip


def _is_single(method: Method) -> bool:
    targets = method["method"]["targets"]
    return len(targets) == 1 and targets[0] in SINGLE


def _find_lines(members: Sequence[Method]) -> list[list[Method]]:
    """Return the methods of each set that has FEWEST_RANKS and more, by rank."""
    lines: dict[str, list[Method]] = {}
    for method in members:
        lines.setdefault(set_name(method), []).append(method)
    by_rank = [sorted(line, key=lambda m: m["method"]["rank"]) for line in lines.values()]
    return [line for line in by_rank if len({m["method"]["rank"] for m in line}) >= FEWEST_RANKS]


def _describe_ranks(line: Sequence[Method], contrast: Callable[..., dict[str, Any] | None]) -> dict[str, Any]:
    return {
        "name": set_name(line[0]), "labels": [m["label"] for m in line],
        "ranks": [m["method"]["rank"] for m in line], "growth": contrast([line[-1]], [line[0]]),
    }  # fmt: skip


def _contrast(
    more: Sequence[Method], less: Sequence[Method], values_of: Callable[[str], Array]
) -> dict[str, Any] | None:
    """Return the mean of some methods less the mean of others, over the seeds that all have."""
    every = [dict(zip(m["seeds"], m["run_ids"], strict=True)) for m in [*more, *less]]
    seeds = sorted(set.intersection(*(set(runs) for runs in every)))
    if not seeds:
        return None
    values_MSN = np.array([[values_of(runs[seed]) for seed in seeds] for runs in every])
    found = paired_difference(values_MSN[: len(more)].mean(0) - values_MSN[len(more) :].mean(0))
    low, high = found["ci95"]
    names = {"more": [m["label"] for m in more], "less": [m["label"] for m in less]}
    return {**names, **found, "n_seeds": len(seeds), "distinguishable": not low <= 0 <= high}
