"""What one machine of a worker tells, in processes that have SLURM's variables and no SLURM."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECOND = {
    "SUBMITIT_EXECUTOR": "slurm",
    "SLURM_JOB_ID": "7",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_NTASKS": "2",
    "SLURM_NNODES": "2",
    "SLURM_NODEID": "1",
    "SLURM_JOB_NODELIST": "here",
}
RUN = (
    "import sys, pathlib; from lora_jax.cluster.slurm_worker import SlurmWorker;"
    "SlurmWorker(pathlib.Path(sys.argv[1]), (sys.executable, '-c', sys.argv[2]), 30.0)()"
)
STARTED_BY = "import os, signal, sys, time; ask = lambda: os.kill(os.getppid(), signal.SIGTERM)\n"


def follow(folder: Path, child: str) -> subprocess.CompletedProcess[str]:
    """Run a worker on the second of two machines, whose command is this program."""
    pytest.importorskip("submitit")
    command = [sys.executable, "-c", RUN, str(folder), STARTED_BY + child]
    env = os.environ | SECOND
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_a_death_is_told_though_slurm_ends_the_step_first(tmp_path: Path) -> None:
    """srun sends SIGTERM to the others as soon as the first process has ended."""
    ended = follow(
        tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN); ask(); time.sleep(0.5); sys.exit(3)"
    )
    assert ended.returncode == 0
    assert "process 1 of worker 7 ended (status 3)" in ended.stderr


def test_a_stop_is_no_death(tmp_path: Path) -> None:
    ended = follow(tmp_path, "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); ask(); time.sleep(30)")
    assert ended.returncode == 0
    assert "saves its state" in ended.stderr
    assert "ended" not in ended.stderr
