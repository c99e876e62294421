"""The sentences of a comparison of methods: its verdict and its warnings."""

import math
from collections.abc import Sequence

from lora_jax.comparison.results import MethodComparison, MethodResult, ReferenceDifference
from lora_jax.estimate import Estimate

FEWEST_SEEDS = 3


def say_verdict(found: MethodComparison) -> list[str]:
    """Return the verdict: the best method, what differs from the reference, the cheapest that does not."""
    if not found.ranking:
        return ["No method finished a run: every one diverged."]
    best = found.ranked[0]
    said = [
        f"{best.label} has the best mean {found.metric} on the test split, {show_score(best.finished_score)},"
        f" training {show_share(best.share)} of the base's parameters; {_against_reference(best, found)}."
    ]
    compared = [(m, m.difference) for m in found.ranked if m.difference is not None]
    if not compared:
        return said
    said.append(_say_groups(compared, found))
    size = found.by_label[found.reference].n_trainable
    alike = [
        (m, difference) for m, difference in compared
        if not difference.distinguishable and m.n_trainable < size
    ]  # fmt: skip
    if alike:
        least, difference = min(alike, key=lambda pair: pair[0].n_trainable)
        low, high = _signed_interval(difference)
        said.append(
            f"Of the methods that are not distinguishable from {found.reference}, {least.label} trains the"
            f" fewest parameters, {show_share(least.share)}. This does not prove them equal: the difference"
            f" may be anything from {low} to {high}."
        )
    return said


def _against_reference(best: MethodResult, found: MethodComparison) -> str:
    difference = best.difference
    if difference is None:
        return "it is the one that the others are compared with"
    low, high = _signed_interval(difference)
    known = "better than" if difference.distinguishable else "not distinguishable from"
    return f"it is {known} {found.reference} (difference {low} to {high})"


def _say_groups(compared: Sequence[tuple[MethodResult, ReferenceDifference]], found: MethodComparison) -> str:
    sign = 1 if found.larger_is_better else -1
    groups: dict[str, list[str]] = {"better": [], "not distinguishable": [], "worse": []}
    for method, difference in compared:
        told = "better" if sign * difference.value > 0 else "worse"
        groups[told if difference.distinguishable else "not distinguishable"].append(method.label)
    parts = [f"{name}: {', '.join(labels)}" for name, labels in groups.items() if labels]
    return f"Compared with {found.reference}, at 95 % each: {'; '.join(parts)}."


def say_warnings(found: MethodComparison) -> list[str]:
    """Return what weakens the comparison, one sentence each."""
    lines = [line for method in found.methods for line in _of_method(method, found)]
    fragile = [
        m.label for m in found.methods
        if m.difference and m.difference.distinguishable and not m.difference.after_holm
    ]  # fmt: skip
    if fragile:
        n = sum(m.difference is not None for m in found.methods)
        lines.append(
            f"{_listed(fragile)}: distinguishable alone, but not when all {n} differences are counted (Holm"
            " at 5 %)."
        )
    if any(m.difference and not m.difference.paired for m in found.methods):
        lines.append(
            f"Differences of {found.metric} are not paired by test example: their intervals are wider than"
            " need be."
        )
    reference = next(m for m in found.methods if m.label == found.reference)
    if reference.score is None:
        lines.append(f"{found.reference} finished no run, so that no method could be compared with it.")
    return lines


def _of_method(method: MethodResult, found: MethodComparison) -> list[str]:
    label, lines = method.label, []
    if method.score is None:
        return [f"{label}: none of its {len(method.rates)} rates finished; it has no score."]
    if method.at_edge == "only":
        lines.append(f"{label}: one learning rate was tried, {method.best_rate:g}; another may be better.")
    elif method.at_edge:
        lines.append(
            f"{label}: the best learning rate, {method.best_rate:g}, is the {method.at_edge} of the"
            f" grid; try {'lower' if method.at_edge == 'lowest' else 'higher'} ones."
        )
    lines += _of_seeds(method, found)
    diverged = [rate.learning_rate for rate in method.rates if rate.diverged]
    if diverged:
        lines.append(f"{label}: diverged at learning rate {_listed([f'{rate:g}' for rate in diverged])}.")
    if method.score.se == 0:
        lines.append(f"{label}: every test value is the same, so that its interval says nothing.")
    return lines


def _of_seeds(method: MethodResult, found: MethodComparison) -> list[str]:
    label, n, lines = method.label, method.n_seeds, []
    planned = len(found.seeds)
    if method.n_diverged:
        lines.append(
            f"{label}: {method.n_diverged} of {n + method.n_diverged} seeds diverged at the best rate;"
            " its score is of the others, and flatters it."
        )
    if n + method.n_diverged < planned:
        lines.append(f"{label}: unfinished, {n} of {planned} seeds at its best rate.")
    if n == 1:
        lines.append(f"{label}: one seed, so that its interval covers test sampling alone.")
    elif n < FEWEST_SEEDS:
        lines.append(f"{label}: {n} seeds; the spread between seeds is hardly known.")
    return lines


def show_share(share: float) -> str:
    """Return a share in percent with two digits, such as "0.034 %"."""
    return f"{100 * share:.3g} %" if share >= 0.1 else f"{100 * share:.2g} %"


def show_score(number: Estimate) -> str:
    """Return a score as "0.871 (95 % interval 0.853 to 0.889)", with the digits that the interval allows."""
    low, high = number.interval
    decimals = _decimals(high - low)
    return f"{number.value:.{decimals}f} (95 % interval {low:.{decimals}f} to {high:.{decimals}f})"


def _signed_interval(number: Estimate) -> tuple[str, str]:
    low, high = number.interval
    decimals = _decimals(high - low)

    def show(x: float) -> str:
        return f"{x:+.{decimals}f}".replace("-", "\u2212")

    return show(low), show(high)


def _decimals(width: float) -> int:
    return max(0, min(6, 1 - math.floor(math.log10(width / 2)))) if width > 0 else 4


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
