"""Methods of fine-tuning compared: which score, how sure, and does it differ from full fine-tuning?"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.methods.target_sets import compare_target_sets
from lora_jax.scaling.methods.uncertainty import (
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
from lora_jax.scaling.methods.words import say_verdict, say_warnings

KIND = "fine-tuning methods"  # of the document, which tells it from a comparison of laws
SMALLER_IS_BETTER = ("loss", "perplexity")
SAME = 1e-9  # a score is the mean of the test values where it differs by no more

Record = Mapping[str, Any]
Method = dict[str, Any]


@dataclass(frozen=True)
class _Sweep:
    """What every record of a sweep shares. base_size: the base's parameters, without a new head."""

    metric: str
    larger_is_better: bool
    first_seed: int
    base_size: int
    values_are_scores: bool  # a score is the mean of its run's test values


def compare_methods(records: Sequence[Record]) -> dict[str, Any]:
    """Return the content of comparison.json from the records of one sweep, in the order of its methods.

    Each method's rate is that of the best dev score with the first seed (the seed of most runs; the lower
    rate of equals), of diverged and halted runs none; its score is the mean test score over the seeds at
    that rate.

        kind, base, base_fingerprint, task, metric, larger_is_better, n_test, n_runs, n_diverged, first_seed,
        seeds [every seed], reference (a label), estimator {score, difference}: in words
        methods [{
            label, method (its configuration), n_trainable, n_head, share (n_trainable over the base's size),
            flops_share (of a step, over full fine-tuning's), optimizer_bytes,
            seconds_per_step (median over runs, or null)
            rates [{learning_rate, run_id, dev (number with interval; null: diverged or halted), diverged}],
                ascending
            best_rate (null: all diverged), at_edge: "lowest", "highest", "only" or null
            run_ids, seeds, scores: of the runs at the best rate, by seed; n_seeds, n_diverged: at that rate
            score {value, se, ci95, seed_se, test_se, df, seed_sd (null: one seed)} or null: no run finished
            difference {reference, of, paired, n_seeds, value, se, ci95, p, distinguishable, after_holm}
                or null: the reference itself, or no score
        }]
        ranking [labels, the best first], verdict [sentences], warnings [sentences]
        target_sets: see `target_sets.compare_target_sets`, where low-rank methods differ in their targets

    difference: this method minus the reference (the method Full, else the first one). distinguishable: its
    95 % interval leaves out 0; after_holm: that stands at 5 % when all differences of the sweep are counted.
    `of` says which quantity: the metric, or the loss as a mean over examples where the metric weighs tokens.
    Raises LoraJaxError for records of several sweeps, or of runs that did not tune a model.
    """
    sweep = _describe(records)
    by_label: dict[str, list[Record]] = {}
    for record in records:
        by_label.setdefault(record["finetuning"]["label"], []).append(record)
    methods = [_summarise(label, runs, sweep) for label, runs in by_label.items()]
    reference = next((m["label"] for m in methods if m["method"]["method"] == "Full"), methods[0]["label"])
    _add_differences(methods, reference, {r["run_id"]: r for r in records}, sweep)
    sign = -1 if sweep.larger_is_better else 1
    scored = [m for m in methods if m["score"] is not None]
    ranking = [m["label"] for m in sorted(scored, key=lambda m: sign * m["score"]["value"])]
    first = records[0]["finetuning"]
    found = {
        "kind": KIND, **{name: first[name] for name in ("base", "base_fingerprint", "task", "metric")},
        "larger_is_better": sweep.larger_is_better,
        "n_test": max(len(r["finetuning"]["test_values"]) for r in records),
        "n_runs": len(records), "n_diverged": sum(r["status"] == "diverged" for r in records),
        "first_seed": sweep.first_seed, "seeds": sorted({r["seed"] for r in records}),
        "reference": reference,
        "estimator": {"score": CROSSED if sweep.values_are_scores else PER_RUN, "difference": PAIRED},
        "methods": methods, "ranking": ranking,
    }  # fmt: skip
    targets = _compare_targets(methods, {r["run_id"]: r for r in records}, sweep)
    said = {"verdict": say_verdict(found), "warnings": say_warnings(found)}
    return found | said | ({} if targets is None else {"target_sets": targets})


