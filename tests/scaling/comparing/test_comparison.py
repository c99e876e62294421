"""Which form: the ranking follows its definition, finds the true form, and claims no more than was tested."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lora_jax.documents import to_document
from lora_jax.errors import LoraJaxError
from lora_jax.scaling.comparing.comparison import candidates, compare
from lora_jax.scaling.comparing.error_resampling import bounds_of, draw
from lora_jax.scaling.comparing.extrapolation import search
from lora_jax.scaling.comparing.origins import cut, cut_largest, order_rows
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.laws import LAWS
from lora_jax.scaling.tables.table import RunTable, make_table

SIX = ("chinchilla", "kaplan", "power-n", "power-c", "power-c-floor", "power-d")


def grid(loss_of, noise: float = 0.004, seed: int = 0, sizes: int = 7, counts: int = 6) -> RunTable:
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 3e9, sizes), np.geomspace(3e8, 6e10, counts)))
    loss = loss_of(n, d) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))
    return make_table("simulated", n_params=n, n_tokens=d, loss=loss)


def by_chinchilla(n, d):
    return 1.7 + 4000 * n**-0.46 + 250 * d**-0.28


def by_shared_exponent(n, d):
    return 1.5 + (30 * n**-0.22 + 60 * d**-0.24) ** 2.2


@pytest.fixture(scope="module")
def compared():
    """Six laws on a table that Chinchilla's law made."""
    return compare(grid(by_chinchilla), SIX)


@pytest.mark.parametrize("seed", range(3))
def test_the_true_form_is_first_or_not_told_from_the_first(seed):
    found = compare(grid(by_chinchilla, seed=seed), ("chinchilla", "over-training", "kaplan", "power-c"))
    status = {row.name: row.standing.status for row in found.rows if row.standing}
    assert status["chinchilla"] in ("best", "tied")
    assert {status[name] for name in ("over-training", "kaplan", "power-c")} == {"worse"}
    assert "supports chinchilla" in found.words


def test_a_power_law_without_a_floor_is_called_worse_where_the_floor_matters():
    x = np.repeat(np.geomspace(1e16, 1e21, 14), 2)
    loss = (1.7 + (3e14 / x) ** 0.2) * np.exp(0.002 * np.random.default_rng(0).standard_normal(28))
    found = compare(make_table("compute alone", flops=x, loss=loss), ("power-c", "power-c-floor"))
    assert [row.name for row in found.rows] == ["power-c-floor", "power-c"]
    assert found.rows[1].verdict.startswith("worse than the best: its error is ")


def test_the_shared_exponent_wins_where_it_is_the_truth_and_far_from_one():
    found = compare(grid(by_shared_exponent), ("shared-exponent", "chinchilla", "kaplan"))
    assert found.rows[0].name == "shared-exponent"
    assert all(row.standing and row.standing.status == "worse" for row in found.rows[1:])


@pytest.mark.slow
def test_the_truth_is_seldom_called_worse():
    """At 1 % noise over-training, which is almost true here with a parameter less, often predicts better."""
    called = 0
    for seed in range(20):
        table = grid(lambda n, d: 1.7 + 400 * n**-0.34 + 1500 * d**-0.36, 0.01, seed=1000 + seed)
        found = compare(table, ("chinchilla", "over-training", "kaplan", "power-c-floor"))
        called += any(r.name == "chinchilla" and r.verdict.startswith("worse") for r in found.rows)
    assert called <= 3


def test_the_ranking_does_not_depend_on_the_unit_of_n(compared):
    table = compared.table
    columns = {**table.columns, "n_params": table["n_params"] / 1e9}
    other = compare(replace(table, columns=columns), SIX)
    assert [r.name for r in other.rows] == [r.name for r in compared.rows]
    assert [r.rolling_rms for r in other.rows] == pytest.approx(
        [r.rolling_rms for r in compared.rows], rel=1e-6
    )
    assert [r.verdict for r in other.rows] == [r.verdict for r in compared.rows]


