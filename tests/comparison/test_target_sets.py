"""Sets of matrices compared: which methods share a budget, what is paired with what, what is said of it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lora_jax.comparison.documents import comparison_to_document
from lora_jax.comparison.estimates import Score
from lora_jax.comparison.results import MethodResult
from lora_jax.comparison.target_sets import compare_target_sets, set_name
from tests.report import method_folder

# label: (targets, rank, trainable parameters, true accuracy)
SETS = {
    "q r 8": (("q",), 8, 8000, 0.60),
    "k r 8": (("k",), 8, 8000, 0.62),
    "v r 8": (("v",), 8, 8000, 0.72),
    "qv r 4": (("q", "v"), 4, 8000, 0.80),
    "mlp r 2": (("mlp",), 2, 7600, 0.79),
    "qv r 1": (("q", "v"), 1, 2000, 0.80),
    "qv r 64": (("q", "v"), 64, 128_000, 0.80),
    "q r 1": (("q",), 1, 1000, 0.50),
    "q r 64": (("q",), 64, 64_000, 0.70),
}
N_TEST, SEEDS = 600, (0, 1, 2)


def lora(targets, rank):
    return {"method": "LoRA", "rank": rank, "alpha": 8.0, "targets": list(targets), "ranks": []}


def make_score(mean, low=None, high=None):
    ends = (mean - 0.03 if low is None else low, mean + 0.03 if high is None else high)
    return Score(mean, 0.015, ends, seed_se=0.01, test_se=0.01, df=2, seed_sd=0.01)


def make_method(label, config, n_trainable=8000, run_ids=(), score=None):
    """Return a method of which only what target sets read is told."""
    return MethodResult(
        label=label,
        config=config,
        n_trainable=n_trainable,
        n_head=0,
        flops_share=1.0,
        optimizer_bytes=0,
        share=0.1,
        seconds_per_step=None,
        rates=(),
        best_rate=1e-3,
        at_edge=None,
        run_ids=run_ids,
        seeds=SEEDS,
        scores=(),
        n_seeds=len(SEEDS),
        n_diverged=0,
        score=score,
        difference=None,
    )


def draw(sets=None, seed=0):
    """Return methods, and their runs' test values by run_id."""
    rng = np.random.default_rng(seed)
    hardness_N = rng.uniform(-0.15, 0.15, N_TEST)
    methods, values = [], {}
    for label, (targets, rank, size, truth) in (sets or SETS).items():
        runs_SN = (rng.random((len(SEEDS), N_TEST)) < truth + hardness_N).astype(float)
        ids = [f"{label}-{s}" for s in SEEDS]
        values |= dict(zip(ids, runs_SN, strict=True))
        mean = float(runs_SN.mean())
        methods.append(make_method(label, lora(targets, rank), size, tuple(ids), make_score(mean)))
    return methods, values


def compare(methods, values, of: str | None = "accuracy", larger_is_better=True) -> Any:
    found = compare_target_sets(methods, values.__getitem__, of, larger_is_better)
    assert found is not None
    return found


def mean_of(values, labels):
    return np.mean([values[f"{label}-{s}"].mean() for label in labels for s in SEEDS])


def test_the_budget_is_the_size_that_most_sets_have():
    found = compare(*draw())
    assert {one.label for one in found.budget.sets} == {"q r 8", "k r 8", "v r 8", "qv r 4", "mlp r 2"}
    assert (found.budget.n_least, found.budget.n_most) == (7600, 8000)
    assert [line.name for line in found.ranks] == ["q", "qv"]
    assert found.ranks[1].labels == ("qv r 1", "qv r 4", "qv r 64")


def test_a_contrast_is_the_difference_of_mean_scores_and_covers_the_truth():
    methods, values = draw()
    found = compare(methods, values)
    several = found.budget.several_less_single
    assert several.value == pytest.approx(
        mean_of(values, ["qv r 4", "mlp r 2"]) - mean_of(values, ["q r 8", "k r 8", "v r 8"])
    )
    truth = (0.80 + 0.79) / 2 - (0.60 + 0.62 + 0.72) / 3
    assert several.low < truth < several.high
    softmax = found.budget.softmax_less_other
    assert softmax.low < 0.61 - 0.72 < softmax.high < 0
    flat, steep = found.ranks[1].growth, found.ranks[0].growth
    assert flat.low < 0 < flat.high
    assert steep.low < 0.2 < steep.high
    said = " ".join(found.sentences)
    assert said.count("as in table 5") == 2
    assert "qv, from rank 1 to rank 64" in said
    assert "The interval includes zero" in said
    assert "More rank is better" in said


def test_the_order_of_the_methods_decides_nothing():
    methods, values = draw()
    one, two = compare(methods, values), compare(methods[::-1], values)
    assert one.budget.sets == two.budget.sets
    assert one.budget.pairs == two.budget.pairs
    assert one.budget.several_less_single == two.budget.several_less_single


def test_sets_that_are_alike_are_not_distinguished():
    found = compare(*draw({label: (*rest[:3], 0.8) for label, rest in SETS.items()}, seed=5))
    assert not any(pair.after_holm for pair in found.budget.pairs)
    assert len(found.budget.pairs) == 10
    assert "None of the 10 pairs of sets is distinguishable" in " ".join(found.sentences)


def test_the_opposite_of_the_table_is_said_to_be_that():
    worse = {"qv r 4": 0.4, "mlp r 2": 0.4, "q r 8": 0.85, "k r 8": 0.85}
    sets = {label: (*rest[:3], worse.get(label, rest[3])) for label, rest in SETS.items()}
    assert " ".join(compare(*draw(sets)).sentences).count("the opposite of table 5") == 2


def test_of_losses_less_is_better():
    methods, values = draw()
    methods = [replace(m, score=make_score(1 - m.finished_score.value, 0.1, 0.2)) for m in methods]
    losses = {run_id: 1 - right_N for run_id, right_N in values.items()}
    found = compare(methods, losses, "loss, mean over examples", larger_is_better=False)
    assert found.budget.several_less_single.value < 0
    assert found.budget.sets[-1].label == "q r 8"
    assert found.sentences[1].endswith("as in table 5 of Hu et al. 2021, on GPT-3.")
    assert "nats" in found.sentences[1]


def test_what_cannot_be_paired_has_no_contrast():
    found = compare(*draw(), of=None)
    assert found.budget.several_less_single is None
    assert found.budget.pairs == ()
    assert [line.growth for line in found.ranks] == [None, None]
    assert len(found.sentences) == 1


def test_methods_of_one_set_ask_nothing_of_sets():
    methods, values = draw({label: SETS[label] for label in ("qv r 1", "qv r 4", "qv r 64")})
    assert compare_target_sets(methods, values.__getitem__, "accuracy", True) is None
    compared = method_folder.compare(method_folder.make_records())
    assert all("targets" not in method.config for method in compared.methods)
    assert compared.target_sets is None
    assert "target_sets" not in comparison_to_document(compared)


def test_a_set_is_called_by_its_matrices():
    assert set_name(make_method("", lora(("q", "v"), 1))) == "qv"
    assert set_name(make_method("", lora(("mlp",), 1))) == "mlp"
    assert set_name(make_method("", lora(("q", "down"), 1))) == "q+down"


def test_differences_of_one_seed_are_said_to_be_that():
    methods, values = draw()
    assert not any("one seed" in said for said in compare(methods, values).sentences)
    methods = [replace(m, seeds=m.seeds[:1], run_ids=m.run_ids[:1]) for m in methods]
    found = compare(methods, values)
    assert found.sentences[-1].startswith("14 of these 14 differences come from one seed")
