"""The lease layer alone: many processes take many jobs that only sleep; how much time is lost?

python -m tests.workers.crowd FOLDER --processes 40 --jobs 2000
"""

import argparse
import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from lora_jax.workers.leases import Leases
from lora_jax.workers.worker import Worker

SECONDS = 1.0  # that a job takes


def take_all(folder: Path, jobs: list[str], barrier: Barrier) -> None:
    """Be one worker: take every job that nobody has, sleep, and leave a file for it."""
    worker = Worker(folder, "code", "task")
    with worker.beating():
        leases = Leases(worker)
        barrier.wait()
        for job in jobs:
            if leases.claim(job, fresh=True) is not None:
                time.sleep(SECONDS)
                with (folder / "done" / job).open("x"):  # raises where another process has done it
                    pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=2000)
    asked = parser.parse_args()
    print(measure(asked.folder, asked.processes, asked.jobs))


def measure(folder: Path, n_processes: int, n_jobs: int) -> str:
    """Return a sentence on the time that the jobs took beside the time that they slept."""
    (folder / "done").mkdir(parents=True)
    jobs = [f"job-{number:05}" for number in range(n_jobs)]
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(n_processes + 1)
    processes = [context.Process(target=take_all, args=(folder, jobs, barrier)) for _ in range(n_processes)]
    for process in processes:
        process.start()
    barrier.wait()
    began = time.monotonic()
    for process in processes:
        process.join()
    seconds = time.monotonic() - began
    assert all(process.exitcode == 0 for process in processes), "a job was done twice"
    assert len(list((folder / "done").iterdir())) == n_jobs, "a job was lost"
    least = SECONDS * -(-n_jobs // n_processes)
    return (
        f"{n_processes} processes, {n_jobs} jobs of {SECONDS:g} s: {seconds:.2f} s, at least {least:g} s were"
        f" needed: {seconds / least - 1:.1%} lost; each job done once"
    )


if __name__ == "__main__":
    main()