def test_every_number_of_the_ranking_by_hand(compared):
    """Recomputed with `fit`, the losses sorted by C here, and sums written out."""
    table, names = compared.table, ("chinchilla", "power-c")
    by_c = np.argsort(table["flops"], kind="stable")
    ln_loss, errors = np.log(table["loss"]), {}

    def predict(name: str, n_train: int) -> np.ndarray:
        answer = fit(LAWS[name], table.take(np.sort(by_c[:n_train])))
        rows = np.sort(by_c[n_train:])
        at = {v: table.variable(v)[rows] for v in LAWS[name].variables}
        return np.log(answer.predict(**at)) - ln_loss[rows]

    levels = np.sort(table["flops"])
    assert [s.n_train for s in compared.origins] == [21, 25, 29, 34, 38]  # .5 to .9 of 42
    for split in compared.origins:
        assert split.farthest == pytest.approx(levels[-1] / levels[split.n_train - 1])
    for name in names:
        [row] = [r for r in compared.rows if r.name == name]
        blocks = [predict(name, s.n_train) for s in compared.origins]
        assert row.origin_rms == pytest.approx([float(np.sqrt(np.mean(b**2))) for b in blocks], rel=1e-5)
        errors[name] = np.concatenate(blocks)
        assert row.errors == pytest.approx(errors[name], abs=1e-7)
        assert row.rolling_rms == pytest.approx(np.sqrt(np.mean(errors[name] ** 2)), rel=1e-5)
        assert row.heldout_rms == pytest.approx(row.origin_rms[-1])  # 42 rows: the largest tenth
        alone = predict(name, 41)
        assert row.heldout_error == pytest.approx(float(np.exp(alone[0]) - 1), abs=1e-7)
        whole = fit(LAWS[name], table)
        assert row.insample_rms == pytest.approx(np.sqrt(np.mean(whole.residuals**2)), rel=1e-6)
    best, other = (next(r.standing for r in compared.rows if r.name == name) for name in names)
    assert best is not None
    assert best.status == "best"
    assert other is not None
    gap = errors["power-c"] ** 2 - errors["chinchilla"] ** 2
    assert other.difference == pytest.approx(gap.mean(), rel=1e-5)
    low, high = other.difference_ci95
    assert low < other.difference < high
    assert other.excess == pytest.approx(
        np.sqrt((errors["power-c"] ** 2).mean() / (errors["chinchilla"] ** 2).mean()) - 1
    )


def test_no_origin_has_seen_what_it_predicts(compared):
    """Other losses beyond the last fitted run change its measured values and no prediction."""
    split = compared.origins[0]
    loss = compared.table["loss"].copy()
    loss[split.test] *= np.linspace(0.7, 1.4, len(split.test))
    table = replace(compared.table, columns={**compared.table.columns, "loss": loss})
    other = compare(table, SIX, shares=(0.5,))
    k = len(split.test)
    moved = np.log(loss[split.test] / compared.table["loss"][split.test])
    for row in other.rows:
        [before] = [r.errors for r in compared.rows if r.name == row.name]
        assert row.errors == pytest.approx(before[:k] - moved, abs=1e-7)


@pytest.mark.parametrize(
    "name", ["shared-exponent", "power-c-floor", pytest.param("broken-c", marks=pytest.mark.slow)]
)
def test_the_short_search_finds_the_minimum_of_the_long_one(chinchilla_240, name):
    order = order_rows(chinchilla_240)
    warm = None
    for split in cut(order, (0.5, 0.7)):
        part = chinchilla_240.take(split.train)
        found = search(LAWS[name], part, "huber", None, warm)
        warm = found.params
        assert found.converged
        assert found.objective <= fit(LAWS[name], part).objective * (1 + 1e-6)


@pytest.mark.slow
def test_the_whole_chinchilla_table_is_compared_to_the_least_minima(chinchilla_240):
    found = compare(chinchilla_240)
    assert len(found.rows) == 13
    ranked = [row.name for row in found.rows]
    assert {"chinchilla", "over-training"} <= set(ranked[:3])
    assert ranked.index("power-n") > ranked.index("power-c") > ranked.index("power-c-floor")
    for split in found.origins:
        part = chinchilla_240.take(split.train)
        assert search(LAWS["kaplan"], part).objective <= fit(LAWS["kaplan"], part).objective * (1 + 1e-6)


def test_laws_that_do_not_apply_say_why(sweep):
    table = sweep(5, 8)
    table = replace(table, columns={**table.columns, "unique_tokens": table["n_tokens"]})
    found = compare(table, ("chinchilla", "kaplan-steps", "data-constrained", "critical-batch"))
    reasons = {e.name: e.reason for e in found.excluded}
    assert reasons["kaplan-steps"] == "the table has no n_steps (S)"
    assert reasons["data-constrained"].startswith("U = k D in every row")
    assert reasons["critical-batch"] == "predicts critical_batch, not loss"
    one_size = table.take(table["n_params"] == table["n_params"].min())
    reasons = {e.name: e.reason for e in compare(one_size, ("power-d", "power-n", "broken-d")).excluded}
    assert reasons["power-n"] == "n_params (N) is the same in every row"
    assert reasons["broken-d"].startswith("6 parameters, and ")
    with pytest.raises(LoraJaxError, match=r"suits none of the laws \(power-n: n_params"):
        compare(one_size, ("power-n",))


