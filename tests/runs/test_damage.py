"""A results folder that is damaged: records are refused by name, or are as they were; training goes on."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.errors import Damaged, LoraJaxError
from lora_jax.runs.execute import SweepSettings, run_sweep
from lora_jax.runs.plan import plan_runs
from lora_jax.runs.record import RunRecord
from lora_jax.runs.store import RunStore
from lora_jax.runs.tracking import open_tracker
from lora_jax.target import find_device
from lora_jax.training.side_by_side import Stopped

CURVE = [{"step": 1, "n_tokens": 64, "flops": 1.5e6, "loss": 5.25, "learning_rate": 0.0125}]
RESULTS = ("heldout_loss", "heldout_loss_se", "train_loss", "bits_per_byte", "n_steps", "status", "config")


def sweep(
    runs: list[RunConfig], dataset: Dataset, folder: Path, lanes: int, stop_after: int | None = None
) -> list[RunRecord]:
    calls, store = iter(range(10**9)), RunStore(folder)
    planned = plan_runs(runs, store.settled(False), find_device("h200"))
    return run_sweep(
        "tiny",
        planned,
        {runs[0].data: dataset},
        store,
        open_tracker("off", "tiny", folder),
        lambda: stop_after is not None and next(calls) >= stop_after,
        SweepSettings(lanes=lanes),
    )


def test_every_byte_of_a_record_is_noticed_or_without_effect(
    tmp_path: Path, make_record: Callable[..., RunRecord]
) -> None:
    record = make_record()
    RunStore(tmp_path).write(record, CURVE)
    path = tmp_path / "runs" / f"{record.run_id}.json"
    whole, passed = path.read_bytes(), 0
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 7)]) + whole[place + 1 :])
        try:
            assert RunStore(tmp_path).finished() == {record.run_id: record}, f"byte {place}"
            passed += 1
        except LoraJaxError as error:
            assert str(path) in str(error)  # noqa: PT017 - which of them is raised depends on the place
    assert passed < len(whole) / 60  # spaces


def test_a_curve_that_is_not_the_one_of_its_record_is_refused(
    tmp_path: Path, make_record: Callable[..., RunRecord]
) -> None:
    record = make_record()
    RunStore(tmp_path).write(record, CURVE)
    path = tmp_path / "curves" / f"{record.run_id}.csv"
    path.write_text(path.read_text().replace("5.25", "5.35"))
    with pytest.raises(Damaged, match=rf"{path.name} is damaged .*or delete {record.run_id}.json to train"):
        RunStore(tmp_path).finished()


def test_a_damaged_table_is_written_anew_from_the_records(
    tmp_path: Path, make_record: Callable[..., RunRecord]
) -> None:
    store = RunStore(tmp_path)
    store.write(make_record(), CURVE)
    path = tmp_path / "runs.csv"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        store.renew_table()
        assert path.read_bytes() == whole, f"byte {place}"
    for content in (b"", whole[: len(whole) // 2]):
        path.write_bytes(content)
        store.renew_table()
        assert path.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 2])
def test_a_damaged_checkpoint_of_a_sweep_is_told_in_a_line(
    base: RunConfig, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], lanes: int
) -> None:
    """To the same bits with one lane, and within 1e-5 with several, as after any stop."""
    runs = [dataclasses.replace(base, seed=seed) for seed in range(lanes)]
    whole = sweep(runs, dataset, tmp_path / "whole", lanes)
    with pytest.raises(Stopped):
        sweep(runs, dataset, tmp_path / "a", lanes, stop_after=12)
    [arrays, *_] = sorted((tmp_path / "a" / "checkpoints").rglob("manifest.ocdbt"))
    arrays.write_bytes(b"")
    capsys.readouterr()
    found = sweep(runs, dataset, tmp_path / "a", lanes)
    lines = [line for line in capsys.readouterr().err.splitlines() if "is damaged" in line]
    assert len(lines) == 1
    assert str(arrays) in lines[0]
    # They come as they end, and the one that starts again ends last.
    by_id = {record.run_id: record for record in found}
    assert len(by_id) == len(whole)
    for other in whole:
        one = by_id[other.run_id]
        for name in RESULTS:
            wanted = getattr(other, name)
            is_rounded = lanes > 1 and isinstance(wanted, float)
            assert getattr(one, name) == (pytest.approx(wanted, rel=1e-4) if is_rounded else wanted)
