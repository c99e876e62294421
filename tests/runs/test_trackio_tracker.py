"""trackio has every row once, whatever kills whom, and is never a reason for a sweep to stop."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lora_jax.runs.sinks.live_file import LiveFiles
from lora_jax.runs.tracking import open_tracker
from lora_jax.training.rows import Row, Source
from tests.runs.test_tracker import CURVE, FITS, RECORD

RUN = RECORD.run_id
SOURCE = Source(name=RUN, run=None, run_ids=(RUN,), n_steps=9)


def make_row(step: int) -> Row:
    return Row(
        step=step,
        n_tokens=8 * step,
        new_tokens=8,
        flops=1e6 * step,
        learning_rate=0.1,
        data_seconds=0.0,
        loss=4.0 / step,
    )


def read_rows(folder: Path, project: str = "tiny") -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """Return (step, metrics) of each run in their order, read without trackio."""
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    with closing(sqlite3.connect(folder / "trackio" / f"{project}.db")) as store:
        for run, step, metrics in store.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id"):
            found.setdefault(run, []).append((step, json.loads(metrics)))
    return found


def count_rows(folder: Path) -> int:
    """Return how many rows the run has by now."""
    try:
        return len(read_rows(folder).get(RUN, []))
    except sqlite3.OperationalError:  # there is no file or no table yet
        return 0


def read_configs(folder: Path) -> dict[str, dict[str, Any]]:
    with closing(sqlite3.connect(folder / "trackio" / "tiny.db")) as store:
        rows = store.execute("SELECT run_name, config FROM configs").fetchall()
    return {run: json.loads(config) for run, config in rows}


def train(folder: Path, steps: range) -> None:
    """Give rows to the live file and to trackio as training does, and stay."""
    live, tracker = LiveFiles(folder), open_tracker("trackio", "tiny", folder)
    tracker.announce({RUN: RECORD.config})
    for sink in (live, tracker):
        sink.begin(SOURCE, steps.start - 1)
    for step in steps:
        for sink in (live, tracker):
            sink.take(SOURCE, make_row(step))
    print("given", flush=True)
    time.sleep(60)


# ---- without trackio


def test_without_trackio_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    notes: list[str] = []
    tracker = open_tracker("trackio", "tiny", tmp_path, notes.append)
    tracker.begin(SOURCE, 0)
    tracker.take(SOURCE, make_row(1))
    tracker.log_run(RECORD, CURVE)
    tracker.finish()
    [note] = notes
    assert "pip install 'lora-jax[trackio]'" in note
    assert tracker.mode == "off"


@pytest.mark.parametrize("module", ["raise ImportError('broken')", "import os; os._exit(3)"])
def test_a_trackio_that_fails_is_told_in_one_line_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    (tmp_path / "trackio.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    tracker = open_tracker("trackio", "tiny", tmp_path / "out", lambda line: None)
    for step in range(1, 5):
        tracker.begin(SOURCE, 0)
        tracker.take(SOURCE, make_row(step))
        time.sleep(0.05)
    tracker.log_run(RECORD, CURVE)
    tracker.finish()
    [note] = tracker.notes
    assert "broken" in note or "status 3" in note
    assert tracker.mode == "off"


# ---- with it


@pytest.fixture
def trackio() -> None:
    pytest.importorskip("trackio", exc_type=ImportError)


@pytest.mark.slow
@pytest.mark.usefixtures("trackio")
def test_a_killed_process_keeps_its_rows_and_a_later_one_repeats_none(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from tests.runs.test_trackio_tracker import train\n"
    code += f"train(Path({str(tmp_path)!r}), range(1, 6))"
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"given\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    end = time.monotonic() + 30
    while count_rows(tmp_path) < 6:
        assert time.monotonic() < end, "rows are missing"
        time.sleep(0.1)
    assert read_configs(tmp_path)[RUN]["model"] == {"d_model": 16}

    live, tracker = LiveFiles(tmp_path), open_tracker("trackio", "tiny", tmp_path)
    for sink in (live, tracker):
        sink.begin(SOURCE, 3)  # from a checkpoint that lies before the last rows
        for step in range(4, 9):
            sink.take(SOURCE, make_row(step))
    tracker.log_run(RECORD, CURVE)
    tracker.finish()
    *rows, (last, final) = read_rows(tmp_path)[RUN]
    assert [step for step, _ in rows] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert [metrics["loss"] for _, metrics in rows[1:]] == [4.0 / step for step in range(1, 9)]
    assert (last, final["final/heldout_loss"]) == (8, RECORD.heldout_loss)
    [note] = tracker.notes
    assert f"TRACKIO_DIR={tmp_path}/trackio trackio show --project tiny" in note


@pytest.mark.slow
@pytest.mark.usefixtures("trackio")
def test_runs_side_by_side_two_folders_and_the_fits(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    picture = tmp_path / "loss.png"
    Figure(figsize=(1, 1)).savefig(picture)
    first, second = (open_tracker("trackio", "tiny", tmp_path / name) for name in "ab")
    others = [Source(name=name, run=None, run_ids=(name,), n_steps=9) for name in ("r1", "r2")]
    for step in (1, 2):
        for source in others:
            if step == 1:
                first.begin(source, 0)
            first.take(source, make_row(step))
    first.log_run(RECORD, CURVE)  # its rows were not sent: it is written whole
    second.log_fits(FITS, [picture])
    for tracker in (first, second):
        tracker.finish()
        assert tracker.mode == "local", tracker.notes
    rows = read_rows(tmp_path / "a")
    assert [[step for step, _ in rows[name]] for name in ("r1", "r2")] == [[0, 1, 2], [0, 1, 2]]
    assert [step for step, _ in rows[RUN]] == [0, 1, 2, 4, 4]
    assert list(read_rows(tmp_path / "b")) == ["tiny-fits"]
    content = read_rows(tmp_path / "b")["tiny-fits"][-1][1]
    assert content["fits/exponents"]["_value"][0]["exponent"] == "alpha_N"
    assert content["figures/loss"]["_type"] == "trackio.image"
