"""The run store: what is on the disk is whole, is this sweep's, and is read back as it was written."""

import csv
import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_jax.config import RunConfig, run_id
from lora_jax.errors import LoraJaxError
from lora_jax.runs import store as store_module
from lora_jax.runs.record import COLUMNS, RunRecord
from lora_jax.runs.record_file import read_record
from lora_jax.runs.store import RunStore, read_json

MakeRecord = Callable[..., RunRecord]
CURVE = [
    {"step": s, "n_tokens": 64 * s, "flops": 1e3 * s, "loss": 4.0 / s, "learning_rate": 0.01 / s}
    for s in (1, 2, 3)
]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "results")


def several(base: RunConfig, n: int) -> list[RunConfig]:
    return [dataclasses.replace(base, seed=seed) for seed in range(n)]


def sweep(runs: list[RunConfig], **fields: object) -> dict[str, object]:
    known = {
        "name": "tiny",
        "question": "?",
        "command": "x",
        "overrides": [],
        "data": {"d": "text 1"},
        "run_ids": [run_id(run) for run in runs],
    }
    return known | fields


# ---- writing


def test_a_record_comes_back_as_it_was_written(store: RunStore, make_record: MakeRecord) -> None:
    record = make_record()
    store.write(record, CURVE)
    assert RunStore(store.folder).finished() == {record.run_id: record}
    assert store.read_curve(record.run_id) == CURVE
    assert sorted(p.name for p in store.folder.iterdir()) == ["curves", "runs", "runs.csv"]


def test_the_table_has_a_row_for_each_record(
    store: RunStore, base: RunConfig, make_record: MakeRecord
) -> None:
    runs = several(base, 3)
    for run in runs:
        store.write(make_record(run), CURVE)
    diverged = dataclasses.replace(base, n_tokens=2 * base.n_tokens)
    store.write(make_record(diverged, status="diverged", heldout_loss=None, diverged_at=3), [])
    with (store.folder / "runs.csv").open() as file:
        rows = {row["run_id"]: row for row in csv.DictReader(file)}
    assert rows.keys() == store.finished().keys() == {run_id(run) for run in [*runs, diverged]}
    row = rows[run_id(runs[2])]
    assert tuple(row) == COLUMNS
    assert (row["seed"], row["d_model"], row["batch_size"]) == ("2", "8", "4")
    assert (float(row["heldout_loss"]), row["git_commit"], row["cooled"]) == (3.5, "", "True")
    assert (rows[run_id(diverged)]["heldout_loss"], rows[run_id(diverged)]["diverged_at"]) == ("", "3")


def test_what_a_killed_writer_leaves_is_no_record(store: RunStore, make_record: MakeRecord) -> None:
    """Kill -9 between the writing of the temporary file and its renaming."""
    record = make_record()
    store.write(record, CURVE)
    code = """
import os, sys
from pathlib import Path
from lora_jax.files import write_atomically
Path.replace = lambda *_: os.kill(os.getpid(), 9)
write_atomically(Path(sys.argv[1]), '{"half":')
"""
    target = store.folder / "runs" / "other.json"
    done = subprocess.run([sys.executable, "-c", code, str(target)])
    assert done.returncode == -9
    [left] = [p for p in target.parent.iterdir() if p.name != f"{record.run_id}.json"]
    assert left.name.startswith(".")
    assert RunStore(store.folder).finished().keys() == {record.run_id}


def test_readers_never_see_a_half(store: RunStore, base: RunConfig, make_record: MakeRecord) -> None:
    done = threading.Event()
    failures: list[Exception] = []

    def read() -> None:
        while not done.is_set():
            try:
                seen = RunStore(store.folder).finished()
                if seen:
                    with (store.folder / "runs.csv").open() as file:
                        assert all(None not in row.values() for row in csv.DictReader(file))
            except FileNotFoundError:
                continue  # the table comes a moment after the first record
            except Exception as error:
                failures.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(5):
        for run in several(base, 4):
            store.write(make_record(run), CURVE)
    done.set()
    reader.join()
    assert not failures


