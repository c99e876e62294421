"""Logs of training: many steps a run, doubted, and the last step of each kept."""

import csv
from pathlib import Path

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.tables.table import Reshaping, read_table

TRUTH = {"E": 1.7, "A": 12.0, "alpha": 0.138, "B": 400.0, "beta": 0.3}
LAST = Reshaping(last_step_per_run=True)


def log(name: str = "Name", step: str = "_step", every: int = 2) -> list[dict[str, object]]:
    """As a tracker exports it: 27 runs of 20 rows, the loss in every second of them."""
    rows: list[dict[str, object]] = []
    for i, n in enumerate(np.geomspace(1e7, 1e9, 9)):
        for j, d in enumerate(np.geomspace(2e8, 2e10, 3)):
            loss = TRUTH["E"] + TRUTH["A"] * n ** -TRUTH["alpha"] + TRUTH["B"] * d ** -TRUTH["beta"]
            for k in range(1, 21):
                logged = "" if k % every else loss * (1 + 0.3 * (1 - k / 20))
                rows.append(
                    {
                        name: f"run-{i}-{j}",
                        step: 500 * k,
                        "n_params": n,
                        "n_tokens": d * k / 20,
                        "loss": logged,
                    }
                )
    return rows


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize(
    ("name", "step"), [("Name", "_step"), ("run_id", "trainer/global_step"), ("run_name", "Step")]
)
def test_the_last_steps_give_back_the_law(tmp_path: Path, name: str, step: str) -> None:
    rows = log(name, step)
    np.random.default_rng(0).shuffle(rows)  # type: ignore[arg-type]
    path = write(tmp_path / "log.csv", rows)
    table = read_table(path, reshaping=LAST)
    assert len(table) == 27
    assert fit(CHINCHILLA, table).params == pytest.approx(TRUTH, rel=1e-6)
    reasons = [gone.reason for gone in table.left_out]
    assert reasons.count("not the last step of its run") == 27 * 9
    assert reasons.count("no loss at this step") == 27 * 10
    assert f"of each of 27 runs ({name})" in table.notes[-1]
    assert table.doubts == ()
    assert table.clusters is None


def test_without_the_option_a_log_is_doubted(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "log.csv", log(every=1)))
    assert "540 rows are steps of 27 runs (_step differs within one)" in table.doubts[0]
    assert "--last-step-per-run" in table.doubts[0]
    assert table.clusters is not None  # and its rows are no 540 pieces of evidence
    assert len(set(table.clusters)) == 27
    bare = [{k: v for k, v in row.items() if k != "_step"} for row in log("run_id", every=1)]
    assert "n_tokens differs within one" in read_table(write(tmp_path / "bare.csv", bare)).doubts[0]


def test_runs_without_names_are_known_by_size_and_text(tmp_path: Path) -> None:
    rows = [
        {**row, "optimizer": "adam"} for row in log("nobody", every=1) if str(row["nobody"]).endswith("1")
    ]
    for row in rows:
        del row["nobody"]
    path = write(tmp_path / "log.csv", rows)
    assert "--cluster" in read_table(path).doubts[0]
    with pytest.raises(LoraJaxError, match="--cluster"):
        read_table(path, reshaping=LAST)
    named = read_table(path, cluster="n_params", reshaping=LAST)
    assert len(named) == 9


def test_a_step_that_is_mapped_is_still_a_step(tmp_path: Path) -> None:
    """One run of each of two optimizers, its steps mapped to D: a curve is no law in D."""
    rows = [{"optimizer": o, "step": s, "loss": 3 + s**-0.5} for o in ("a", "b") for s in range(1, 41)]
    path = write(tmp_path / "log.csv", rows)
    table = read_table(path, {"n_tokens": "step"})
    assert "80 rows are steps of 2 runs" in table.doubts[0]
    assert len(read_table(path, {"n_tokens": "step"}, cluster="optimizer", reshaping=LAST)) == 2


def test_where_is_asked_before_the_last_step_is_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", log(every=1))
    for condition in ("_step<=5000", "C<=1e19"):  # of the file, and of what is derived
        table = read_table(path, where=[condition], reshaping=LAST)
        ends = dict(zip(table.labels["Name"], table["_step"], strict=True))
        every = read_table(path, where=[condition])
        for name, step in zip(every.labels["Name"], every["_step"], strict=True):
            assert ends[name] >= step


def test_a_run_that_ends_in_nan_is_not_taken_from_an_earlier_step(tmp_path: Path) -> None:
    rows = log(every=1)
    rows[19]["loss"] = "nan"
    with pytest.raises(LoraJaxError, match="'nan' is not a number above 0"):
        read_table(write(tmp_path / "log.csv", rows), reshaping=LAST)


def test_a_log_with_gaps_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(LoraJaxError, match=r"no 'loss' in 270 of 540 rows.*--last-step-per-run"):
        read_table(write(tmp_path / "log.csv", log()))


def test_finished_runs_are_no_log(tmp_path: Path) -> None:
    """One row a run, each with its last step, as a tracker's summary has it."""
    rows = [row for row in log(every=1) if row["_step"] == 10_000]
    for i, row in enumerate(rows):
        row["_step"] = 500 * (i + 1)
    path = write(tmp_path / "summary.csv", rows)
    assert read_table(path).doubts == ()
    with pytest.raises(LoraJaxError, match="no column of names of runs that repeats"):
        read_table(path, reshaping=LAST)


def test_without_an_order_there_is_no_last_step(tmp_path: Path) -> None:
    rows = [{"run": "a", "n_params": 1e7, "n_tokens": 1e9, "loss": 3.0}] * 2
    with pytest.raises(LoraJaxError, match="no column of steps"):
        read_table(write(tmp_path / "runs.csv", rows), reshaping=LAST)
