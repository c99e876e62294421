"""Fine-tuning methods compared: their scores, how sure we are, and whether they differ from the reference."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lora_jax.comparison.conclusions import say_verdict, say_warnings
from lora_jax.comparison.estimates import Estimators, Score
from lora_jax.comparison.results import (
    FORMAT,
    KIND,
    MethodComparison,
    MethodResult,
    ReferenceDifference,
    TargetSets,
    TriedRate,
)
from lora_jax.comparison.target_sets import compare_target_sets
from lora_jax.comparison.tuned_runs import TunedRun
from lora_jax.comparison.uncertainty import (
    CROSSED,
    PAIRED,
    PER_RUN,
    Array,
    crossed_mean,
    holm,
    mean_of_runs,
    paired_difference,
    unpaired_difference,
)
from lora_jax.errors import LoraJaxError

SMALLER_IS_BETTER = ("loss", "perplexity")
SAME = 1e-9  # a score counts as the mean of its test values if it differs by no more than this

Runs = Mapping[str, TunedRun]  # by run_id


@dataclass(frozen=True)
class _Sweep:
    """What every run of a sweep shares.

    Attributes:
        metric: The score by which methods are compared.
        larger_is_better: Whether a larger score is better.
        first_seed: The seed with which every learning rate was tried.
        base_size: The base's parameters, without a new head.
        values_are_scores: Whether a run's score is the mean of its test values.
    """

    metric: str
    larger_is_better: bool
    first_seed: int
    base_size: int
    values_are_scores: bool


def compare_methods(runs: Sequence[TunedRun]) -> MethodComparison:
    """Compare the methods of the runs of one sweep, in their order.

    The first seed is that of most runs. A method's rate is the one with the best dev score with that seed. If
    two rates are equally good, it is the lower one. Diverged and halted runs have no dev score. A method's
    score is the mean test score over the seeds at its rate. A difference is a method minus the reference,
    which is the method Full, or else the first method.

    Raises:
        LoraJaxError: There is no run, the runs belong to several sweeps, or not all were tested on the same
            examples.
    """
    sweep = _describe(runs)
    by_label: dict[str, list[TunedRun]] = {}
    for run in runs:
        by_label.setdefault(run.finetuning.label, []).append(run)
    alone = [_summarise(label, members, sweep) for label, members in by_label.items()]
    base = next((method for method in alone if method.is_full), alone[0])
    by_id = {run.run_id: run for run in runs}
    methods = _with_differences(alone, base, by_id, sweep)
    sign = -1 if sweep.larger_is_better else 1
    scored = [method for method in methods if method.score is not None]
    ranked = sorted(scored, key=lambda method: sign * method.finished_score.value)
    first = runs[0].finetuning
    found = MethodComparison(
        kind=KIND,
        base=first.base,
        base_fingerprint=first.base_fingerprint,
        task=first.task,
        metric=first.metric,
        larger_is_better=sweep.larger_is_better,
        n_test=max(len(run.finetuning.test_values) for run in runs),
        n_runs=len(runs),
        n_diverged=sum(run.status == "diverged" for run in runs),
        first_seed=sweep.first_seed,
        seeds=tuple(sorted({run.seed for run in runs})),
        reference=base.label,
        estimator=Estimators(CROSSED if sweep.values_are_scores else PER_RUN, PAIRED),
        methods=tuple(methods),
        ranking=tuple(method.label for method in ranked),
        verdict=(),
        warnings=(),
        target_sets=_compare_targets(methods, by_id, sweep),
        format=FORMAT,
    )
    return replace(found, verdict=tuple(say_verdict(found)), warnings=tuple(say_warnings(found)))


def _describe(runs: Sequence[TunedRun]) -> _Sweep:
    if not runs:
        raise LoraJaxError("there is no record to compare: run `lora-jax finetune` first.")
    for name in ("base", "base_fingerprint", "task", "metric"):
        values = list(dict.fromkeys(getattr(run.finetuning, name) for run in runs))
        if len(values) > 1:
            raise LoraJaxError(
                f"the runs have {len(values)} different values of {name} ({values[0]!r}, {values[1]!r}), but"
                " a comparison needs one: give each its own folder."
            )
    finished = [run for run in runs if run.is_finished]
    lengths = {len(run.finetuning.test_values): run.run_id for run in finished}
    if len(lengths) > 1 or 1 in lengths or 0 in lengths:
        raise LoraJaxError(
            f"the runs were tested on {' and '.join(str(n) for n in sorted(lengths))} examples (such as"
            f" {lengths[min(lengths)]}), but all must be tested on the same ones, and on two at least: train"
            " them again."
        )
    metric = runs[0].finetuning.metric
    counts = Counter(run.seed for run in runs)
    return _Sweep(
        metric=metric,
        larger_is_better=metric not in SMALLER_IS_BETTER,
        first_seed=min(counts, key=lambda seed: (-counts[seed], seed)),
        base_size=runs[0].n_params_total - runs[0].finetuning.n_head,
        values_are_scores=all(
            abs(run.score.value - float(np.mean(run.finetuning.test_values))) < SAME for run in finished
        ),
    )


def _summarise(label: str, runs: Sequence[TunedRun], sweep: _Sweep) -> MethodResult:
    """Return everything about one method except its difference from the reference."""
    tuning = runs[0].finetuning
    tried = sorted(runs, key=lambda run: run.learning_rate)
    rates = tuple(
        TriedRate(
            run.learning_rate,
            run.run_id,
            dev=run.finetuning.dev[sweep.metric] if run.is_finished else None,
            diverged=run.status != "halted" and not run.is_finished,
        )
        for run in tried
        if run.seed == sweep.first_seed
    )
    best, at_edge = _choose_rate(rates, sweep)
    chosen = sorted((run for run in runs if run.learning_rate == best), key=lambda run: run.seed)
    finished = [run for run in chosen if run.is_finished]
    timed = [run.finetuning.seconds_per_step for run in runs if run.finetuning.seconds_per_step]
    return MethodResult(
        label=label,
        config=tuning.method,
        n_trainable=tuning.n_trainable,
        n_head=tuning.n_head,
        flops_share=tuning.flops_share,
        optimizer_bytes=tuning.optimizer_bytes,
        share=tuning.n_trainable / sweep.base_size,
        seconds_per_step=float(np.median(timed)) if timed else None,
        rates=rates,
        best_rate=best,
        at_edge=at_edge,
        run_ids=tuple(run.run_id for run in finished),
        seeds=tuple(run.seed for run in finished),
        scores=tuple(float(run.score.value) for run in finished),
        n_seeds=len(finished),
        n_diverged=len(chosen) - len(finished),
        score=_mean_score(finished, sweep) if finished else None,
        difference=None,
    )


def _choose_rate(rates: Sequence[TriedRate], sweep: _Sweep) -> tuple[float | None, str | None]:
    """Return the rate of the best dev score, and at which end of the grid it is.

    The grid includes diverged rates.
    """
    sign = -1 if sweep.larger_is_better else 1
    scored = [(sign * tried.dev.value, tried.learning_rate) for tried in rates if tried.dev is not None]
    if not scored:
        return None, None
    _, best = min(scored)
    if len(rates) == 1:
        return best, "only"
    ends = {rates[0].learning_rate: "lowest", rates[-1].learning_rate: "highest"}
    return best, ends.get(best)


def _mean_score(runs: Sequence[TunedRun], sweep: _Sweep) -> Score:
    values_SN = _values(runs)
    if sweep.values_are_scores:
        # A proportion lies between 0 and 1. A loss has no upper end.
        right_or_wrong = bool(np.isin(values_SN, (0.0, 1.0)).all())
        return crossed_mean(values_SN, (0.0, 1.0) if right_or_wrong else None)
    found = [run.score for run in runs]
    ses = [(number.high - number.low) / 2 / 1.96 for number in found]
    return mean_of_runs(np.array([number.value for number in found]), np.array(ses))


def _values(runs: Sequence[TunedRun]) -> Array:
    return np.array([run.finetuning.test_values for run in runs], float)


def _with_differences(
    methods: Sequence[MethodResult], base: MethodResult, by_id: Runs, sweep: _Sweep
) -> list[MethodResult]:
    """Return each method with its difference from the reference, if both have a score."""
    differences = {
        method.label: _difference(method, base, by_id, sweep)
        for method in methods
        if method is not base and method.score and base.score
    }
    stands = holm([difference.p for difference in differences.values()])
    for label, after in zip(list(differences), stands, strict=True):
        difference = differences[label]
        differences[label] = replace(difference, after_holm=difference.distinguishable and after)
    return [replace(method, difference=differences.get(method.label)) for method in methods]


def _difference(method: MethodResult, base: MethodResult, by_id: Runs, sweep: _Sweep) -> ReferenceDifference:
    """Return a method less the reference. `after_holm` is not known yet."""
    shared = [seed for seed in method.seeds if seed in base.seeds]
    ours = [by_id[method.run_ids[method.seeds.index(seed)]] for seed in shared]
    theirs = [by_id[base.run_ids[base.seeds.index(seed)]] for seed in shared]
    of = sweep.metric if sweep.values_are_scores else _paired_quantity(ours + theirs, sweep)
    paired = bool(shared) and of is not None
    if shared and of is not None:
        found = paired_difference(_values(ours) - _values(theirs))
    else:
        found, of = unpaired_difference(method.finished_score, base.finished_score), sweep.metric
    return ReferenceDifference(
        found.value,
        found.se,
        found.ci95,
        p=found.p,
        reference=base.label,
        of=of,
        paired=paired,
        n_seeds=len(shared),
        after_holm=False,
    )


def _compare_targets(methods: Sequence[MethodResult], by_id: Runs, sweep: _Sweep) -> TargetSets | None:
    finished = [by_id[run_id] for method in methods for run_id in method.run_ids]
    of = sweep.metric if sweep.values_are_scores else _paired_quantity(finished, sweep)

    def values_of(run_id: str) -> Array:
        return _values([by_id[run_id]])[0]

    return compare_target_sets(methods, values_of, of, sweep.larger_is_better)


def _paired_quantity(runs: Sequence[TunedRun], sweep: _Sweep) -> str | None:
    """Return what the test values are if they are not the score. None if they do not measure it."""
    losses = not np.isin(_values(runs), (0.0, 1.0)).all() if runs else False
    return "loss, mean over examples" if losses and not sweep.larger_is_better else None
