"""What `lora-jax watch` says of several workers."""

from dataclasses import replace
from pathlib import Path

import pytest

from lora_jax import cli
from lora_jax.cluster.deaths import describe_death, note_death
from lora_jax.workers.process import this_process
from lora_jax.workers.worker import WorkerState
from tests.workers.test_leases import ELSEWHERE, write_state


def look(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["watch", str(folder), "--once"]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_all_workers_are_shown_with_what_they_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = this_process()
    for name, process in (("near", here), ("far", ELSEWHERE), ("dead", replace(here, started=-1))):
        write_state(tmp_path, WorkerState(name, process, "", "", doing=f"d8x1-of-{name}"))
    write_state(tmp_path, WorkerState("left", here, "", "", ended="finished"))
    said = look(tmp_path, capsys)
    assert "near d8x1-of-near" in said
    assert "far d8x1-of-far" in said
    assert "of-dead" not in said
    assert "left" not in said
    assert "1 worker is gone without a word." in said
    assert "No run has begun yet." in said


def test_a_worker_that_died_on_slurm_is_told_with_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "12_0.out"
    log.write_text("RuntimeError: no space left\n")
    write_state(tmp_path, WorkerState("w", this_process(), "", ""))
    note_death(tmp_path, describe_death("12_0", 1, 3.0, 0, log))
    said = look(tmp_path, capsys)
    assert 'worker 12_0 ended with "RuntimeError: no space left"' in said
    assert "12_0.out" in said
