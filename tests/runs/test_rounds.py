"""Rounds: several workers come to the end of a sweep together, whatever becomes of one of them."""

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from lora_jax.runs.progress import Progress
from lora_jax.runs.rounds import Rounds
from lora_jax.training.side_by_side import Stopped
from lora_jax.workers.crew import Crew, Joining, joined
from lora_jax.workers.process import this_process
from lora_jax.workers.worker import WorkerState
from tests.workers.test_leases import ELSEWHERE, hand_over, write_state


@dataclass(frozen=True)
class Job:
    """A run of which the bar is told."""

    run_id: str
    seconds: float = 1.0
    finished: bool = False
    own_tokens: int = 1
    n_steps: int = 1
    description: str = ""

    @property
    def run(self) -> str:
        return self.run_id


JOBS = [f"job-{i}" for i in range(12)]


def rounds_of(folder: Path, crew: Crew | None, stop: bool = False) -> Rounds:
    progress = Progress([Job(name) for name in JOBS])
    return Rounds(crew, JOBS, lambda name: (folder / name).exists(), progress, lambda: stop)


def finish(folder: Path, name: str) -> None:
    with (folder / name).open("x"):  # raises where somebody has done it
        pass


def work_off(folder: Path, crew: Crew | None) -> list[str]:
    done = []
    for turn in rounds_of(folder, crew):
        for name in JOBS:
            guard = turn.hold(name, [name])
            if guard is not None:
                guard()
                finish(folder, name)
                done.append(name)
    return done


def test_one_process_does_all_in_one_round(tmp_path: Path) -> None:
    assert work_off(tmp_path, None) == JOBS
    assert work_off(tmp_path, None) == [], "each has its record"


def test_workers_do_every_job_once_and_end_together(tmp_path: Path) -> None:
    shares: list[list[str]] = []

    def work() -> None:
        with joined(tmp_path, Joining("t", invited=True), lambda _: None) as crew:
            shares.append(work_off(tmp_path, crew))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shares) == 4
    assert sorted(name for share in shares for name in share) == sorted(JOBS)


def test_a_worker_that_is_gone_leaves_its_jobs_to_the_others(tmp_path: Path) -> None:
    ended = this_process().__class__("here", 2**30, this_process().machine, 1)  # a number that none has
    hand_over(tmp_path, WorkerState("w", ended, "", "t"), JOBS[3])
    with joined(tmp_path, Joining("t"), print) as crew:
        done = work_off(tmp_path, crew)
    assert sorted(done) == sorted(JOBS)
    assert done[-1] == JOBS[3], "what nobody ever had comes first"


def test_who_waits_for_others_can_be_stopped(tmp_path: Path) -> None:
    for name in JOBS[1:]:
        finish(tmp_path, name)
    with joined(tmp_path, Joining("t"), print) as crew:
        hand_over(tmp_path, WorkerState("w", ELSEWHERE, "", "t"), JOBS[0])
        turns = iter(rounds_of(tmp_path, crew, stop=True))
        assert next(turns).hold(JOBS[0], [JOBS[0]]) is None
        assert next(turns).hold(JOBS[0], [JOBS[0]]) is None, "its worker may be alive"
        with pytest.raises(Stopped):
            next(turns)


def test_what_others_finish_counts_on_the_bar(tmp_path: Path) -> None:
    progress = Progress([Job(name) for name in JOBS])
    rounds = Rounds(None, JOBS, lambda name: (tmp_path / name).exists(), progress, lambda: False)
    for _ in rounds:
        for name in JOBS[:6]:
            finish(tmp_path, name)
    assert progress.share() == 0.5


def test_a_share_leaves_something_to_the_others(tmp_path: Path) -> None:
    with joined(tmp_path, Joining("t"), print) as crew:
        turn = rounds_of(tmp_path, crew)
        assert turn.share(JOBS) == 12
        for name in "ab":
            write_state(tmp_path, WorkerState(name, ELSEWHERE, "", "t"))
        assert turn.share(JOBS) == 4
        assert turn.share(JOBS[:2]) == 1
