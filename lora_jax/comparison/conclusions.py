"""The sentences of a comparison of methods: its verdict and its warnings."""

import math
from collections.abc import Sequence

from lora_jax.comparison.results import MethodComparison, MethodResult, ReferenceDifference
from lora_jax.estimate import Estimate
from lora_jax.percent import percent

FEWEST_SEEDS = 3


def say_verdict(found: MethodComparison) -> list[str]:
    """Return the verdict: the best method, what differs from the reference, the cheapest that does not."""
    if not found.ranking:
        return ["No method finished a run: every one diverged."]
    best = found.ranked[0]
    said = [
        f"{best.label} has the best mean {found.metric} on the test split: {show_score(best.finished_score)}."
        f" It trains {show_share(best.share)} of the base's parameters. {_against_reference(best, found)}"
    ]
    compared = [(m, m.difference) for m in found.ranked if m.difference is not None]
    if not compared:
        return said
    said.append(_say_groups(compared, found))
    size = found.by_label[found.reference].n_trainable
    alike = [
        (m, difference)
        for m, difference in compared
        if not difference.distinguishable and m.n_trainable < size
    ]
    if alike:
        least, difference = min(alike, key=lambda pair: pair[0].n_trainable)
        low, high = _signed_interval(difference)
        said.append(
            f"Of the methods that we could not distinguish from {found.reference}, {least.label} trains the"
            f" fewest parameters, {show_share(least.share)} of the base's. The two may still differ: the 95 %"
            f" interval of the difference is {low} to {high}."
        )
    return said


def _against_reference(best: MethodResult, found: MethodComparison) -> str:
    difference = best.difference
    if difference is None:
        return "We compare the other methods with it."
    low, high = _signed_interval(difference)
    told = "It is better than" if difference.distinguishable else "We could not distinguish it from"
    return f"{told} {found.reference}: the 95 % interval of the difference is {low} to {high}."


def _say_groups(compared: Sequence[tuple[MethodResult, ReferenceDifference]], found: MethodComparison) -> str:
    sign = 1 if found.larger_is_better else -1
    better, alike, worse = "Better than", "Not distinguishable from", "Worse than"
    groups: dict[str, list[str]] = {better: [], alike: [], worse: []}
    for method, difference in compared:
        told = better if sign * difference.value > 0 else worse
        groups[told if difference.distinguishable else alike].append(method.label)
    parts = [f"{told} {found.reference}: {', '.join(labels)}." for told, labels in groups.items() if labels]
    return f"{' '.join(parts)} Each difference is judged by its own 95 % interval."


def say_warnings(found: MethodComparison) -> list[str]:
    """Return what weakens the comparison, one sentence each."""
    lines = [line for method in found.methods for line in _of_method(method, found)]
    fragile = [
        m.label
        for m in found.methods
        if m.difference and m.difference.distinguishable and not m.difference.after_holm
    ]
    if fragile:
        n = sum(m.difference is not None for m in found.methods)
        lines.append(
            f"We compared {n} methods with {found.reference}. After correcting for that number (Holm at 5 %),"
            f" we can no longer distinguish {_listed(fragile)} from it."
        )
    if any(m.difference and not m.difference.paired for m in found.methods):
        lines.append(
            f"Some differences of {found.metric} are not paired by test example, so their intervals are"
            " wider than those of paired differences."
        )
    reference = next(m for m in found.methods if m.label == found.reference)
    if reference.score is None:
        lines.append(f"No run of {found.reference} finished, so no method could be compared with it.")
    return lines


def _of_method(method: MethodResult, found: MethodComparison) -> list[str]:
    label, lines = method.label, []
    if method.score is None:
        return [
            f"{label}: no run finished at any of its {len(method.rates)} learning rates, so it has no score."
        ]
    if method.at_edge == "only":
        lines.append(
            f"{label}: only one learning rate was tried, {method.best_rate:g}. Another may be better."
        )
    elif method.at_edge:
        lines.append(
            f"{label}: the best learning rate, {method.best_rate:g}, is the {method.at_edge} that was tried."
            f" Try {'lower' if method.at_edge == 'lowest' else 'higher'} ones."
        )
    lines += _of_seeds(method, found)
    diverged = [rate.learning_rate for rate in method.rates if rate.diverged]
    if diverged:
        rates = "rate" if len(diverged) == 1 else "rates"
        lines.append(f"{label} diverged at learning {rates} {_listed([f'{rate:g}' for rate in diverged])}.")
    if method.score.se == 0:
        lines.append(f"{label}: all its test values are equal, so its interval means nothing.")
    return lines


def _of_seeds(method: MethodResult, found: MethodComparison) -> list[str]:
    label, n, lines = method.label, method.n_seeds, []
    planned = len(found.seeds)
    if method.n_diverged:
        lines.append(
            f"{label}: {method.n_diverged} of {n + method.n_diverged} seeds diverged at its best learning"
            " rate. Its score is the mean of the other seeds, so the method looks better than it is."
        )
    if n + method.n_diverged < planned:
        lines.append(f"{label}: only {n} of {planned} seeds have finished at its best learning rate.")
    if n == 1:
        lines.append(f"{label}: one seed, so its interval does not cover the spread between seeds.")
    elif n < FEWEST_SEEDS:
        lines.append(f"{label}: {n} seeds tell little about the spread between seeds.")
    return lines


def show_share(share: float) -> str:
    """Return a share in percent with two digits, such as "0.034 %", and with three from ten percent on."""
    return percent(share, digits=3 if share >= 0.1 else 2)


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
