"""The tables of a comparison of fine-tuning methods, for the terminal and for the page."""

from collections.abc import Sequence

from lora_jax.comparison.conclusions import show_share
from lora_jax.comparison.estimates import Score
from lora_jax.comparison.results import MethodComparison, MethodResult, TriedRate
from lora_jax.comparison.tuned_runs import TunedRun
from lora_jax.report.kit.numbers import (
    MISSING,
    format_count,
    format_difference,
    format_interval,
    format_loss,
    format_power,
    format_seconds,
)
from lora_jax.report.kit.tables import INTERVAL, Table


def method_rows(found: MethodComparison) -> Table:
    """Return a row a method, the best test score first, those without a score last."""
    by_label = {m.label: m for m in found.methods}
    order = [*found.ranking, *(label for label in by_label if label not in found.ranking)]
    rows, flagged = [], set()
    for i, label in enumerate(order):
        m = by_label[label]
        difference = m.difference
        if m.score is None or (difference and difference.distinguishable):
            flagged.add(i)
        rows.append(
            (
                label,
                *format_interval(m.score),
                *format_difference(difference),
                _standing(m, found),
                format_count(m.n_trainable),
                show_share(m.share),
                _rate(m.best_rate),
                str(m.n_seeds),
            )
        )
    columns = (
        "method",
        found.metric,
        INTERVAL,
        f"less {found.reference}",
        "its interval",
        "verdict",
        "trainable",
        "of the base",
        "best rate",
        "seeds",
    )
    kinds = {m.difference.of for m in found.methods if m.difference}
    note = (
        f"Mean {found.metric} of the test split ({found.n_test} examples) over seeds, at the rate of"
        f" the best dev score; intervals of 95 % cover seeds and test examples. Marked: what differs from"
        f" {found.reference}, or has no score. Trainable parameters without the new head, which every"
        f" method trains{_head(found)}."
    )
    if kinds - {found.metric}:
        note += f" The differences are of the {', '.join(sorted(kinds))}."
    return Table("Methods", columns, tuple(rows), frozenset({1, 3, 6, 7, 8, 9}), frozenset(flagged), note)


def _head(found: MethodComparison) -> str:
    n_head = max(m.n_head for m in found.methods)
    return f" ({format_count(n_head)})" if n_head else " (here there is none)"


def _standing(method: MethodResult, found: MethodComparison) -> str:
    difference = method.difference
    if method.score is None:
        return "diverged"
    if difference is None:
        return "reference" if method.label == found.reference else MISSING
    if not difference.distinguishable:
        return "not distinguishable"
    better = (difference.value > 0) == found.larger_is_better
    return ("better" if better else "worse") + (
        "" if difference.after_holm else ", not after Holm's correction"
    )


def _rate(rate: float | None) -> str:
    return MISSING if rate is None else f"{rate:g}"


def cost_rows(found: MethodComparison) -> Table:
    """Return what each method costs, in the order of the sweep."""
    rows = [
        (
            m.label,
            format_count(m.n_trainable),
            show_share(m.share),
            show_share(m.flops_share),
            _bytes(m.optimizer_bytes),
            MISSING if m.seconds_per_step is None else f"{m.seconds_per_step:.3g}",
        )
        for m in found.methods
    ]
    columns = ("method", "trainable", "of the base", "FLOPs of full", "optimizer", "seconds a step")
    note = (
        "FLOPs of a step over those of full fine-tuning, counted from shapes; optimizer: two float32 numbers"
        " for each weight that trains, a new head's included; seconds: median over runs, compilation left"
        " out."
    )
    return Table("What each method costs", columns, tuple(rows), frozenset(range(1, 6)), note=note)


def _bytes(n: float) -> str:
    return f"{format_count(n)}B"


def rate_rows(found: MethodComparison) -> Table:
    """Return every grid of learning rates, a row a method; marked where the best is at an edge."""
    rows = [
        (
            m.label,
            ", ".join(_at_rate(r) for r in m.rates),
            _rate(m.best_rate),
            m.at_edge or ("no" if m.best_rate is not None else MISSING),
        )
        for m in found.methods
    ]
    flagged = frozenset(i for i, m in enumerate(found.methods) if m.at_edge or m.best_rate is None)
    columns = ("method", f"rate: dev {found.metric}", "best", "at an edge")
    note = f"With seed {found.first_seed}. The dev split chooses the rate; the test split decides nothing."
    return Table("Learning rates", columns, tuple(rows), frozenset({2}), flagged, note)


def _at_rate(rate: TriedRate) -> str:
    without = "diverged" if rate.diverged else "halted"
    dev = without if rate.dev is None else f"{rate.dev.value:.4g}"
    return f"{rate.learning_rate:g}: {dev}"


def seed_rows(found: MethodComparison) -> Table:
    """Return the test scores of each method by seed."""
    rows = [
        (
            m.label,
            *(f"{_by_seed(m).get(seed):.4f}" if seed in m.seeds else MISSING for seed in found.seeds),
            *_errors(m.score),
        )
        for m in found.methods
    ]
    columns = (
        "method",
        *(f"seed {seed}" for seed in found.seeds),
        "sd of seeds",
        "se by seeds",
        "se by examples",
    )
    note = f"Score: {found.estimator.score}. Difference: {found.estimator.difference}."
    return Table(
        f"Test {found.metric} by seed", columns, tuple(rows), frozenset(range(1, len(columns))), note=note
    )


def _errors(score: Score | None) -> tuple[str, str, str]:
    if score is None:
        return MISSING, MISSING, MISSING
    of_examples = f"{score.test_se:.2g}"
    if score.seed_sd is None:
        return MISSING, MISSING, of_examples
    return f"{score.seed_sd:.2g}", f"{score.seed_se:.2g}", of_examples


def _by_seed(method: MethodResult) -> dict[int, float]:
    return dict(zip(method.seeds, method.scores, strict=True))


def run_rows(found: MethodComparison, runs: Sequence[TunedRun]) -> Table:
    """Return every run, in the order of the sweep; marked: those that diverged."""
    counted = {run_id for m in found.methods for run_id in m.run_ids}
    rows, flagged = [], set()
    for i, run in enumerate(runs):
        tuning = run.finetuning
        status = "in the score" if run.run_id in counted else "tried a rate"
        if run.status == "diverged":
            status = f"diverged at step {run.diverged_at}"
            flagged.add(i)
        elif run.status == "halted":
            status = f"halted at step {run.halted_at}"
        dev, test = tuning.dev.get(found.metric), tuning.test.get(found.metric)
        rows.append(
            (
                run.run_id,
                tuning.label,
                f"{run.learning_rate:g}",
                str(run.seed),
                status,
                format_interval(dev)[0],
                *format_interval(test),
                format_loss(run.heldout_loss),
                format_loss(run.train_loss),
                f"{tuning.kept_step} of {run.n_steps}{', stopped early' * tuning.stopped_early}",
                format_power(run.flops_exact),
                format_seconds(run.wall_seconds),
            )
        )
    columns = (
        "run",
        "method",
        "rate",
        "seed",
        "status",
        f"dev {found.metric}",
        f"test {found.metric}",
        INTERVAL,
        "test loss",
        "train loss",
        "kept step",
        "FLOPs",
        "wall time",
    )
    numeric = frozenset({2, 3, 5, 6, 7, 8, 9, 11, 12})
    note = (
        "The interval of one run covers the test examples alone. Kept step: whose weights were best on dev."
    )
    return Table("Every run", columns, tuple(rows), numeric, frozenset(flagged), note)
