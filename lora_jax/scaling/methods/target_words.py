"""What came out of a comparison of target sets, in sentences, beside what Hu et al. 2021 report of GPT-3."""

from collections.abc import Mapping, Sequence
from typing import Any

from lora_jax.scaling.methods.words import show_score

TABLE_5 = "table 5 of Hu et al. 2021"
MOST_PAIRS = 6  # that a sentence names
Contrast = Mapping[str, Any]


def say_target_sets(found: Mapping[str, Any], methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a sentence each: the budget's best and worst, what was asked of it, its pairs, and the ranks.

    found: `target_sets.compare_target_sets`, so far. methods: by label.
    """
    said = []
    if (budget := found["budget"]) is not None:
        best, worst = budget["sets"][0], budget["sets"][-1]
        sizes = " to ".join(f"{n:,}" for n in dict.fromkeys((budget["n_least"], budget["n_most"])))
        said.append(
            f"Of {len(budget['sets'])} sets of matrices with {sizes} trainable parameters {best['label']} has"
            f" the best mean, {show_score(methods[best['label']]['score'])}, and {worst['label']} the worst,"
            f" {show_score(methods[worst['label']]['score'])}."
        )
        said += _say_form(budget, found)
        said += _say_pairs(budget["pairs"], found)
    said += [_say_growth(line, found) for line in found["ranks"] if line["growth"] is not None]
    return said + _say_seeds(found)


def _say_seeds(found: Mapping[str, Any]) -> list[str]:
    """Say where differences are of one seed, which leaves the spread between seeds out."""
    budget = found["budget"] or {}
    contrasts = [
        budget.get("several_less_single"), budget.get("softmax_less_other"), *budget.get("pairs", ()),
        *(line["growth"] for line in found["ranks"]),
    ]  # fmt: skip
    there = [contrast for contrast in contrasts if contrast is not None]
    single = sum(contrast["n_seeds"] == 1 for contrast in there)
    if not single:
        return []
    return [f"{single} of these {len(there)} differences are of one seed: they cover test examples alone."]


def _say_form(budget: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Say whether the table's form came out: several matrices above one, q or k alone the worst."""
    asked = (
        ("several_less_single", 1, "Several matrices at a lower rank less one at a higher, means of sets:"),
        ("softmax_less_other", -1, "q or k alone less one other matrix alone:"),
    )  # fmt: skip
    said = []
    for name, published, words in asked:
        contrast = budget[name]
        if contrast is not None:
            better = _better(contrast, found)
            outcome = "not told apart" if not contrast["distinguishable"] else ""
            if not outcome:
                outcome = "as in" if better == (published > 0) else "the opposite of"
                outcome += f" {TABLE_5}, on GPT-3"
            said.append(f"{words} {show_difference(contrast, found)}, {outcome}.")
    return said


def _say_pairs(pairs: Sequence[Contrast], found: Mapping[str, Any]) -> list[str]:
    if not pairs:
        return []
    told = [pair for pair in pairs if pair["distinguishable"]]
    counted = sum(pair["after_holm"] for pair in told)
    if not told:
        return [f"Of the {len(pairs)} pairs of sets none is told apart at 95 %."]
    told.sort(key=lambda pair: pair["p"])
    listed = "; ".join(
        f"{pair['label']} over {pair['over']} by {show_difference(pair, found, signed=False)}"
        for pair in told[:MOST_PAIRS]
    )
    more = f"; and {len(told) - MOST_PAIRS} more" if len(told) > MOST_PAIRS else ""
    return [
        f"Of the {len(pairs)} pairs of sets {len(told)} are told apart at 95 % each, {counted} when all are"
        f" counted (Holm at 5 %): {listed}{more}."
    ]


def _say_growth(line: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    growth, (low, high) = line["growth"], (line["ranks"][0], line["ranks"][-1])
    outcome = (
        ("better" if _better(growth, found) else "worse") + " with more rank"
        if growth["distinguishable"] else "flat as far as this tells"
    )  # fmt: skip
    return f"{line['name']} from rank {low} to {high}: {show_difference(growth, found)}, {outcome}."


def _better(contrast: Contrast, found: Mapping[str, Any]) -> bool:
    return (contrast["value"] > 0) == found["larger_is_better"]


def show_difference(contrast: Contrast, found: Mapping[str, Any], signed: bool = True) -> str:
    """Return "+1.2 points (95 % interval -0.3 to +2.7)", or nats with three decimals."""
    turn = 1 if signed or contrast["value"] >= 0 else -1
    scale, decimals = (100, 1) if found["unit"] == "points" else (1, 3)
    low, high = sorted(turn * end for end in contrast["ci95"])

    def show(x: float) -> str:
        text = f"{scale * x:+.{decimals}f}" if signed else f"{scale * x:.{decimals}f}"
        return text.replace("-", "\u2212")

    value = show(turn * contrast["value"])
    return f"{value} {found['unit']} (95 % interval {show(low)} to {show(high)})"
