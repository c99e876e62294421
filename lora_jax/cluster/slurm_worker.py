"""What runs in an allocation of SLURM: the worker's command as a child, stopped and queued again in time.

submitit unpickles a SlurmWorker there and calls it. Three things can end an allocation:
- SLURM sends USR2 before the time is up, and on some clusters before a preemption. submitit then calls
  `checkpoint`.
- SLURM sends SIGTERM before it takes the allocation away, for a preemption or scancel. submitit would ignore
  it.
- SIGKILL, or the loss of the node. SLURM queues the job again by itself, and the next worker goes on from the
  last checkpoint.
What the worker has done is in the results folder. So the job starts again as it was submitted.

A worker on several machines has a SlurmWorker on each. Their children are one computation
(`training/processes.py`), so when one child dies, all end. Only the first SlurmWorker judges the death, notes
it and queues the job again, so that all start again. The others end with status 0, whatever their child did.
This leaves the first one its time. If a SlurmWorker itself is killed, all end (srun's --kill-on-bad-exit).
"""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from lora_jax.cluster.child import Child
from lora_jax.cluster.deaths import STOPPED, count_deaths, describe_death, forget_death, note_death
from lora_jax.cluster.slurm_programs import requeue, state_of
from lora_jax.errors import LoraJaxError

if TYPE_CHECKING:
    from submitit import JobEnvironment

FOREVER = 3600.0  # seconds of a single wait for a child
PAUSE = 5.0  # seconds until we start a worker again that died
LEFT = 20.0  # this many seconds before the end, we stop waiting for a child that still saves


class SlurmWorker:
    """One worker of a results folder, as submitit runs it on each machine of an allocation."""

    def __init__(self, folder: Path, command: tuple[str, ...], notice: float) -> None:
        """Describe the worker.

        Args:
            folder: The results folder.
            command: What the worker runs.
            notice: Seconds from SLURM's USR2 to the end of the allocation.
        """
        self.folder, self.command, self.notice = folder, command, notice
        self._child: Child | None = None
        self._is_terminated = False

    def __call__(self) -> None:
        """Run the command until it has finished all work. Otherwise end the process."""
        import submitit

        place = submitit.JobEnvironment()
        signal.signal(signal.SIGTERM, self._terminate)
        if place.global_rank:
            self._follow(place)
            return
        n_deaths = count_deaths(self.folder, place.job_id)
        while not self._is_terminated:
            status = self._run_child(place)
            if self._is_terminated:
                break
            if status == 0:
                return
            if status in STOPPED:  # a person sent the worker itself a signal
                sys.exit(status)
            if self._note_death(place, status, n_deaths):
                sys.exit(status)
            if place.num_tasks > 1:
                break  # all of them start again through the queue, because a machine may be gone
            n_deaths += 1
            time.sleep(PAUSE)
        leave_allocation(place.job_id)

    def _run_child(self, place: "JobEnvironment") -> int:
        """Run the command once and return its exit status."""
        child = self._child = Child(self.command)
        if self._is_terminated:  # the signal came before there was a child to ask
            child.ask_to_stop()
        if not place.global_rank:
            forget_death(self.folder, place.job_id)
        while not child.wait(FOREVER):
            pass
        return child.take_status()

    def _follow(self, place: "JobEnvironment") -> None:
        """Run the command beside the first machine's, and write into this machine's log how it died.

        We report a death even after a SIGTERM. srun sends one as soon as the first process has ended, which
        may be before this process has taken its child's status.
        """
        status = self._run_child(place)
        if status and status not in STOPPED:
            print(
                f"lora-jax: process {place.global_rank} of worker {place.job_id} ended (status {status});"
                " the first one says whether all start again.",
                file=sys.stderr,
                flush=True,
            )

    def _note_death(self, place: "JobEnvironment", status: int, n_before: int) -> bool:
        """Report a death and note it. Return whether the worker should not be started again."""
        assert self._child is not None, "it ran"
        log = place.paths.stdout
        death = describe_death(place.job_id, status, self._child.seconds, n_before, log)
        if place.num_tasks > 1:  # another process may have died first
            death = replace(death, log=str(log.with_name(f"{place.job_id}_*_log.out")))
        print(f"lora-jax: {death.sentence}", file=sys.stderr, flush=True)
        note_death(self.folder, death)
        return death.is_last

    def checkpoint(self) -> NoReturn:
        """Stop the child with its state saved, queue the job again, and end this process.

        submitit calls this. If we returned, submitit would write the job again, and leave none if it is
        killed meanwhile. And its request fails if SLURM has queued the job already.
        """
        import submitit

        if self._child is not None:
            self._child.ask_to_stop()
            self._child.wait(max(self.notice - LEFT, self.notice / 2))
        leave_allocation(submitit.JobEnvironment().job_id)

    def _terminate(self, signum: int, frame: FrameType | None) -> None:
        self._is_terminated = True
        os.write(2, b"lora-jax: SLURM takes the allocation away; the worker saves its state.\n")
        if self._child is not None:
            self._child.ask_to_stop()


def leave_allocation(job: str) -> NoReturn:
    """End this process after a signal. Queue the job again unless SLURM has done so.

    SLURM calls a job RUNNING while it gives it time before a preemption or the end of its hours. A job that
    ends by itself in that time would count as finished. A job that was cancelled, or that SLURM has queued
    again, has another state by then.

    Args:
        job: The job, such as 1234_0. For the last element of an array, 1234 means the whole array.
    """
    try:
        if state_of(job) == "RUNNING":
            requeue(job)
    except LoraJaxError as problem:
        print(f"lora-jax: {problem}", file=sys.stderr, flush=True)
    sys.exit(128 + signal.SIGTERM)
