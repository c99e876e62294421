"""One law on the same rows gets the same answer, whichever command asks; intervals that know clusters."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lora_jax.scaling.appraisal import appraise
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.intervals.uncertainty import Bootstrap, bootstrap
from lora_jax.scaling.laws import CHINCHILLA, LAWS
from lora_jax.scaling.one_law import Questions
from lora_jax.scaling.tables.cells import average_seeds
from lora_jax.scaling.tables.table import RunTable, make_table, read_table
from tests.as_documents import fit_law, fit_sweep

FEW = 200
KEYS = {law.key: law for law in LAWS.values()}


def _same_answers(table: RunTable, flops_column: str) -> int:
    """Hold `fit FOLDER` to `fit --law` on the rows of each of its entries; return how many there were.

    One variable: the rows are means of cells, whose seeds only the folder knows, and with them the lack of
    fit; so its sentence is left out there.
    """
    found = fit_sweep(table, flops_column=flops_column, n_bootstrap=FEW)
    runs = table.using(n_column=table.n_column, flops_column=flops_column)
    place = {run_id: i for i, run_id in enumerate(table.run_ids)}
    for entry in found["fits"]:
        rows = runs.take([place[i] for i in entry["run_ids"]])
        law = KEYS[entry["key"]]
        is_mean = len(law.variables) == 1
        document = fit_law(average_seeds(rows) if is_mean else rows, law, Questions(n_bootstrap=FEW))
        assert entry["objective"] == document["objective"], entry["key"]
        assert entry["objective"]["value"] == document["objective"]["value"], entry["key"]
        assert entry["bootstrap"]["kind"] == document["bootstrap"]["kind"], entry["key"]
        for name, number in entry["params"].items():
            assert number == document["params"][name], (entry["key"], name)
        said = (entry["certificate"]["warnings"], document["certificate"]["warnings"])
        ours, others = ([w for w in one if not (is_mean and "lack of fit" in w)] for one in said)
        assert ours == others, entry["key"]
        if not is_mean:
            assert entry["certificate"]["verdict"] == document["certificate"]["verdict"]
    return len(found["fits"])


def test_a_sweeps_laws_say_what_they_say_alone(sweep: Callable[..., RunTable]) -> None:
    assert _same_answers(sweep(6, 5), "flops_exact") == 7


def test_the_published_sweeps_laws_say_what_they_say_alone() -> None:
    folder = Path(__file__).parents[2] / "results" / "published" / "scaling_cpu"
    assert _same_answers(read_table(folder), "flops_exact") == 7


@pytest.mark.slow
def test_the_gemstones_say_what_they_say_alone(published: Path) -> None:
    assert published.exists()
    for name in ("gemstones-hot", "gemstones-cool"):
        assert _same_answers(read_table(f"published:{name}"), "flops") > 0


def ladder(seed: int, shared: float = 0.01, own: float = 0.003) -> RunTable:
    """Twenty training runs of eight rows each, whose errors they share; the floor is hardly known."""
    rng = np.random.default_rng((5, seed))
    n = np.repeat(np.geomspace(5e7, 3e9, 20), 8)
    d = np.tile(np.geomspace(2e9, 4e10, 8), 20)
    run = np.repeat(np.arange(20), 8)
    mean = 1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28
    loss = mean * np.exp(shared * rng.standard_normal(20)[run] + own * rng.standard_normal(len(n)))
    return replace(make_table("ladder", n_params=n, n_tokens=d, loss=loss), clusters=tuple(map(str, run)))


def _with_bound(seeds: range) -> tuple[RunTable, Bootstrap]:
    """Return the first ladder with a replicate whose E ends at its bound."""
    for seed in seeds:
        table = ladder(seed)
        replicates = bootstrap(fit(CHINCHILLA, table), FEW)
        if replicates.at_bound.get("E"):
            return table, replicates
    raise AssertionError("no replicate ends at its bound: choose other seeds")


def test_a_replicate_at_a_bound_does_not_make_clusters_forgotten() -> None:
    table, replicates = _with_bound(range(20))
    found = appraise(fit(CHINCHILLA, table), n_bootstrap=FEW)
    row = found.params["E"]
    assert row.by == "cluster bootstrap"
    assert row.share_at_bound == pytest.approx(replicates.at_bound["E"])
    ends = np.quantile(replicates.params["E"], (0.025, 0.975), method="weibull")
    assert row.ci95 == pytest.approx(ends.tolist())


@pytest.mark.slow
def test_the_percentiles_of_drawn_runs_hold_the_truth() -> None:
    """30 ladders: of 95%, fewer than 26 happen once in 60 times; the profile held it in 86% of 63."""
    held = []
    for seed in range(500, 530):
        row = appraise(fit(CHINCHILLA, ladder(seed)), n_bootstrap=FEW).params["E"]
        held.append(row.low <= 1.69 <= row.high)
    assert sum(held) >= 26


def test_the_verdict_names_a_form_that_is_not_theirs() -> None:
    from tests.scaling.fitting.test_structure import GRID, farseer, simulate

    said = fit_law(simulate(farseer, GRID, "normal", 0, 0.003), CHINCHILLA, Questions(n_bootstrap=FEW))
    assert said["certificate"]["verdict"].startswith("be careful")
    assert "structure in the residuals" in said["certificate"]["verdict"]
    assert said["certificate"]["structure"]["p"] < 0.01
    assert said["certificate"]["largest_runs"]["n_runs"] > 0


def test_a_law_that_misses_larger_runs_is_not_believed() -> None:
    """404 runs whose exponent of D grows a little with N: beyond them all runs are missed to one side."""

    def truth(n: np.ndarray, d: np.ndarray) -> np.ndarray:
        return 1.69 + 406.4 * n**-0.34 + 410.7 * d ** -(0.28 + 0.004 * np.log(n / 1e9))

    rng = np.random.default_rng(7)
    n = np.exp(rng.uniform(np.log(2e8), np.log(6e9), 404))
    d = np.exp(rng.uniform(np.log(2e9), np.log(1e11), 404))
    noise = np.exp(0.003 * np.random.default_rng((11, 0)).standard_normal(404))
    table = make_table("404", n_params=n, n_tokens=d, loss=truth(n, d) * noise)
    larger = [(x, 12 * x) for x in np.geomspace(1.2e10, 2.5e10, 7)]
    asked = Questions(n_bootstrap=FEW, predict=[{"N": x, "D": y} for x, y in larger])
    document = fit_law(table, CHINCHILLA, asked)
    runs = [row for row in document["predictions"] if row["quantity"] == "loss of one run"]
    measured = [float(truth(np.array(x), np.array(y))) for x, y in larger]
    inside = [row["ci95"][0] <= y <= row["ci95"][1] for row, y in zip(runs, measured, strict=True)]
    assert sum(inside) <= 1, "the premise: it misses them"
    verdict = document["certificate"]["verdict"]
    assert verdict.startswith("be careful")
    assert "predicts its own largest runs badly" in verdict
    assert "structure in the residuals" in verdict
