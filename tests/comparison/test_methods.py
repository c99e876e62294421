"""The comparison of methods: intervals that cover what they should, the rules of a sweep, warnings."""

import numpy as np
import pytest

from lora_jax.comparison.uncertainty import (
    crossed_mean,
    holm,
    mean_of_runs,
    paired_difference,
    unpaired_difference,
)
from lora_jax.errors import LoraJaxError
from tests.report.method_folder import compare, make_record, make_records

REPEATS = 500
RIGHT, LESS = 0.8, 0.03  # the methods' true accuracies: RIGHT, and RIGHT - LESS


def draw_run(rng, mean, n_seeds, seed_sd, hardness_N):
    """Return right or wrong of (seeds, examples): both move the chance, linearly, so the mean is known."""
    chance_SN = mean + seed_sd * rng.normal(size=(n_seeds, 1)) + hardness_N
    return (rng.random(chance_SN.shape) < chance_SN).astype(float)


def coverage(seed_sd, n, difference):
    """Return the share of repeats whose interval holds the truth."""
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(REPEATS):
        hardness_N = np.where(rng.random(n) < 0.25, -0.36, 0.12)  # a quarter is hard
        ours = draw_run(rng, RIGHT, 3, seed_sd, hardness_N)
        if difference:
            theirs = draw_run(rng, RIGHT - LESS, 3, seed_sd, hardness_N)
            found, truth = paired_difference(ours - theirs, n_draws=400), LESS
        else:
            found, truth = crossed_mean(ours), RIGHT
        held += found.low <= truth <= found.high
    return held / REPEATS


# Where examples decide, where both do, where seeds do: a part that is left out is missed in one of them.
@pytest.mark.parametrize(("seed_sd", "n"), [(0.005, 100), (0.02, 100), (0.04, 100)])
@pytest.mark.parametrize("difference", [False, True])
def test_an_interval_of_three_seeds_covers_the_truth(seed_sd, n, difference):
    assert 0.92 <= coverage(seed_sd, n, difference) <= 0.98


def test_pairing_by_example_takes_their_common_hardness_out():
    rng = np.random.default_rng(0)
    hardness_N = rng.normal(size=400)
    ours = 1.0 + hardness_N + 0.01 * rng.normal(size=(3, 400))
    theirs = 1.1 + hardness_N + 0.01 * rng.normal(size=(3, 400))
    paired = paired_difference(ours - theirs)
    unpaired = unpaired_difference(crossed_mean(ours), crossed_mean(theirs))
    assert paired.value == pytest.approx(unpaired.value, abs=1e-12)
    assert paired.high < -0.09 < unpaired.high
    assert paired.se is not None
    assert unpaired.se is not None
    assert unpaired.se > 20 * paired.se


def test_one_seed_gives_the_binomial_standard_error():
    right = np.array([[1.0] * 170 + [0.0] * 30])
    found = crossed_mean(right)
    assert found.se == pytest.approx((0.85 * 0.15 / 199) ** 0.5)
    assert found.df == 199
    assert (found.seed_se, found.seed_sd) == (0.0, None)


def test_seeds_without_examples_give_the_textbook_interval():
    # All examples alike: what is left is Student's interval of three numbers, by hand.
    scores = np.array([0.5, 0.6, 0.7])
    found = crossed_mean(np.repeat(scores[:, None], 50, axis=1))
    half = 4.302653 * 0.1 / 3**0.5
    assert found.ci95 == pytest.approx([0.6 - half, 0.6 + half], abs=1e-6)
    again = mean_of_runs(scores, np.zeros(3))
    assert again.ci95 == pytest.approx(found.ci95)


def test_examples_without_seeds_give_the_textbook_interval():
    # Every seed alike: what is left is the mean of 400 differences, by hand.
    differences = np.repeat(np.tile([0.5, -0.3], 200)[None], 3, axis=0)
    found = paired_difference(differences)
    half = 1.96 * 0.4 * (400 / 399) ** 0.5 / 20
    assert found.ci95 == pytest.approx([0.1 - half, 0.1 + half], abs=0.003)
    assert found.p == 2 / 4000  # five standard errors off


def test_holm_stops_at_the_first_that_fails():
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]


@pytest.fixture(scope="module")
def found():
    return compare(make_records())


def test_the_dev_score_chooses_the_rate_and_all_seeds_the_score(found):
    methods = found.by_label
    assert [methods[label].best_rate for label in ("Full", "LoRA r 4", "Prefix")] == [3e-4, 1e-3, 3e-3]
    assert methods["Full"].seeds == (0, 1, 2)
    assert methods["Full"].score.value == pytest.approx(np.mean(methods["Full"].scores))
    assert methods["LoRA r 1"].share == pytest.approx(9_200 / 22_000_000)
    assert [tried.diverged for tried in methods["AdapterH"].rates] == [False, False, False, True]
    assert found.ranking[0] == max(methods, key=lambda label: methods[label].score.value)
    assert found.reference == "Full"
    assert methods["Full"].difference is None
    assert methods["Top-1"].difference.value == pytest.approx(
        methods["Top-1"].score.value - methods["Full"].score.value
    )


