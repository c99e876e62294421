"""Low-rank methods by what they adapt: which matrices at one budget of parameters, and how much rank.

These are the questions of tables 5 and 6 of Hu et al. 2021 (arXiv 2106.09685). We ask them of any sweep whose
low-rank methods differ in their targets. Axes: S seeds, N test examples.
"""

import itertools
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np

from lora_jax.comparison.results import (
    Budget,
    Contrast,
    MethodResult,
    RankLine,
    SetPair,
    TargetSet,
    TargetSets,
)
from lora_jax.comparison.target_conclusions import say_target_sets
from lora_jax.comparison.uncertainty import Array, holm, paired_difference

TOLERANCE = 0.1  # sets have one budget if their parameters differ by at most this share of the largest
FEWEST_SETS, FEWEST_RANKS = 3, 3
# Targets that are a single matrix, of a block or of the model.
SINGLE = ("q", "k", "v", "o", "up", "gate", "down", "embedding", "head")
SIZES = ("rank", "alpha", "targets")
Contrasting = Callable[[Sequence[MethodResult], Sequence[MethodResult]], Contrast | None]


def compare_target_sets(
    methods: Sequence[MethodResult], values_of: Callable[[str], Array], of: str | None, larger_is_better: bool
) -> TargetSets | None:
    """Compare low-rank methods by the matrices that they adapt.

    Args:
        methods: The methods of a sweep.
        values_of: Returns the test values (N,) of a run, given its run_id.
        of: What these values are. None if they do not measure the score. Then nothing can be paired.
        larger_is_better: Whether a larger score is better.

    Returns:
        The comparison. None if the methods do not differ in their targets.
    """
    members = _low_rank(methods)
    if len({set_name(m) for m in members}) < 2:
        return None

    def contrast(more: Sequence[MethodResult], less: Sequence[MethodResult]) -> Contrast | None:
        return _contrast(more, less, values_of) if of and more and less else None

    budget = _find_budget(members)
    found = TargetSets(
        of=of,
        unit="points" if larger_is_better else "nats",
        larger_is_better=larger_is_better,
        budget=_describe_budget(budget, contrast, larger_is_better) if budget else None,
        ranks=tuple(_describe_ranks(line, contrast) for line in _find_lines(members)),
        sentences=(),
    )
    return replace(found, sentences=tuple(say_target_sets(found, {m.label: m for m in members})))


def set_name(method: MethodResult) -> str:
    """Return the name of a method's targets, such as "qv", "mlp" or "q+down"."""
    targets = method.targets
    return "".join(targets) if all(len(name) == 1 for name in targets) else "+".join(targets)


def _low_rank(methods: Sequence[MethodResult]) -> list[MethodResult]:
    """Return the scored methods of the largest family that differs only in targets, rank and alpha."""
    families: dict[str, list[MethodResult]] = {}
    for method in methods:
        if method.score is None or not method.has_one_rank:
            continue
        rest = {name: value for name, value in method.config.items() if name not in SIZES}
        families.setdefault(json.dumps(rest, sort_keys=True), []).append(method)
    return max(families.values(), key=len, default=[])


def _find_budget(members: Sequence[MethodResult]) -> list[MethodResult]:
    """Return one method for each set, with sizes within TOLERANCE.

    Of all such choices, take that with most sets.
    """
    best: list[MethodResult] = []
    for largest in members:
        size = largest.n_trainable
        chosen: dict[str, MethodResult] = {}
        for method in members:
            name, n = set_name(method), method.n_trainable
            in_budget = size * (1 - TOLERANCE) <= n <= size
            if in_budget and (name not in chosen or chosen[name].n_trainable < n):
                chosen[name] = method
        if (len(chosen), -_spread(chosen.values())) > (len(best), -_spread(best)):
            best = list(chosen.values())
    return best if len(best) >= FEWEST_SETS else []


def _spread(methods: Collection[MethodResult]) -> float:
    sizes = [method.n_trainable for method in methods]
    return max(sizes) / min(sizes) if sizes else np.inf


def _describe_budget(budget: Sequence[MethodResult], contrast: Contrasting, larger_is_better: bool) -> Budget:
    sign = -1 if larger_is_better else 1
    ordered = sorted(budget, key=lambda m: sign * m.finished_score.value)
    single = [m for m in ordered if _is_single(m)]
    several = [m for m in ordered if not _is_single(m)]
    softmax = [m for m in single if set_name(m) in ("q", "k")]
    other = [m for m in single if m not in softmax]
    sizes = [m.n_trainable for m in budget]
    return Budget(
        n_least=min(sizes),
        n_most=max(sizes),
        sets=tuple(TargetSet(m.label, set_name(m), m.rank, m.n_trainable) for m in ordered),
        several_less_single=contrast(several, single),
        softmax_less_other=contrast(softmax, other),
        pairs=_pair(ordered, contrast),
    )


def _pair(ordered: Sequence[MethodResult], contrast: Contrasting) -> tuple[SetPair, ...]:
    """Return every two sets that can be paired, the better of the two first."""
    pairs = [
        SetPair(
            found.value,
            found.se,
            found.ci95,
            p=found.p,
            more=found.more,
            less=found.less,
            n_seeds=found.n_seeds,
            label=one.label,
            over=two.label,
            after_holm=False,
        )
        for one, two in itertools.combinations(ordered, 2)
        if (found := contrast([one], [two])) is not None
    ]
    stands = holm([pair.p for pair in pairs])
    return tuple(
        replace(pair, after_holm=pair.distinguishable and after)
        for pair, after in zip(pairs, stands, strict=True)
    )


def _is_single(method: MethodResult) -> bool:
    return len(method.targets) == 1 and method.targets[0] in SINGLE


def _find_lines(members: Sequence[MethodResult]) -> list[list[MethodResult]]:
    """Return the methods of each set that has at least FEWEST_RANKS ranks, by rank."""
    lines: dict[str, list[MethodResult]] = {}
    for method in members:
        lines.setdefault(set_name(method), []).append(method)
    by_rank = [sorted(line, key=lambda m: m.rank) for line in lines.values()]
    return [line for line in by_rank if len({m.rank for m in line}) >= FEWEST_RANKS]


def _describe_ranks(line: Sequence[MethodResult], contrast: Contrasting) -> RankLine:
    return RankLine(
        name=set_name(line[0]),
        labels=tuple(m.label for m in line),
        ranks=tuple(m.rank for m in line),
        growth=contrast([line[-1]], [line[0]]),
    )


def _contrast(
    more: Sequence[MethodResult], less: Sequence[MethodResult], values_of: Callable[[str], Array]
) -> Contrast | None:
    """Return the mean of some methods less the mean of others, over the seeds that all of them have."""
    every = [dict(zip(m.seeds, m.run_ids, strict=True)) for m in [*more, *less]]
    seeds = sorted(set.intersection(*(set(runs) for runs in every)))
    if not seeds:
        return None
    values_MSN = np.array([[values_of(runs[seed]) for seed in seeds] for runs in every])
    found = paired_difference(values_MSN[: len(more)].mean(0) - values_MSN[len(more) :].mean(0))
    return Contrast(
        found.value,
        found.se,
        found.ci95,
        p=found.p,
        more=tuple(m.label for m in more),
        less=tuple(m.label for m in less),
        n_seeds=len(seeds),
    )
