"""A sweep is seen while it trains, and one that is killed is one curve, in live files as in wandb."""

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lora_jax.runs.sinks.live_file import read_live
from lora_jax.runs.wandb_store import read_store
from tests.experiments.place import Place

BACK = 2.5  # seconds: older rows are on disk when the process is killed; wandb flushes every second


@pytest.fixture
def long_sweep(place: Place) -> Path:
    """A config of one trunk with two branches that trains for half a minute."""
    path = place.folder / "long.py"
    text = place.config.read_text().replace("[2560, 5120, 10_240, 81_920]", "[384_000, 3_840_000]")
    path.write_text(text.replace("[4, 8, 16]", "[16]").replace("max_epochs=100.0", "max_epochs=10_000.0"))
    return path


def watch(place: Place, folder: Path) -> str:
    """Look at a sweep from another process."""
    done = subprocess.run(
        [sys.executable, "-m", "lora_jax.cli", "watch", str(folder), "--once"],
        env=place.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_for_rows(folder: Path, n_steps: int, process: "subprocess.Popen[str]") -> str:
    """Wait until a trunk has come to a step; return its name."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        for path in (folder / "live").glob("*.jsonl"):
            live = read_live(folder, path.stem)
            if live is not None and len(live.head.run_ids) == 2 and live.last_step > n_steps:
                return path.stem
        time.sleep(0.05)
    raise AssertionError("no rows")


def read_wandb(folder: Path, name: str) -> tuple[dict[str, Any], list[int]]:
    """Return the config of a wandb run and the steps of its rows, of all its offline files in their order."""
    config: dict[str, Any] = {}
    steps: list[int] = []
    for path in sorted((folder / "wandb").glob(f"offline-run-*-{name}-*/*.wandb")):
        for record in read_store(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            elif kind == "history":
                steps.append(record.history.step.num)
    return config, steps


def read_steps(folder: Path, name: str) -> list[int]:
    """Return the steps of the rows in a live file."""
    live = read_live(folder, name)
    assert live is not None
    return [row.step for row in live.rows]


@pytest.mark.slow
def test_a_killed_sweep_is_seen_while_it_runs_and_goes_on_as_one_curve(
    place: Place, long_sweep: Path, tmp_path: Path
) -> None:
    process = place.start(long_sweep, "--out", tmp_path, tracker="wandb")
    trunk = wait_for_rows(tmp_path, 6_000, process)
    assert "1 of 2 runs are done, 1 running" in watch(place, tmp_path)
    time.sleep(2)
    early = read_steps(tmp_path, trunk)
    time.sleep(BACK)
    process.kill()
    process.communicate()
    assert "gone without a word" in watch(place, tmp_path)
    config, steps = read_wandb(tmp_path, trunk)
    assert config["n_params_total"] > config["n_params"] > 0
    assert config["model"]["d_model"] == 16
    assert steps[: len(early)] == early, "rows of the last seconds alone may be missing"
    at_kill = read_steps(tmp_path, trunk)
    assert at_kill[: len(early)] == early
    code, _, err = place.call(long_sweep, "--out", tmp_path, tracker="wandb")
    assert code == 0, err
    told = read_steps(tmp_path, trunk)
    assert told == sorted(set(told))
    assert told[: len(at_kill)] == at_kill
    end = time.monotonic() + 30
    while (steps := read_wandb(tmp_path, trunk)[1]) != told and time.monotonic() < end:
        time.sleep(0.2)  # wandb's own process writes a moment later
    assert steps == told, f"the two files of wandb have every row once; the sweep said {err[-2000:]}"
    gaps = [after - before for before, after in itertools.pairwise(told)]
    assert max(gaps) < 0.2 * told[-1], "no part of the curve is missing"
    assert "2 of 2 runs are done" in watch(place, tmp_path)