def test_equal_dev_scores_choose_the_lower_rate_and_edges_are_told():
    records = [make_record("Full", rate, 0, [1.0, 0.0, 1.0], 0.5) for rate in (1e-3, 1e-4, 3e-4)]
    [method] = compare(records).methods
    assert (method.best_rate, method.at_edge) == (1e-4, "lowest")


def test_a_diverged_rate_is_beyond_the_edge():
    records = [make_record("Full", rate, 0, [1.0, 0.0, 1.0], dev) for rate, dev in ((1e-4, 0.4), (3e-4, 0.5))]
    records.append(make_record("Full", 1e-3, 0, [], 0.0))
    [method] = compare(records).methods
    assert (method.best_rate, method.at_edge) == (3e-4, None)


def test_warnings_name_what_weakens_the_comparison():
    records = [
        r for r in make_records() if r["finetuning"]["label"] in ("Full", "Prefix", "LoRA r 4", "BitFit")
    ]
    records = [r for r in records if (r["finetuning"]["label"], r["seed"]) != ("LoRA r 4", 2)]
    for i, r in enumerate(records):
        if r["finetuning"]["label"] == "BitFit":
            records[i] = make_record("BitFit", r["learning_rate"], r["seed"], [], 0.0)
    found = compare(records)
    said = "\n".join(found.warnings)
    assert "Prefix: the best learning rate, 0.003, is the highest that was tried" in said
    assert "LoRA r 4: only 2 of 3 seeds have finished" in said
    assert "LoRA r 4: 2 seeds tell little" in said
    assert "BitFit: no run finished at any of its 4 learning rates" in said
    assert "BitFit" not in found.ranking
    assert found.by_label["BitFit"].score is None


def with_metric(records, metric, values):
    """Change records to another metric; values: record -> (score, half its interval, test values)."""
    for record in records:
        tuning = record["finetuning"]
        tuning["metric"] = metric
        if tuning["test"]:
            score, half, tuning["test_values"] = values(record)
            number = {"value": score, "se": None, "ci95": [score - half, score + half]}
            tuning["test"] = tuning["dev"] = {metric: number}
    return records


def difference_of(found, label):
    difference = found.by_label[label].difference
    assert difference is not None
    return difference


def test_a_corpus_metric_takes_each_runs_own_interval():
    records = [r for r in make_records() if r["finetuning"]["label"] in ("Full", "LoRA r 4")]
    # The best dev score is that of the highest rate: one run, whose error is its interval's.
    found = compare(
        with_metric(
            records, "bleu", lambda r: (30 + 1e3 * r["learning_rate"], 1.96, r["finetuning"]["test_values"])
        )
    )
    full = found.by_label["Full"]
    assert full.best_rate == 3e-3
    assert full.finished_score.se == pytest.approx(1.0)
    assert difference_of(found, "LoRA r 4").paired is False
    assert difference_of(found, "LoRA r 4").se == pytest.approx(2**0.5)
    assert "from each run's own interval" in found.estimator.score


def test_a_smaller_loss_is_better_and_its_differences_are_paired():
    rng = np.random.default_rng(0)
    easy_N = rng.gamma(2.0, 0.5, size=200)

    def loss(record):
        worse = 0.2 * (record["finetuning"]["label"] != "Full")
        losses = (easy_N + worse + 0.05 * rng.normal(size=200)).tolist()
        return float(np.mean(losses)) * 1.1, 0.1, losses  # weighed by tokens: not the mean of the examples

    records = [r for r in make_records(200) if r["finetuning"]["label"] in ("Full", "LoRA r 4")]
    found = compare(with_metric(records, "loss", loss))
    assert found.ranking == ("Full", "LoRA r 4")
    difference = difference_of(found, "LoRA r 4")
    assert (difference.paired, difference.of) == (True, "loss, mean over examples")
    assert difference.distinguishable
    assert difference.value == pytest.approx(0.2, abs=0.02)
    assert "Worse than Full: LoRA r 4" in " ".join(found.verdict)


def test_records_that_do_not_belong_together_are_refused():
    records = make_records()[:3]
    records[1]["finetuning"]["task"] = "rte"
    with pytest.raises(LoraJaxError, match="2 different values of task"):
        compare(records)
    records = make_records()[:3]
    records[1]["finetuning"]["test_values"].pop()
    with pytest.raises(LoraJaxError, match="tested on 299 and 300 examples"):
        compare(records)
    records = make_records()[:3]
    records[2]["finetuning"] = None
    with pytest.raises(LoraJaxError, match="trained from scratch"):
        compare(records)