def _describe(records: Sequence[Record]) -> _Sweep:
    if not records:
        raise LoraJaxError("there is no record to compare: run `./launch.sh finetune` first.")
    for record in records:
        if record.get("finetuning") is None:
            raise LoraJaxError(
                f"{record['run_id']} was trained from scratch, a comparison of methods wants fine-tuning runs"
                " alone: give it a folder of its own."
            )
    for name in ("base", "base_fingerprint", "task", "metric"):
        values = list(dict.fromkeys(r["finetuning"][name] for r in records))
        if len(values) > 1:
            raise LoraJaxError(
                f"the runs have {len(values)} different values of {name} ({values[0]!r}, {values[1]!r}), a"
                " comparison wants one: give each its own folder."
            )
    lengths = {len(r["finetuning"]["test_values"]): r["run_id"] for r in records if _finished(r)}
    if len(lengths) > 1 or 1 in lengths or 0 in lengths:
        raise LoraJaxError(
            f"the runs were tested on {' and '.join(str(n) for n in sorted(lengths))} examples (such as"
            f" {lengths[min(lengths)]}), wanted the same ones for all, and two at least: train them again."
        )
    metric = records[0]["finetuning"]["metric"]
    counts = Counter(r["seed"] for r in records)
    return _Sweep(
        metric=metric,
        larger_is_better=metric not in SMALLER_IS_BETTER,
        first_seed=min(counts, key=lambda seed: (-counts[seed], seed)),
        base_size=records[0]["n_params_total"] - records[0]["finetuning"]["n_head"],
        values_are_scores=all(
            abs(_score(r, metric) - float(np.mean(r["finetuning"]["test_values"]))) < SAME
            for r in records if _finished(r)
        ),
    )  # fmt: skip


def _finished(record: Record) -> bool:
    return record["status"] == "done" and bool(record["finetuning"]["test"])


def _score(record: Record, metric: str) -> float:
    return float(record["finetuning"]["test"][metric]["value"])


def _summarise(label: str, runs: Sequence[Record], sweep: _Sweep) -> Method:
    """Return what is known of one method, but for its difference to the reference."""
    tuning = runs[0]["finetuning"]
    rates = [
        {
            "learning_rate": r["learning_rate"], "run_id": r["run_id"],
            "dev": r["finetuning"]["dev"][sweep.metric] if _finished(r) else None,
            "diverged": r["status"] != "halted" and not _finished(r),
        }
        for r in sorted(runs, key=lambda r: r["learning_rate"]) if r["seed"] == sweep.first_seed
    ]  # fmt: skip
    best, at_edge = _choose_rate(rates, sweep)
    chosen = sorted((r for r in runs if r["learning_rate"] == best), key=lambda r: r["seed"])
    finished = [r for r in chosen if _finished(r)]
    timed = [r["finetuning"]["seconds_per_step"] for r in runs if r["finetuning"]["seconds_per_step"]]
    same = {
        name: tuning[name] for name in ("method", "n_trainable", "n_head", "flops_share", "optimizer_bytes")
    }
    return {
        "label": label, **same, "share": tuning["n_trainable"] / sweep.base_size,
        "seconds_per_step": float(np.median(timed)) if timed else None,
        "rates": rates, "best_rate": best, "at_edge": at_edge,
        "run_ids": [r["run_id"] for r in finished], "seeds": [r["seed"] for r in finished],
        "scores": [_score(r, sweep.metric) for r in finished],
        "n_seeds": len(finished), "n_diverged": len(chosen) - len(finished),
        "score": _mean_score(finished, sweep) if finished else None, "difference": None,
    }  # fmt: skip