def test_a_record_is_read_once_and_again_when_it_changes(
    store: RunStore, base: RunConfig, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without this a sweep of n runs that asks after each which are finished would make n^2 / 2 readings."""
    read: list[str] = []
    monkeypatch.setattr(store_module, "read_record", lambda path: read.append(path.name) or read_record(path))
    runs = several(base, 10)
    store.write(make_record(runs[0]), CURVE)  # the table is new
    read.clear()
    for run in runs[1:]:
        store.write(make_record(run), CURVE)
    assert not read, "storing a run reads no other"
    for _ in range(3):
        assert len(store.finished()) == len(runs)
    assert len(read) == len(runs) - 1
    changed = make_record(runs[3], heldout_loss=1.25)
    RunStore(store.folder).write(changed, CURVE)
    read.clear()
    assert store.finished()[changed.run_id].heldout_loss == 1.25
    assert read == [f"{changed.run_id}.json"]
    (store.folder / "runs" / f"{changed.run_id}.json").unlink()
    assert changed.run_id not in store.finished()


def test_whether_a_run_is_settled_reads_its_record_once(
    store: RunStore, base: RunConfig, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(store_module, "read_record", lambda path: read.append(path.name) or read_record(path))
    run, record = run_id(base), make_record(base, status="halted", halted_at=3)
    assert not store.is_settled(run, False)
    store.write(record, CURVE)
    assert [store.is_settled(run, halving) for halving in (True, False, False)] == [True, False, False]
    assert len(store.finished()) == len(read) == 1
    RunStore(store.folder).write(make_record(base), CURVE)
    read.clear()
    assert store.is_settled(run, False), "another process has trained it to its end"
    assert read == [f"{run}.json"]
    (store.folder / "runs" / f"{run}.json").unlink()
    assert not store.is_settled(run, True)


def test_a_thousand_runs_are_tabled_quickly(
    store: RunStore, base: RunConfig, make_record: MakeRecord
) -> None:
    for run in several(base, 1000):
        record = make_record(run)
        path = store.folder / "runs" / f"{record.run_id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(record)))
    store.finished()
    started = time.process_time()
    store.write_table()
    assert time.process_time() - started < 0.5  # 0.03 s on an idle machine


# ---- bad records


def corrupt(store: RunStore, record: RunRecord, change: Callable[[str], str]) -> Path:
    store.write(record, CURVE)
    path = store.folder / "runs" / f"{record.run_id}.json"
    path.write_text(change(path.read_text()))
    return path


def edit(**fields: object) -> Callable[[str], str]:
    """Return what changes a record of an older version, which has no digest."""
    return lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "digest"} | fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[: len(text) // 2], "cannot be read .*delete it"),
        (lambda _: "", "cannot be read"),
        (lambda _: "\0" * 100, "cannot be read"),
        (lambda _: "[1, 2]", "holds a list, but it must be an object"),
        (lambda _: "{}", "not a run record of this version"),
        (edit(loss=3), r"not a run record of this version \(missing \[\], unknown \['loss'\]\)"),
        (edit(run_id="other"), "holds the record of 'other'"),
        (edit(config={"model": {}}), "config that is not the one of its run_id"),
        (edit(config=None), "config that is not the one of its run_id"),
        (lambda text: text.replace('"heldout_loss": 3.5', '"heldout_loss": 3.4'), "is damaged or was edited"),
    ],
)
def test_a_bad_record_is_refused_by_name(
    store: RunStore, make_record: MakeRecord, change: Callable[[str], str], words: str
) -> None:
    path = corrupt(store, make_record(), change)
    fresh = RunStore(store.folder)
    for action in (fresh.finished, fresh.write_table, store.finished):
        with pytest.raises(LoraJaxError, match=words) as caught:
            action()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


# ---- whose folder it is


def test_a_folder_of_another_config_is_refused(
    store: RunStore, base: RunConfig, make_record: MakeRecord
) -> None:
    mine, other = several(base, 2)
    store.claim(sweep([mine]))
    store.write(make_record(mine), CURVE)
    before = (store.folder / "sweep.json").read_text()
    with pytest.raises(LoraJaxError, match=rf"another config \(such as {run_id(mine)}\).*--out"):
        store.claim(sweep([other], name="other"))
    assert (store.folder / "sweep.json").read_text() == before


def test_a_sweep_may_grow(store: RunStore, base: RunConfig, make_record: MakeRecord) -> None:
    runs = several(base, 3)
    store.claim(sweep(runs[:1]))
    store.write(make_record(runs[0]), CURVE)
    store.claim(sweep(runs))
    assert read_json(store.folder / "sweep.json")["run_ids"] == [run_id(run) for run in runs]
    store.claim(sweep(runs, data={"d": "text 1", "e": "more"}))


def test_changed_text_is_refused_once_a_run_or_a_state_saw_it(
    store: RunStore, base: RunConfig, make_record: MakeRecord
) -> None:
    changed = {"d": "text 2"}
    store.claim(sweep([base]))
    store.claim(sweep([base], data=changed))  # nothing has seen any text yet
    (store.folder / "checkpoints" / "trunk").mkdir(parents=True)
    with pytest.raises(LoraJaxError, match="other text"):
        store.claim(sweep([base]))
    (store.folder / "checkpoints" / "trunk").rmdir()
    store.write(make_record(), CURVE)
    with pytest.raises(LoraJaxError, match="other text"):
        store.claim(sweep([base]))
    store.claim(sweep([base], data=changed))


def test_a_corrupt_sweep_file_is_refused_by_name(store: RunStore, base: RunConfig) -> None:
    store.claim(sweep([base]))
    (store.folder / "sweep.json").write_text("{")
    with pytest.raises(LoraJaxError, match=r"sweep\.json cannot be read"):
        store.claim(sweep([base]))


def test_a_file_where_the_folder_must_be_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results"
    path.write_text("a file")
    for folder in (path, path / "inside"):
        with pytest.raises(LoraJaxError, match=r"cannot be written .*--out"):
            RunStore(folder).check("tiny", [])
    assert path.read_text() == "a file"


@pytest.mark.parametrize("name", ["gs://bucket/sweep", "s3://bucket/sweep", "hf:/x"])
def test_object_storage_is_refused_by_name(name: str) -> None:
    with pytest.raises(LoraJaxError, match=f"object storage \\({name.split(':')[0]}\\)"):
        RunStore(Path(name))
