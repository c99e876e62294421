"""A child's cost is its own: not that of the process that measures it."""

import sys

import numpy as np
import pytest

from benchmarks.child import run_child
from benchmarks.quickstart import make_section, measure_quickstart
from lora_jax.errors import LoraJaxError

MEGABYTE = 1_000_000


def test_peak_memory_is_that_of_the_command() -> None:
    ballast = np.ones(300 * MEGABYTE, np.uint8)  # in this process, and none of the child's business
    small = run_child([sys.executable, "-c", ""])
    large = run_child([sys.executable, "-c", f"import time; x = b'1' * {200 * MEGABYTE}; time.sleep(0.2)"])
    assert ballast[-1] == 1
    assert 2 * MEGABYTE < small.peak_bytes < 60 * MEGABYTE
    assert 200 * MEGABYTE < large.peak_bytes < 260 * MEGABYTE
    assert 0.2 < large.seconds < 10


def test_peak_memory_is_that_of_the_largest_process() -> None:
    inner = f"x = b'1' * {200 * MEGABYTE}"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    assert run_child([sys.executable, "-c", outer]).peak_bytes > 200 * MEGABYTE


def test_the_exit_status_is_that_of_the_command() -> None:
    assert run_child([sys.executable, "-c", "raise SystemExit(3)"]).exit_status == 3


def test_quickstart_runs_into_a_temporary_folder_with_empty_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/nowhere")
    program = """
import os, pathlib, sys
assert sys.argv[1] == "--out" and "JAX_COMPILATION_CACHE_DIR" not in os.environ
assert not pathlib.Path(os.environ["LORA_JAX_CACHE"]).exists()
out = pathlib.Path(sys.argv[2])
out.mkdir()
(out / "runs.csv").write_text("run_id,n_params,n_tokens\\na,100,1000\\nb,3000,1000\\nc,3000,8000\\n")
"""
    section = measure_quickstart(2, lambda text: None, [sys.executable, "-c", program])
    (row,) = section.rows
    assert row.settings["n_params"] == [100, 3000]
    assert row.settings["token_counts"] == 2
    assert "2 sizes over 30-fold N, 2 token counts over 8-fold D" in section.note
    assert len(row["wall time"].samples) == 2
    assert row["peak memory"].kept is True


def test_a_quickstart_that_fails_is_no_measurement() -> None:
    with pytest.raises(LoraJaxError, match=r"status 4.*out of luck"):
        measure_quickstart(
            1, lambda text: None, [sys.executable, "-c", "print('out of luck'); raise SystemExit(4)"]
        )


def test_goals_of_the_quickstart() -> None:
    cost = run_child([sys.executable, "-c", ""])
    (row,) = make_section([cost], [(1, 1)]).rows
    assert (row["wall time"].at_most, row["peak memory"].at_most) == (300.0, 2.0)
