"""runs.csv against its records, whoever is killed when: it says what they say, or its readers notice."""

import csv
import dataclasses
import io
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lora_jax.config import RunConfig, run_id
from lora_jax.errors import LoraJaxError
from lora_jax.runs.record import RunRecord
from lora_jax.runs.run_table import format_table
from lora_jax.runs.store import RunStore
from lora_jax.table_lag import find_lag

MakeRecord = Callable[..., RunRecord]
CURVE = [{"step": 1, "n_tokens": 64, "flops": 1.5e6, "loss": 5.25, "learning_rate": 0.0125}]


def several(base: RunConfig, n: int) -> list[RunConfig]:
    return [dataclasses.replace(base, seed=seed) for seed in range(n)]


def rows_of(text: str) -> list[tuple[str, ...]]:
    return sorted(map(tuple, csv.reader(io.StringIO(text))))


def write_anew(folder: Path) -> str:
    """Return the table that the records give."""
    return format_table(list(RunStore(folder).finished().values()))


def check_law(folder: Path) -> bool:
    """Check the law; return whether the table was found to lag.

    A table in which the readers notice nothing says what the records say. After a renewal it is the one
    written anew.
    """
    lag, table = find_lag(folder), folder / "runs.csv"
    if lag is None and RunStore(folder).finished():
        assert rows_of(table.read_text()) == rows_of(write_anew(folder))
    RunStore(folder).renew_table()
    assert table.read_text() == write_anew(folder)
    assert find_lag(folder) is None
    return lag is not None


def test_storing_a_run_leaves_the_rows_of_a_table_written_anew(
    tmp_path: Path, base: RunConfig, make_record: MakeRecord
) -> None:
    """By two stores in turns; some runs are written twice, with another result."""
    stores, runs = (RunStore(tmp_path), RunStore(tmp_path)), several(base, 12)
    rng = random.Random(0)
    for turn, run in enumerate([*runs, *rng.sample(runs, 5)]):
        rng.choice(stores).write(make_record(run, wall_seconds=float(turn)), CURVE)
        assert find_lag(tmp_path) is None
        assert rows_of((tmp_path / "runs.csv").read_text()) == rows_of(write_anew(tmp_path))
    check_law(tmp_path)


# ---- killed


class Killed(BaseException):
    """What a process does after SIGKILL: nothing."""


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, point: int) -> Generator[None]:
    """Kill at the call number `point` of those that change a disk; one that writes has written a half."""
    calls = 0

    def mortal(real: Callable[..., Any], is_write: bool = False) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == point and is_write:
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            if calls >= point:
                raise Killed
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", mortal(os.write, is_write=True))
        patch.setattr(os, "fsync", mortal(os.fsync))
        patch.setattr(Path, "replace", mortal(Path.replace))
        patch.setattr(Path, "unlink", mortal(Path.unlink))
        yield


@pytest.mark.parametrize("kind", ["first", "new", "again"])
def test_a_write_that_is_killed_at_any_point_leaves_no_table_that_lies(
    tmp_path: Path, base: RunConfig, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    runs, n_lags = several(base, 4), 0
    for point in range(1, 100):
        folder = tmp_path / str(point)
        for run in runs[:3] if kind != "first" else ():
            RunStore(folder).write(make_record(run), CURVE)
        record = make_record(runs[1] if kind == "again" else runs[3], heldout_loss=1.25)
        try:
            with killed_at(monkeypatch, point):
                RunStore(folder).write(record, CURVE)
        except Killed:
            n_lags += check_law(folder)
        else:
            assert find_lag(folder) is None
            break
    assert n_lags > 0
    assert point > 5


WRITER = """
import dataclasses, json, random, sys, time
from pathlib import Path
from lora_jax.runs.record import RunRecord
from lora_jax.runs.store import RunStore
folder, seed, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
rng, store = random.Random(seed), RunStore(folder / "out")
records = [RunRecord(**fields) for fields in json.loads((folder / "records.json").read_text())]
print("here", flush=True)
while True:
    if kind == "renew":
        store.renew_table()
        time.sleep(0.05)
    else:
        record = dataclasses.replace(rng.choice(records), wall_seconds=rng.random())
        store.write(record, [])
"""


def test_processes_that_are_killed_at_random_leave_no_table_that_lies(
    tmp_path: Path, base: RunConfig, make_record: MakeRecord
) -> None:
    records = [dataclasses.asdict(make_record(run)) for run in several(base, 400)]
    (tmp_path / "records.json").write_text(json.dumps(records))
    rng, folder = random.Random(1), tmp_path / "out"
    for round_ in range(3):
        kinds = ["write", "write", "renew"]
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path), str(10 * round_ + i), kind],
                stdout=subprocess.PIPE,
            )
            for i, kind in enumerate(kinds)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
        for process in processes:
            time.sleep(0.1 * rng.random())
            process.kill()
            process.communicate()
        check_law(folder)


# ---- torn


def test_a_torn_line_is_noticed_wherever_it_is_cut(
    tmp_path: Path, base: RunConfig, make_record: MakeRecord
) -> None:
    """Alone at the end, or with a line of another process behind it."""
    *runs, last = several(base, 4)
    for run in runs:
        RunStore(tmp_path).write(make_record(run, lanes=12, halted_at=34), CURVE)
    path = tmp_path / "runs.csv"
    whole = path.read_text()
    header, *_ = lines = whole.splitlines(keepends=True)
    for cut in range(len(header), len(whole)):
        path.write_text(whole[:cut])
        assert find_lag(tmp_path) is not None, cut
    check_law(tmp_path)
    RunStore(tmp_path).write(make_record(last, lanes=12, halted_at=34), CURVE)
    row = path.read_text().splitlines(keepends=True)[-1]
    for cut in range(len(whole) - len(lines[-1]), len(whole)):
        path.write_text(whole[:cut] + row)
        assert find_lag(tmp_path) is not None, cut
    assert check_law(tmp_path)