def test_candidates_are_the_laws_that_are_compared(sweep):
    names = [name for name, _ in candidates(sweep())]
    assert {"chinchilla", "kaplan", "shared-exponent", "power-n", "power-c-floor", "broken-d"} <= set(names)
    assert not {"kaplan-steps", "critical-batch", "rectified"} & set(names)
    rising = make_table("errors", loss=np.linspace(4, 2, 12), error=np.linspace(0.9, 0.5, 12))
    assert [name for name, _ in candidates(rising, "error")] == ["downstream-error"]


def test_what_a_law_ignores_or_cannot_separate_is_noted(sweep):
    found = compare(sweep(), ("chinchilla", "power-n", "power-c"))
    notes = {row.name: " ".join(row.notes) for row in found.rows}
    assert notes["chinchilla"] == ""
    assert notes["power-n"] == "ignores D, which varies"
    assert notes["power-c"].startswith("ignores N, which varies at one C")
    n = np.geomspace(1e7, 1e9, 16)
    ladder = make_table("ladder", n_params=n, n_tokens=20 * n, loss=by_chinchilla(n, 20 * n))
    notes = {row.name: row.notes for row in compare(ladder, ("chinchilla", "power-n", "power-c")).rows}
    assert notes["chinchilla"][0] == "D = k N in every row: their exponents cannot be separated"
    assert notes["power-n"] == notes["power-c"] == ()


def test_a_law_that_an_origin_cannot_hold_is_named_and_not_ranked():
    """The smaller half has one N, so that an exponent of N cannot be fitted to it."""
    n = np.repeat([1e7, 1e8], 10)
    d = np.concatenate([np.geomspace(1e8, 1e9, 10), np.geomspace(2e9, 2e10, 10)])
    found = compare(
        make_table("two sizes", n_params=n, n_tokens=d, loss=by_chinchilla(n, d)), ("power-n", "power-d")
    )
    assert [row.name for row in found.rows] == ["power-d", "power-n"]
    last = found.rows[1]
    assert last.rolling_rms is None
    assert last.verdict.startswith(
        "cannot be fitted at origin 1 (50 % of the cells): N is the same in its 10 rows"
    )
    assert "Not ranked, because they could not be fitted at every origin: power-n" in found.words


def test_training_runs_and_equal_compute_are_not_parted():
    n, d = (
        x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 8), np.geomspace(1e9, 1e11, 5), indexing="ij")
    )
    table = make_table("trunks", n_params=n, n_tokens=d, loss=by_chinchilla(n, d))
    trunks = replace(table, clusters=tuple(f"{x:.0f}" for x in n))
    for split in (*cut(order_rows(trunks)), cut_largest(order_rows(trunks))):
        assert not set(n[split.train]) & set(n[split.test])
        assert table["flops"][split.test].min() > table["flops"][split.train].max()
    flops = np.repeat(np.geomspace(1e18, 1e21, 4), 6)
    budgets = make_table(
        "budgets", flops=flops, n_params=np.tile(np.geomspace(1e8, 1e9, 6), 4), loss=np.full(24, 3.0)
    )
    splits = cut(order_rows(budgets))
    assert [s.n_train for s in splits] == [12, 18]
    assert cut_largest(order_rows(budgets)).n_train == 18
    one = make_table("one", flops=np.full(6, 1e18), n_params=np.geomspace(1e8, 1e9, 6), loss=np.full(6, 3.0))
    with pytest.raises(LoraJaxError, match="All rows have the same C"):
        cut(order_rows(one))


def test_without_compute_the_product_of_what_varies_orders_the_rows():
    f = np.geomspace(1e3, 1e6, 10)
    table = make_table("tuning", n_params=np.full(10, 1e9), finetune_tokens=f, loss=2 + f**-0.3)
    assert order_rows(table).measure == "F"
    found = compare(table, ("rectified",))
    assert found.order.measure == "F"
    assert found.words.startswith("rectified is the only law compared")


def test_the_resampling_of_one_origin_is_the_bootstrap_of_a_mean():
    """For one origin and one prediction a unit it is the classical bootstrap: sd / sqrt(n)."""
    values = np.random.default_rng(1).normal(3.0, 2.0, 200)
    draws = draw(np.zeros(200, dtype=np.int64), np.arange(200), 20_000)
    assert draws is not None
    means = draws.mean(values)
    assert means.std() == pytest.approx(values.std() / np.sqrt(200), rel=0.03)
    low, high = bounds_of(means)
    assert (low, high) == pytest.approx((values.mean() - 0.277, values.mean() + 0.277), abs=0.03)
    wider = bounds_of(means, 10)
    assert wider[0] < low
    assert high < wider[1]
    # a second origin with the same errors adds no evidence
    twice = draw(np.repeat([0, 1], 200), np.tile(np.arange(200), 2), 20_000)
    assert twice is not None
    assert twice.mean(np.tile(values, 2)).std() == pytest.approx(means.std(), rel=0.03)
    assert draw(np.zeros(3, dtype=np.int64), np.arange(3)) is None


