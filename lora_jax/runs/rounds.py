"""Rounds over the jobs of a sweep, among several workers, until every run has its record.

In the first round a worker takes only jobs that nobody ever had. Later it takes over those whose worker is
gone. If others have all jobs that are left, it waits for their records, because a worker may be killed at any
moment.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lora_jax.runs.progress import Progress
from lora_jax.training.checkpoint import do_nothing
from lora_jax.training.side_by_side import Stopped
from lora_jax.workers.crew import Crew
from lora_jax.workers.leases import POLL_SECONDS


class Rounds:
    """The rounds of one worker. Without a crew there is one round, in which this process takes every job."""

    def __init__(
        self,
        crew: Crew | None,
        run_ids: Sequence[str],
        is_settled: Callable[[str], bool],
        progress: Progress,
        should_stop: Callable[[], bool],
    ) -> None:
        """Prepare the rounds.

        Args:
            crew: The workers of the folder. None if this process has the folder for itself.
            run_ids: The runs that must have a record in the end.
            is_settled: Returns whether a run has one.
            progress: Told of runs that other workers finish.
            should_stop: Waiting ends soon after this returns True.
        """
        self._crew, self._is_settled, self._should_stop = crew, is_settled, should_stop
        self._left = [run_id for run_id in run_ids if not is_settled(run_id)]
        self._progress = progress
        self._taken: set[str] = set()
        self._n_taken = 0
        self._fresh = True  # in this round only jobs that nobody ever had are taken
        self._told = False

    def __iter__(self) -> Iterator["Rounds"]:
        """Yield a round at a time until every run is settled.

        Raises:
            Stopped: `should_stop` returned True while it waited.
        """
        while self._left:
            self._n_taken = 0
            yield self
            self._left = [run_id for run_id in self._left if not self._settle(run_id)]
            if self._crew is None:
                return
            if self._n_taken or not self._left:
                continue
            if not self._fresh:
                self._wait()
            self._fresh = False

    def hold(self, job: str, run_ids: Sequence[str]) -> Callable[[], None] | None:
        """Take a job, unless it has no run left or another worker has it.

        Args:
            job: Name of the job.
            run_ids: Its runs.

        Returns:
            A guard, to be called before anything of the job is written. It raises LoraJaxError if another
            worker has taken the job over. None if this worker does not get the job.
        """
        if all(map(self._is_settled, run_ids)):
            return None
        assert job not in self._taken, f"{job} has ended and left a run without a record"
        if self._crew is None:
            self._taken.add(job)
            return do_nothing
        leases = self._crew.leases
        lease = leases.claim(job, fresh=self._fresh)
        # another worker may have finished it since we looked first
        if lease is None or all(map(self._is_settled, run_ids)):
            return None
        self._taken.add(job)
        self._n_taken += 1
        self._crew.worker.tell(job)
        return lambda: leases.require(lease)

    def share(self, items: Sequence[Any]) -> int:
        """Return how many of some jobs one worker may take at a time, so that others get some too."""
        n_workers = 1 if self._crew is None else 1 + len(self._crew.others())
        return max(1, -(-len(items) // n_workers))

    def is_left(self, run_id: str) -> bool:
        """Does this run have no record yet?"""
        return not self._is_settled(run_id)

    def _settle(self, run_id: str) -> bool:
        settled = self._is_settled(run_id)
        if settled:
            self._progress.finish_elsewhere(run_id)
        return settled

    def _wait(self) -> None:
        if self._should_stop():
            raise Stopped
        if not self._told:
            self._told = True
            n, others = len(self._left), len(self._crew.others()) if self._crew else 0
            self._progress.say(f"Runs that other workers have: {n}. Waiting for them ({others} workers).")
        if self._crew is not None:
            self._crew.worker.tell("waiting for other workers")
            self._crew.worker.require_pulse()
        time.sleep(POLL_SECONDS)
