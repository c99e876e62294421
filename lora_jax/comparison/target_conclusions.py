"""The sentences of a comparison of target sets, beside what Hu et al. 2021 report for GPT-3."""

from collections.abc import Mapping, Sequence

from lora_jax.comparison.conclusions import show_score
from lora_jax.comparison.results import Budget, Contrast, MethodResult, RankLine, SetPair, TargetSets

TABLE_5 = "table 5 of Hu et al. 2021"
MOST_PAIRS = 6  # most pairs that a sentence names
ZERO = "The interval includes zero."


def say_target_sets(found: TargetSets, methods: Mapping[str, MethodResult]) -> list[str]:
    """Say which sets of the budget are best and worst, and what the pairs and the ranks show.

    Args:
        found: What `target_sets.compare_target_sets` has found so far.
        methods: The methods by label.
    """
    said = []
    if (budget := found.budget) is not None:
        best, worst = budget.sets[0], budget.sets[-1]
        sizes = " to ".join(f"{n:,}" for n in dict.fromkeys((budget.n_least, budget.n_most)))
        said.append(
            f"We compare {len(budget.sets)} sets of matrices with {sizes} trainable parameters each."
            f" {best.label} has the best mean score, {show_score(methods[best.label].finished_score)}."
            f" {worst.label} has the worst, {show_score(methods[worst.label].finished_score)}."
        )
        said += _say_form(budget, found)
        said += _say_pairs(budget.pairs, found)
    said += [_say_growth(line, line.growth, found) for line in found.ranks if line.growth is not None]
    return said + _say_seeds(found)


def _say_seeds(found: TargetSets) -> list[str]:
    """Say which differences have a single seed. They leave out the spread between seeds."""
    there = found.contrasts
    single = sum(contrast.n_seeds == 1 for contrast in there)
    if not single:
        return []
    return [
        f"{single} of these {len(there)} differences come from one seed, so their intervals do not cover the"
        " spread between seeds."
    ]


def _say_form(budget: Budget, found: TargetSets) -> list[str]:
    """Say whether the table's pattern came out: several matrices above one, and q or k alone the worst."""
    several, softmax = budget.several_less_single, budget.softmax_less_other
    asked = (
        (several, 1, "Several matrices at a lower rank, against one matrix at a higher rank"),
        (softmax, -1, "q or k alone, against another matrix alone"),
    )
    said = []
    for contrast, published, words in asked:
        if contrast is not None:
            outcome = ZERO
            if contrast.distinguishable:
                agrees = found.is_better(contrast) == (published > 0)
                outcome = f"This is {'as in' if agrees else 'the opposite of'} {TABLE_5}, on GPT-3."
            said.append(f"{words}: a mean difference of {show_difference(contrast, found)}. {outcome}")
    return said


def _say_pairs(pairs: Sequence[SetPair], found: TargetSets) -> list[str]:
    if not pairs:
        return []
    told = [pair for pair in pairs if pair.distinguishable]
    counted = sum(pair.after_holm for pair in told)
    if not told:
        return [f"None of the {len(pairs)} pairs of sets is distinguishable at 95 %."]
    told.sort(key=lambda pair: pair.p)
    listed = "; ".join(
        f"{pair.label} beats {pair.over} by {show_difference(pair, found, signed=False)}"
        for pair in told[:MOST_PAIRS]
    )
    more = f"; and {len(told) - MOST_PAIRS} more" if len(told) > MOST_PAIRS else ""
    return [
        f"At 95 %, {len(told)} of the {len(pairs)} pairs of sets are distinguishable: {listed}{more}. After"
        f" correcting for {len(pairs)} comparisons (Holm at 5 %), {counted} of them still"
        f" {'is' if counted == 1 else 'are'}."
    ]


def _say_growth(line: RankLine, growth: Contrast, found: TargetSets) -> str:
    low, high = line.ranks[0], line.ranks[-1]
    outcome = (
        f"More rank is {'better' if found.is_better(growth) else 'worse'}."
        if growth.distinguishable
        else ZERO
    )
    return f"{line.name}, from rank {low} to rank {high}: {show_difference(growth, found)}. {outcome}"


def show_difference(contrast: Contrast, found: TargetSets, signed: bool = True) -> str:
    """Return a difference as "+1.2 points (95 % interval -0.3 to +2.7)", or in nats with three decimals."""
    turn = 1 if signed or contrast.value >= 0 else -1
    scale, decimals = (100, 1) if found.unit == "points" else (1, 3)
    low, high = sorted(turn * end for end in contrast.interval)

    def show(x: float) -> str:
        text = f"{scale * x:+.{decimals}f}" if signed else f"{scale * x:.{decimals}f}"
        return text.replace("-", "\u2212")

    value = show(turn * contrast.value)
    return f"{value} {found.unit} (95 % interval {show(low)} to {show(high)})"