def test_a_table_of_other_columns_is_written_anew_by_the_next_run(
    tmp_path: Path, base: RunConfig, make_record: MakeRecord
) -> None:
    """Of an older version, or empty: a row behind it would say nothing."""
    *runs, last = several(base, 3)
    for run in runs:
        RunStore(tmp_path).write(make_record(run), CURVE)
    path = tmp_path / "runs.csv"
    whole = path.read_text()
    for content in (whole.replace(",halted_at\n", "\n", 1).replace(",\n", "\n"), "", "\n"):
        path.write_text(content)
        RunStore(tmp_path).write(make_record(last), CURVE)
        assert path.read_text() == write_anew(tmp_path)
        (tmp_path / "runs" / f"{run_id(last)}.json").unlink()


# ---- its readers


def read_as_table(folder: Path) -> object:
    from lora_jax.scaling.tables.table import read_table

    return read_table(folder)


def read_as_file(folder: Path) -> object:
    from lora_jax.scaling.tables.table import read_table

    return read_table(folder / "runs.csv")


def read_as_cells(folder: Path) -> object:
    from lora_jax.scaling.tables.table import read_cells

    return read_cells(folder, ["run_id"])


def read_for_a_page(folder: Path) -> object:
    from lora_jax.report.sweep.page import write_report

    return write_report(folder)


def read_with_curves(folder: Path) -> object:
    from lora_jax.scaling.optima.training_curves import read_curves

    return read_curves(folder)


def lags(store: RunStore, last: RunRecord) -> Iterator[str]:
    """Make the table lag in every way."""
    path = store.folder / "runs.csv"
    whole = path.read_text()
    path.unlink()
    yield "is missing"
    path.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    yield f"lacks 1 of the 4 records in runs/, such as {last.run_id}"
    path.write_text(whole[:-9])
    yield "has a torn line"
    path.write_text(whole + whole.splitlines(keepends=True)[-1])
    yield rf"has several rows of a run \(1, such as {last.run_id}\)"
    path.write_text(whole)
    (store.folder / "runs" / f"{last.run_id}.json").unlink()
    yield rf"has rows without a record \(1, such as runs/{last.run_id}.json\)"


@pytest.fixture
def lagging(tmp_path: Path, base: RunConfig, make_record: MakeRecord) -> Iterator[str]:
    """A results folder, tmp_path / "out", whose table lags in one way after another."""
    store = RunStore(tmp_path / "out")
    runs = [make_record(run) for run in several(base, 4)]
    runs.sort(key=lambda record: record.run_id)
    run_ids = [record.run_id for record in runs]
    store.claim(
        {
            "name": "t",
            "question": "",
            "command": "c",
            "run_ids": run_ids,
            "overrides": [],
            "data": {},
        }
    )
    for record in runs:
        store.write(record, CURVE * 2)
    return lags(store, runs[-1])


@pytest.mark.parametrize(
    "read", [read_as_table, read_as_file, read_as_cells, read_for_a_page, read_with_curves]
)
def test_plain_readers_refuse_a_table_that_lags(
    tmp_path: Path, lagging: Iterator[str], read: Callable[[Path], object]
) -> None:
    folder = tmp_path / "out"
    for words in lagging:
        if words == "is missing" and read is read_as_file:
            continue  # a file that is not there
        with pytest.raises(LoraJaxError, match=rf"runs\.csv {words}.*lora-jax fit {folder}") as caught:
            read(folder)
        assert "\n" not in str(caught.value)


def by_fit_command(folder: Path) -> None:
    from lora_jax.cli import main

    main(["fit", str(folder)])


def by_fit_of_the_file(folder: Path) -> None:
    from lora_jax.cli import main

    if (folder / "runs.csv").exists():
        main(["fit", str(folder / "runs.csv")])
    else:
        by_fit_command(folder)


def by_report_command(folder: Path) -> None:
    from lora_jax.cli import main

    main(["report", str(folder)])


def by_transfer_command(folder: Path) -> None:
    from lora_jax.cli import main

    main(["transfer", "--table", str(folder)])


def by_notebook(folder: Path) -> None:
    from lora_jax.notebook.fitting import as_table

    as_table(folder)


def by_trained_sweep(folder: Path) -> None:
    from lora_jax.notebook.sweeps import TrainedSweep

    assert TrainedSweep(folder, ()).table


@pytest.mark.parametrize(
    "use",
    [
        by_fit_command,
        by_fit_of_the_file,
        by_report_command,
        by_transfer_command,
        by_notebook,
        by_trained_sweep,
    ],
)
def test_commands_and_notebooks_renew_a_table_that_lags(
    tmp_path: Path, lagging: Iterator[str], use: Callable[[Path], None]
) -> None:
    """What they then find in four runs of one size is another matter."""
    folder = tmp_path / "out"
    for _ in lagging:
        use(folder)
        assert (folder / "runs.csv").read_text() == write_anew(folder)


def test_a_table_without_records_is_anybodys(tmp_path: Path) -> None:
    """A folder may hold a table alone, or beside an empty runs/."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs.csv").write_text("N,loss\n1,2,\n")
    assert find_lag(tmp_path) is None