def test_few_predictions_rank_nothing(sweep):
    table = sweep().take(range(12))
    found = compare(table, ("power-d", "power-n"), shares=(0.9,))
    assert [row.standing.status for row in found.rows if row.standing] == ["best", "unresolved"]
    assert found.rows[1].report().difference_ci95 is None
    assert "too few to distinguish them" in found.rows[1].verdict


def test_the_words_say_what_was_tested_and_no_more(compared):
    first, last = compared.origins[0], compared.origins[-1]
    assert f"up to {first.farthest:.3g} times the largest fitted 6 N D" in compared.words
    assert f"{last.farthest:.3g} times from the last. This says nothing about runs beyond." in compared.words
    assert f"We tested {sum(len(s.test) for s in compared.origins)} predictions of 21 cells" in compared.words


def test_a_difference_below_the_noise_is_said_to_be():
    table = grid(by_chinchilla, noise=0.02)
    seeds = table.take(np.tile(np.arange(len(table)), 2))
    noise = np.exp(0.02 * np.random.default_rng(5).standard_normal(len(seeds)))
    seeds = replace(seeds, columns={**seeds.columns, "loss": seeds["loss"] * noise})
    found = compare(seeds, ("chinchilla", "over-training", "power-n"))
    assert found.noise is not None
    assert found.noise.source == "between the runs of 42 cells"
    assert found.noise.sd == pytest.approx(0.02, rel=0.3)
    close = {row.name: row.standing.below_noise for row in found.rows if row.standing}
    assert close == {"chinchilla": True, "over-training": True, "power-n": False}
    [near] = [r for r in found.rows[:2] if r.standing and r.standing.status != "best"]
    assert near.verdict.endswith("the difference is smaller than the noise of one run")
    assert found.order.n_units == 42
    assert all(
        not set(map(int, found.order.unit[s.train])) & set(map(int, found.order.unit[s.test]))
        for s in found.origins
    )


def test_rows_of_other_unique_tokens_are_no_seeds_of_one_another():
    table = grid(by_chinchilla, noise=0.0)
    twice = table.take(np.tile(np.arange(len(table)), 2))
    unique = twice["n_tokens"] / np.repeat([1.0, 4.0], len(table))
    loss = twice["loss"] * np.repeat([1.0, 1.1], len(table))
    twice = replace(twice, columns={**twice.columns, "unique_tokens": unique, "loss": loss})
    found = compare(twice, ("chinchilla", "power-n"))
    assert found.order.n_units == 84
    assert found.noise is not None
    assert found.noise.source == "what the best law leaves of all rows"


def test_an_exact_table_ranks_no_rounding_errors():
    found = compare(grid(by_chinchilla, noise=0.0), ("chinchilla", "shared-exponent", "kaplan"))
    status = {row.name: row.standing.status for row in found.rows if row.standing}
    assert sorted((status["chinchilla"], status["shared-exponent"])) == ["best", "exact"]
    assert status["kaplan"] == "worse"


def test_the_json_is_plain_and_complete(compared):
    document = json.loads(json.dumps(to_document(compared.report()), allow_nan=False))
    wanted = (
        "name",
        "key",
        "formula",
        "n_params",
        "insample_rms",
        "heldout_rms",
        "heldout_error",
        "rolling_rms",
        "rolling_se",
        "difference",
        "difference_ci95",
        "verdict",
    )
    assert all(name in row for row in document["rows"] for name in wanted)
    assert all({"share", "n_train", "n_test", "reach"} <= set(o) for o in document["origins"])
    assert document["words"] == compared.words
    n = sum(o["n_test"] for o in document["origins"])
    assert len(document["predicted"]) == n
    for row in document["rows"]:
        assert np.sqrt(np.mean(np.square(row["errors"]))) == pytest.approx(row["rolling_rms"], rel=1e-4)


def test_bad_requests_are_refused(sweep):
    with pytest.raises(LoraJaxError, match="nearest: 'chinchilla'"):
        compare(sweep(), ("chincilla",))
    with pytest.raises(LoraJaxError, match="give shares between 0 and 1"):
        compare(sweep(), ("chinchilla",), shares=(0.5, 1.0))
    with pytest.raises(LoraJaxError, match="has no column 'error'"):
        compare(sweep(), response="error")
