"""A sweep in lanes: records of the same runs, written as they end; halted ones are left out of the fits."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_jax.config import RunConfig, run_id
from lora_jax.data import Dataset
from lora_jax.digests import read_object
from lora_jax.errors import LoraJaxError
from lora_jax.runs import lane_count
from lora_jax.runs.execute import SweepSettings, run_sweep
from lora_jax.runs.plan import plan_runs
from lora_jax.runs.record import RunRecord
from lora_jax.runs.store import RunStore
from lora_jax.runs.sweep import expand, over, overlay, product
from lora_jax.runs.tracking import open_tracker
from lora_jax.scaling.tables.table import read_table
from lora_jax.target import find_device
from lora_jax.training.side_by_side import Stopped


def sweep(
    runs: list[RunConfig],
    dataset: Dataset,
    folder: Path,
    lanes: int | None,
    should_stop: Callable[[], bool] = lambda: False,
    halving: bool = False,
) -> dict[str, RunRecord]:
    """Run a sweep; return the new records by run_id."""
    store = RunStore(folder)
    planned = plan_runs(runs, store.settled(halving), find_device("h200"))
    records = run_sweep(
        "tiny",
        planned,
        {run.data: dataset for run in runs},
        store,
        open_tracker("off", "tiny", folder),
        should_stop,
        SweepSettings(lanes=lanes, halving=halving),
    )
    return {record.run_id: record for record in records}


@pytest.fixture(scope="module")
def runs(base: RunConfig) -> list[RunConfig]:
    """Four seeds of two lengths, at a rate where training is stable."""
    tokens = over("n_tokens", [n * base.tokens_per_step for n in (20, 40)])
    return expand(overlay(base, {"optim.learning_rate": 1e-3}), product(over("seed", [0, 1, 2, 3]), tokens))


@pytest.fixture(scope="module")
def alone(
    runs: list[RunConfig], dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, RunRecord]:
    return sweep(runs, dataset, tmp_path_factory.mktemp("alone"), 1)


def check_same(found: RunRecord, alone: RunRecord) -> None:
    for name in ("config", "status", "n_steps", "flops_exact", "unique_tokens", "learning_rate", "data"):
        assert getattr(found, name) == getattr(alone, name)
    for name in ("train_loss", "heldout_loss", "heldout_loss_se", "bits_per_byte"):
        assert getattr(found, name) == pytest.approx(getattr(alone, name), rel=1e-4 if "se" in name else 1e-5)


def test_a_sweep_in_lanes_leaves_the_records_of_one_without(
    runs: list[RunConfig],
    alone: dict[str, RunRecord],
    dataset: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = sweep(runs, dataset, tmp_path, 4)
    assert found.keys() == alone.keys()
    for name, record in found.items():
        check_same(record, alone[name])
        assert (record.lanes, alone[name].lanes) == (4, 1)
        assert record.trained_tokens == alone[name].trained_tokens
        assert record.tokens_per_second is not None
    assert RunStore(tmp_path).finished() == found
    with (tmp_path / "runs.csv").open() as file:
        assert {row["lanes"] for row in csv.DictReader(file)} == {"4"}
    said = capsys.readouterr().err
    assert "d8x1, batch 4 x 16: 4 of 4 trunks side by side\n" in said
    assert "tokens/s in 1 of 4 lanes" in said
    assert not (tmp_path / "lanes.json").exists(), "it was asked for, not chosen"


def test_a_record_of_one_lane_is_the_file_it_always_was(alone: dict[str, RunRecord], tmp_path: Path) -> None:
    record = next(iter(alone.values()))
    store = RunStore(tmp_path)
    store.write(record, [])
    kept = json.loads((tmp_path / "runs" / f"{record.run_id}.json").read_text())
    assert not {"lanes", "halted_at", "finetuning"} & kept.keys()
    assert RunStore(tmp_path).finished() == {record.run_id: record}


@pytest.mark.parametrize("stop_after", [22, 31])
def test_what_has_ended_is_recorded_before_the_group_has(
    runs: list[RunConfig], alone: dict[str, RunRecord], dataset: Dataset, tmp_path: Path, stop_after: int
) -> None:
    steps = iter(range(10**9))
    with pytest.raises(Stopped):
        sweep(runs, dataset, tmp_path, 4, lambda: next(steps) >= stop_after)
    kept = RunStore(tmp_path).finished()
    assert set(kept) == {run_id(run) for run in runs if run.n_steps == 20}, "the branches of all lanes"
    new = sweep(runs, dataset, tmp_path, 4)
    assert not new.keys() & kept.keys()
    for name, record in (kept | new).items():
        check_same(record, alone[name])


def test_measured_lanes_are_kept_for_the_rest_of_the_sweep(
    runs: list[RunConfig],
    alone: dict[str, RunRecord],
    dataset: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = sweep(runs[:4], dataset, tmp_path, None)
    assert "too short to measure 2" in capsys.readouterr().err
    [choice] = read_object(tmp_path / "lanes.json", "mend it").values()
    assert (choice["group"], choice["lanes"], choice["n_trunks"]) == ("d8x1, batch 4 x 16", 1, 2)
    for name, record in found.items():
        assert (record.lanes, record.heldout_loss) == (1, alone[name].heldout_loss), "to the same bits"
    sweep(runs[4:], dataset, tmp_path, None)
    assert "1 of 2 trunks side by side, as" in capsys.readouterr().err


def test_more_lanes_than_memory_holds_are_refused_and_nothing_is_trained(
    runs: list[RunConfig], dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_jax.runs.execute.memory_limit", lambda: 100.0)
    with pytest.raises(LoraJaxError, match=r"4 lanes of d8x1.*pass --lanes 1"):
        sweep(runs, dataset, tmp_path, 4)
    monkeypatch.undo()
    monkeypatch.setattr(lane_count, "memory_limit", lambda: 100.0)
    with pytest.raises(LoraJaxError, match=r"4 lanes of d8x1.*by XLA's count"):
        sweep(runs, dataset, tmp_path, 4)
    assert RunStore(tmp_path).finished() == {}


# ---- successive halving


@pytest.mark.slow
def test_halted_runs_are_recorded_and_left_out_of_the_fits(
    base: RunConfig, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = over("optim.learning_rate", [3e-4, 2e-4, 1e-3, 6e-4])
    lengths = over("n_tokens", [n * base.tokens_per_step for n in (12, 80)])
    runs = expand(base, product(rates, lengths))
    records = sweep(runs, dataset, tmp_path, None, halving=True)
    assert [records[run_id(run)].halted_at for run in runs[1::2]] == [20, 20, None, 40]
    assert [records[run_id(run)].status for run in runs[::2]] == ["done"] * 4
    halted = [record for record in records.values() if record.status == "halted"]
    assert len(halted) == 3
    store = RunStore(tmp_path)
    for record in halted:
        assert (record.train_loss, record.heldout_loss, record.diverged_at) == (None, None, None)
        assert store.read_curve(record.run_id)[-1]["step"] == record.halted_at
        assert record.trained_tokens < record.n_tokens
    assert store.finished() == records
    table = read_table(tmp_path)
    assert {gone.run_id: gone.reason for gone in table.left_out} == {r.run_id: "halted" for r in halted}
    said = capsys.readouterr().err
    assert "4 of 4 trunks side by side; at step 20 the best 2 go on; at step 40 the best 1 go on" in said
    assert said.count("halted at step 20: others were better; left out of the fits") == 2
    assert sweep(runs, dataset, tmp_path, None, halving=True) == {}, "a halted run is finished"
    rest = sweep(runs, dataset, tmp_path, 1)
    assert rest.keys() == {record.run_id for record in halted}, "but not where nothing is halved"
    for name, record in rest.items():
        assert (record.status, record.halted_at) == ("done", None)
        assert record.trained_tokens == record.n_tokens - (records[name].halted_at or 0) * 64, "it went on"
