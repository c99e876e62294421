"""A worker that needs no jax: takes jobs of a folder, sleeps for each, and saves how far it came on SIGTERM.

python -m tests.cluster.stand_in FOLDER N_JOBS SECONDS: a job that is done is a file `done/I`, written once.
"""

import fcntl
import os
import signal
import sys
import time
from pathlib import Path

from lora_jax.runs.signals import stop_requests

STEP = 0.1  # seconds


def main(folder: Path, n_jobs: int, seconds: float) -> int:
    for name in ("claims", "states", "done", "starts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "starts" / f"{os.getpid()}-{time.time_ns()}").touch()
    with stop_requests() as stop:
        while True:
            left = [job for job in range(n_jobs) if not (folder / "done" / str(job)).exists()]
            if not left:
                return 0
            for job in left:
                if claim(folder, job):
                    work(folder, job, seconds, stop)
                if stop():
                    print(f"{os.environ.get('SLURM_JOB_ID')} stops", flush=True)
                    return stop.exit_status
            time.sleep(STEP)


def claim(folder: Path, job: int) -> bool:
    """Take a job that nobody has; one whose owner has ended is free again. One process at a time looks."""
    path = folder / "claims" / str(job)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        taken = path.exists() and Path(f"/proc/{path.read_text()}").exists()
        if taken or (folder / "done" / str(job)).exists():
            return False
        path.write_text(str(os.getpid()))
        return True


def work(folder: Path, job: int, seconds: float, stop) -> None:
    """Sleep what is left of a job; write how much is left where a signal comes first."""
    state = folder / "states" / str(job)
    steps = int(state.read_text()) if state.exists() else 0
    while steps * STEP < seconds:
        if stop():
            time.sleep(1.0)  # a state takes its time
            state.write_text(str(steps))
            (folder / "claims" / str(job)).unlink()
            return
        time.sleep(STEP)
        steps += 1
    with (folder / "done" / str(job)).open("x") as file:  # twice would be a FileExistsError, status 1
        file.write(f"{os.environ.get('SLURM_ARRAY_TASK_ID')} {steps}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