def _choose_rate(rates: Sequence[Mapping[str, Any]], sweep: _Sweep) -> tuple[float | None, str | None]:
    """Return the rate of the best dev score and its end of the grid, which diverged rates belong to."""
    sign = -1 if sweep.larger_is_better else 1
    scored = [r for r in rates if r["dev"] is not None]
    if not scored:
        return None, None
    best = min(scored, key=lambda r: (sign * r["dev"]["value"], r["learning_rate"]))["learning_rate"]
    if len(rates) == 1:
        return best, "only"
    ends = {rates[0]["learning_rate"]: "lowest", rates[-1]["learning_rate"]: "highest"}
    return best, ends.get(best)


def _mean_score(runs: Sequence[Record], sweep: _Sweep) -> dict[str, Any]:
    values_SN = _values(runs)
    if sweep.values_are_scores:
        # A proportion cannot leave 0 to 1; a loss has no upper end.
        right_or_wrong = bool(np.isin(values_SN, (0.0, 1.0)).all())
        return crossed_mean(values_SN, (0.0, 1.0) if right_or_wrong else None)
    found = [r["finetuning"]["test"][sweep.metric] for r in runs]
    ses = [(number["ci95"][1] - number["ci95"][0]) / 2 / 1.96 for number in found]
    return mean_of_runs(np.array([number["value"] for number in found]), np.array(ses))


def _values(runs: Sequence[Record]) -> Array:
    return np.array([r["finetuning"]["test_values"] for r in runs], float)


def _add_differences(
    methods: Sequence[Method], reference: str, by_id: Mapping[str, Record], sweep: _Sweep
) -> None:
    """Compare each method with the reference, where both have a score."""
    base = next(m for m in methods if m["label"] == reference)
    others = [m for m in methods if m is not base and m["score"] is not None and base["score"] is not None]
    for method in others:
        method["difference"] = {"reference": reference, **_difference(method, base, by_id, sweep)}
    stands = holm([m["difference"]["p"] for m in others])
    for method, after in zip(others, stands, strict=True):
        low, high = method["difference"]["ci95"]
        told = not low <= 0 <= high
        method["difference"] |= {"distinguishable": told, "after_holm": told and after}


def _difference(method: Method, base: Method, by_id: Mapping[str, Record], sweep: _Sweep) -> dict[str, Any]:
    shared = [seed for seed in method["seeds"] if seed in base["seeds"]]
    ours = [by_id[method["run_ids"][method["seeds"].index(seed)]] for seed in shared]
    theirs = [by_id[base["run_ids"][base["seeds"].index(seed)]] for seed in shared]
    of = sweep.metric if sweep.values_are_scores else _paired_quantity(ours + theirs, sweep)
    if not shared or of is None:
        found = unpaired_difference(method["score"], base["score"])
        return {"of": sweep.metric, "paired": False, "n_seeds": len(shared), **found}
    found = paired_difference(_values(ours) - _values(theirs))
    return {"of": of, "paired": True, "n_seeds": len(shared), **found}


def _compare_targets(
    methods: Sequence[Method], by_id: Mapping[str, Record], sweep: _Sweep
) -> dict[str, Any] | None:
    finished = [by_id[run_id] for method in methods for run_id in method["run_ids"]]
    of = sweep.metric if sweep.values_are_scores else _paired_quantity(finished, sweep)

    def values_of(run_id: str) -> Array:
        return _values([by_id[run_id]])[0]

    return compare_target_sets(methods, values_of, of, sweep.larger_is_better)


def _paired_quantity(runs: Sequence[Record], sweep: _Sweep) -> str | None:
    """Return what the test values are where they are not the score; None: they are no measure of it."""
    losses = not np.isin(_values(runs), (0.0, 1.0)).all() if runs else False
    return "loss, mean over examples" if losses and not sweep.larger_is_better else None
