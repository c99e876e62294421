"""What runs in an allocation of SLURM: the worker's command as a child, stopped and queued again in time.

submitit unpickles a SlurmWorker there and calls it. Three things can end an allocation:
- USR2, which SLURM sends before the time is up, and on some clusters before a preemption: submitit calls
  `checkpoint`.
- SIGTERM, which SLURM sends before it takes the allocation away: a preemption, or scancel. submitit would
  pass over it.
- SIGKILL or the loss of the node. SLURM queues the job again by itself, and the next worker goes on from the
  last checkpoint.
What the worker has done is in the results folder. So the job starts again as it was submitted.

A worker of several machines has a SlurmWorker on each, whose children are one computation
(`training/processes.py`): when one child dies all end. The first SlurmWorker alone judges that, notes it and
has the job queued again, so that all start anew. The others end with status 0 whatever their child did, which
leaves the first one its time. One that is killed itself ends all (srun's --kill-on-bad-exit).
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

FOREVER = 3600.0  # seconds of one wait for a child
PAUSE = 5.0  # seconds before a worker that died is started again
LEFT = 20.0  # seconds before the end at which a child that still saves is left to be killed


class SlurmWorker:
    """One worker of a results folder, as submitit runs it in an allocation, on each machine of it."""

    def __init__(self, folder: Path, command: tuple[str, ...], notice: float) -> None:
        """folder: the results folder. notice: seconds from SLURM's USR2 to the end of the allocation."""
        self.folder, self.command, self.notice = folder, command, notice
        self._child: Child | None = None
        self._is_terminated = False

    def __call__(self) -> None:
        """Run the command until it has finished all work; ends the process otherwise."""
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
            if status in STOPPED:  # by a person, who signalled the worker itself
                sys.exit(status)
            if self._note_death(place, status, n_deaths):
                sys.exit(status)
            if place.num_tasks > 1:
                break  # all of them start anew, by the queue: a machine of them may be gone
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
        """Run the command beside the first machine's, and tell in this machine's log how it died.

        A SIGTERM does not hide a death. srun sends one as soon as the first process has ended, and that may
        be before this one has taken its child's status.
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
        """Tell of a death and note it; return whether the worker is not to be started again."""
        assert self._child is not None, "it ran"
        log = place.paths.stdout
        death = describe_death(place.job_id, status, self._child.seconds, n_before, log)
        if place.num_tasks > 1:  # the one that died first may be another
            death = replace(death, log=str(log.with_name(f"{place.job_id}_*_log.out")))
        print(f"lora-jax: {death.sentence}", file=sys.stderr, flush=True)
        note_death(self.folder, death)
        return death.is_last

    def checkpoint(self) -> NoReturn:
        """Stop the child with its state saved, have the job queued again, and end this process.

        submitit calls this, and would go on by writing the job anew, which leaves none where it is killed in
        the middle, and by a request that fails where SLURM has queued the job already.
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
    """End this process after a signal; a job that SLURM has not queued again by itself is queued again.

    SLURM calls a job RUNNING while it gives it time before a preemption or the end of its hours. One that
    ends by itself in that time would count as finished. One that was cancelled, or that SLURM has queued
    again, has another state by then. job: as 1234_0; of the last one of an array, 1234 is the whole array.
    """
    try:
        if state_of(job) == "RUNNING":
            requeue(job)
    except LoraJaxError as problem:
        print(f"lora-jax: {problem}", file=sys.stderr, flush=True)
    sys.exit(128 + signal.SIGTERM)
