"""fits.json from a table: its keys, what is left out and why, and the held-out cell predicted."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling import sweep as sweeps
from lora_jax.scaling.documents import read_fits, write_fits
from lora_jax.scaling.results import FitReport
from lora_jax.scaling.sweep_results import JOINT
from lora_jax.scaling.tables.table import LeftOut, RunTable, make_table
from tests.as_documents import fit_sweep

TOP = {
    "source", "n_runs", "n_fitted", "n_column", "flops_column", "left_out", "noise", "fits", "exponents",
    "columns", "counted", "loss_name", "loss_unit",
    "unit_told", "by_convention", "frontier", "heldout_cell", "learning_rate", "warnings", "format",
}  # fmt: skip
ENTRY = {
    "key",
    "slice",
    "run_ids",
    "residuals",
    *(field.name for field in fields(FitReport) if field.name not in ("samples", "profiles")),
}
PUBLISHED = Path(__file__).parents[2] / "results" / "published"
KEYS = {"L(N)", "L(N) with floor", "L(D)", "L(D) with floor", "L(C)", "L(C) with floor", "L(N,D)"}


def _with(table: RunTable, **columns: np.ndarray) -> RunTable:
    return replace(table, columns={**table.columns, **columns})


def test_schema(sweep: Callable[..., RunTable]) -> None:
    found = fit_sweep(sweep(), n_bootstrap=100)
    assert set(found) == TOP
    assert {f["key"] for f in found["fits"]} == KEYS
    for entry in found["fits"]:
        one = entry["key"] != "L(N,D)"
        assert set(entry) == ENTRY
        assert (entry["band"] is not None) == one
        assert entry["n"] == len(entry["run_ids"]) == len(entry["residuals"])
        assert len(entry["runs"]) == (entry["n_clusters"] if one else entry["n"])
        assert entry["certificate"]["converged"]
        for number in entry["params"].values():
            assert {"value", "se", "ci95", "by"} <= set(number)
            assert number["ci95"] is None or number["ci95"][0] <= number["value"] <= number["ci95"][1]
        if one:
            assert {len(v) for v in entry["band"].values()} == {60}
            assert all(
                lo <= mid <= hi
                for lo, mid, hi in zip(*(entry["band"][k] for k in ("lo", "loss", "hi")), strict=True)
            )
    assert set(found["exponents"]) == {"alpha_N", "alpha_D", "alpha_C"}
    assert set(found["by_convention"]) == {"n_params", "n_params_with_head", "n_params_total"}
    assert found["by_convention"]["n_params"]["value"] == found["exponents"]["alpha_N"]["value"]
    assert found["noise"]["n_cells"] == 1
    assert 0.001 < found["noise"]["seed_sd_log_loss"] < 0.02
    assert len(found["left_out"]) + found["n_fitted"] == found["n_runs"] == 22
    json.dumps(found, allow_nan=False)


def test_the_held_out_cell_is_predicted_and_in_no_fit(sweep: Callable[..., RunTable]) -> None:
    table = sweep(seed=1)
    found = fit_sweep(table, n_bootstrap=200)
    cell = found["heldout_cell"]
    largest = table.run_ids[int(table["flops_exact"].argmax())]
    assert cell["run_id"] == largest
    assert {"run_id": largest, "reason": "held out: the largest cell"} in found["left_out"]
    assert all(largest not in entry["run_ids"] for entry in found["fits"])
    predicted = {p["key"]: p for p in cell["predictions"]}
    assert {"L(N,D)", "L(C)"} <= set(predicted)
    joint = predicted["L(N,D)"]
    assert joint["relative_error"] == pytest.approx(joint["value"] / cell["measured"] - 1)
    assert abs(joint["relative_error"]) < 0.02
    assert joint["ci95"][0] < cell["measured"] < joint["ci95"][1]
    assert cell["within_3_percent"] is True


def test_a_largest_cell_off_the_law_is_said_plainly(sweep: Callable[..., RunTable]) -> None:
    table = sweep()
    loss = table["loss"].copy()
    loss[table["flops"].argmax()] *= 1.1
    found = fit_sweep(_with(table, loss=loss), n_bootstrap=50)
    assert found["heldout_cell"]["within_3_percent"] is False
    assert any("not predicted within 3 %" in w for w in found["warnings"])


def test_slices_are_the_largest_with_three_values(sweep: Callable[..., RunTable]) -> None:
    table = sweep()
    entries = {entry["key"]: entry for entry in fit_sweep(table, n_bootstrap=50)["fits"]}
    where = {run_id: i for i, run_id in enumerate(table.run_ids)}
    for key, fixed, name in (("L(N)", "n_tokens", "4 sizes"), ("L(D)", "n_params", "3 token counts")):
        rows = [where[r] for r in entries[key]["run_ids"]]
        assert set(table[fixed][rows]) == {table[fixed].max()}
        assert name in entries[key]["slice"]


def test_a_slice_too_short_is_a_warning_and_not_a_crash(sweep: Callable[..., RunTable]) -> None:
    found = fit_sweep(sweep(6, 2), n_bootstrap=50)
    keys = {entry["key"] for entry in found["fits"]}
    assert {"L(N)", "L(C)"} <= keys
    assert not {"L(D)", "L(N,D)"} & keys
    assert any(w.startswith("L(D) is not fitted: no size has 3 token counts") for w in found["warnings"])
    assert any(w.startswith("L(N,D) is not fitted: 6 sizes and 2 token counts") for w in found["warnings"])
    assert found["frontier"]["a"] is None
    assert found["heldout_cell"]["within_3_percent"] is None


def test_a_table_too_small_for_any_law_says_what_each_lacks() -> None:
    one = fit_sweep(make_table("x", n_params=[1e5], n_tokens=[1e6], loss=[3.0]))
    assert one["fits"] == []
    assert any("the runs have one N and one D" in line for line in one["warnings"])
    assert one["heldout_cell"]["measured"] == pytest.approx(3.0)
    two = fit_sweep(make_table("x", n_params=[1e5, 2e5], n_tokens=[1e6, 1e6], loss=[3.0, 2.9]))
    assert two["fits"] == []
    for key in ("L(N)", "L(D)", "L(C)", "L(N,D)"):
        assert sum(line.startswith(f"{key} is not fitted: ") for line in two["warnings"]) == 1
    json.dumps([one, two], allow_nan=False)
    with pytest.raises(LoraJaxError, match=r"n_parms.*nearest: 'n_params'"):
        fit_sweep(make_table("x", n_params=[1e5], n_tokens=[1e6], loss=[3.0]), n_column="n_parms")


def _with_rates(table: RunTable, rows: np.ndarray, rates: list[float], factors: list[float]) -> RunTable:
    """Return the table with `rows` repeated at other base rates, their losses multiplied."""
    index = np.concatenate([np.arange(len(table)), *(rows for _ in rates)])
    wider = table.take(index)
    loss, rate = wider["loss"].copy(), wider["base_learning_rate"].copy()
    for k, (r, factor) in enumerate(zip(rates, factors, strict=True)):
        part = slice(len(table) + k * len(rows), len(table) + (k + 1) * len(rows))
        rate[part], loss[part] = r, loss[part] * factor
    ids = tuple(f"{run_id}/{i}" for i, run_id in enumerate(wider.run_ids))
    return replace(_with(wider, loss=loss, base_learning_rate=rate), run_ids=ids)


def test_a_learning_rate_check_leaves_the_fit_alone(sweep: Callable[..., RunTable]) -> None:
    table = sweep()
    checked = _with_rates(table, np.array([2, 7]), [0.005, 0.02], [0.97, 1.03])
    plain, found = fit_sweep(table, n_bootstrap=50), fit_sweep(checked, n_bootstrap=50)
    assert found["exponents"] == plain["exponents"]
    assert [gone["reason"] for gone in found["left_out"]].count("learning-rate check") == 4
    grids = found["learning_rate"]["grids"]
    assert [g["rates"] for g in grids] == [[0.005, 0.01, 0.02]] * 2
    assert all(g["best"] == 0.005 and g["at_edge"] for g in grids)
    assert "smallest of 3 tried" in found["learning_rate"]["warnings"][0]


def test_where_every_cell_is_tuned_the_best_rate_is_kept(sweep: Callable[..., RunTable]) -> None:
    table = sweep()
    every = np.arange(len(table))
    found = fit_sweep(_with_rates(table, every, [0.005, 0.02], [1.02, 0.99]), n_bootstrap=50)
    plain = fit_sweep(_with(table, loss=table["loss"] * 0.99), n_bootstrap=50)
    assert found["exponents"]["alpha_N"]["value"] == pytest.approx(plain["exponents"]["alpha_N"]["value"])
    inside = fit_sweep(_with_rates(table, every, [0.005, 0.02], [1.02, 1.02]), n_bootstrap=50)
    assert not inside["learning_rate"]["warnings"]
    assert not any(g["at_edge"] for g in inside["learning_rate"]["grids"])


def test_a_rate_that_diverged_bounds_the_grid(sweep: Callable[..., RunTable]) -> None:
    table = _with_rates(sweep(), np.array([2]), [0.005], [1.03])
    assert fit_sweep(table, n_bootstrap=50)["learning_rate"]["grids"][0]["at_edge"]
    row = {
        "n_params": str(table["n_params"][2]),
        "n_tokens": str(table["n_tokens"][2]),
        "seed": "0",
        "base_learning_rate": "0.02",
    }
    table = replace(table, left_out=(LeftOut("gone", "diverged", row),))
    grid = fit_sweep(table, n_bootstrap=50)["learning_rate"]["grids"][0]
    assert grid["rates"] == [0.005, 0.01, 0.02]
    assert grid["losses"][2] is None
    assert not grid["at_edge"]


def test_same_seed_same_file(tmp_path: Path, sweep: Callable[..., RunTable]) -> None:
    for name in ("one", "two"):
        write_fits(tmp_path / name, sweeps.fit_sweep(sweep(), n_bootstrap=50))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"one", "two"}


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, where a folder is wanted")
    with pytest.raises(LoraJaxError, match="cannot be written"):
        write_fits(tmp_path / "taken" / "fits.json", read_fits(PUBLISHED / "scaling_cpu" / "fits.json"))


def test_published_runs_go_through(chinchilla: RunTable) -> None:
    found = fit_sweep(chinchilla, n_bootstrap=50)
    assert any("no flops_exact" in w for w in found["warnings"])
    assert {"L(C)", "L(N,D)"} <= {entry["key"] for entry in found["fits"]}


def test_no_replicate_fails_where_the_floor_goes_to_its_bound(sweep: Callable[..., RunTable]) -> None:
    """Four points and three parameters: replicates run along bounds, where a clipped step stalls."""
    for seed in (0, 1):
        found = fit_sweep(sweep(seed=seed), n_bootstrap=400)
        assert [entry["bootstrap"]["n_failed"] for entry in found["fits"]] == [0] * len(KEYS)


def test_the_verdict_is_that_of_the_joint_law_and_the_others_keep_their_own(
    sweep: Callable[..., RunTable],
) -> None:
    found = sweeps.fit_sweep(sweep(), n_bootstrap=50)
    joint, along = found.joint, [fit for fit in found.fits if fit.key != JOINT]
    assert joint is not None
    assert found.verdict is not None
    sure = replace(joint, certificate=replace(joint.certificate, warnings=()))
    doubted = [
        replace(fit, certificate=replace(fit.certificate, warnings=("at a bound: E",))) for fit in along
    ]
    believed = replace(found, fits=(*doubted, sure), warnings=())
    assert believed.verdict is not None
    assert believed.verdict.is_believed is (found.heldout_cell.within_3_percent is not False)
    assert believed.doubted == tuple(fit.key for fit in along)
    careful = replace(joint, certificate=replace(joint.certificate, warnings=("one", "two")))
    verdict = replace(found, fits=(*doubted, careful), warnings=()).verdict
    assert verdict is not None
    assert verdict.doubts[-2:] == ("L(N,D): one", "L(N,D): two")
    alone = replace(found, fits=tuple(doubted), warnings=()).verdict
    assert alone is not None
    assert alone.doubts[-1] == f"{along[-1].key}: at a bound: E"
