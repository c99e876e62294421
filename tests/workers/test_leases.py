"""Leases: one worker has a job, and another takes it over only when that one is gone."""

import errno
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lora_jax.digests import to_sealed_json
from lora_jax.documents import to_document
from lora_jax.errors import LoraJaxError
from lora_jax.workers.crew import Joining, joined
from lora_jax.workers.leases import Lease, Leases
from lora_jax.workers.process import ProcessId, is_neighbour, is_running, this_process
from lora_jax.workers.witness import Witness
from lora_jax.workers.worker import Worker, WorkerState, read_worker, worker_path

ELSEWHERE = ProcessId("far", 1, "another machine", 7)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def write_state(folder: Path, state: WorkerState) -> None:
    path = worker_path(folder, state.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_sealed_json(to_document(state)))


def hand_over(folder: Path, state: WorkerState, job: str) -> None:
    """Make a job another worker's, as its process would."""
    write_state(folder, state)
    (folder / "leases").mkdir(exist_ok=True)
    (folder / "leases" / f"{job}.1").write_text(state.name)


def watching(folder: Path, clock: Clock) -> Leases:
    leases = Leases(Worker(folder, "code", "task"))
    leases.witness = Witness(folder, clock=clock)
    return leases


def test_a_job_has_one_worker(tmp_path: Path) -> None:
    first, second = (Leases(Worker(tmp_path, "code", "task")) for _ in range(2))
    lease = first.claim("a")
    assert lease is not None
    assert first.claim("a") == lease, "it is its own still"
    assert second.claim("a") is None
    assert second.claim("b") is not None
    assert second.holder("a") == first._worker.name
    first.release(lease)
    assert second.holder("a") is None
    assert second.claim("a", fresh=True) is None, "somebody had it"
    assert second.claim("a") == Lease("a", 2)


def test_of_many_threads_each_job_goes_to_one(tmp_path: Path) -> None:
    all_leases = [Leases(Worker(tmp_path, "code", "task")) for _ in range(8)]
    jobs, taken = [f"job-{i}" for i in range(50)], [[] for _ in all_leases]

    def take(leases: Leases, mine: list[str]) -> None:
        mine += [job for job in jobs if leases.claim(job) is not None]

    threads = [threading.Thread(target=take, args=pair) for pair in zip(all_leases, taken, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(job for mine in taken for job in mine) == sorted(jobs)


@pytest.mark.parametrize("updated", [0.0, 4e9], ids=["a clock of 1970", "a clock of 2096"])
def test_a_worker_elsewhere_is_gone_when_its_beat_stands_still_on_our_clock(
    tmp_path: Path, updated: float
) -> None:
    clock, state = Clock(), WorkerState("w", ELSEWHERE, "code", "task")
    hand_over(tmp_path, state, "a")
    leases = watching(tmp_path, clock)
    for beat in range(4):
        write_state(tmp_path, replace(state, beat=beat))
        os.utime(worker_path(tmp_path, "w"), (updated, updated))  # no time stamp counts
        clock.now += 170.0
        assert leases.claim("a") is None, "it beats"
    clock.now += 170.0
    assert leases.claim("a") is None
    clock.now += 11.0
    assert leases.claim("a") == Lease("a", 2)


def test_a_lease_whose_worker_never_wrote_its_name_goes_stale(tmp_path: Path) -> None:
    clock = Clock()
    hand_over(tmp_path, WorkerState("w", ELSEWHERE, "code", "task"), "a")
    (tmp_path / "leases" / "a.1").write_text("")
    leases = watching(tmp_path, clock)
    assert leases.claim("a") is None
    clock.now += 181.0
    assert leases.claim("a") == Lease("a", 2)


def test_a_process_of_this_machine_is_gone_as_soon_as_it_has_ended(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    its = replace(this_process(), pid=process.pid, started=_started(process.pid))
    hand_over(tmp_path, WorkerState("w", its, "code", "task"), "a")
    leases = Leases(Worker(tmp_path, "code", "task"))
    assert leases.claim("a") is None
    process.kill()
    assert is_neighbour(its)
    while is_running(its):  # a zombie has ended
        pass
    leases.witness._read.clear()
    assert leases.claim("a") == Lease("a", 2)
    process.communicate()


def _started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_a_number_that_another_process_has_now_is_not_the_worker(tmp_path: Path) -> None:
    own = this_process()
    assert is_running(own)
    assert not is_running(replace(own, started=own.started - 1))


def test_a_worker_that_was_taken_over_writes_nothing_more(tmp_path: Path) -> None:
    first = Leases(Worker(tmp_path, "code", "task"))
    lease = first.claim("a")
    assert lease is not None
    first.require(lease)
    first._worker._state = replace(first._worker.state, ended="stopped")
    write_state(tmp_path, first._worker.state)  # to the others it looks gone
    second = Leases(Worker(tmp_path, "code", "task"))
    assert second.claim("a") == Lease("a", 2)
    with pytest.raises(LoraJaxError, match="has taken a over from this one"):
        first.require(lease)


def test_a_worker_that_was_asleep_trusts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(tmp_path, "code", "task")
    worker.require_pulse()
    asleep = worker._beaten + 136.0
    monkeypatch.setattr("lora_jax.workers.worker.awake", lambda: asleep)
    with pytest.raises(LoraJaxError, match="could not show for 136 s"):
        worker.require_pulse()


def test_a_worker_beats_while_it_works_and_says_how_it_ended(tmp_path: Path) -> None:
    worker = Worker(tmp_path, "code", "task", stale_seconds=0.3)
    with worker.beating():
        first = read_worker(tmp_path, worker.name)
        while (now := read_worker(tmp_path, worker.name)) == first:
            pass
        assert first is not None
        assert now is not None
        assert now.beat > first.beat
    last = read_worker(tmp_path, worker.name)
    assert last is not None
    assert last.ended == "finished"


def refuse(path: Path, content: str) -> None:
    raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


def test_a_heart_that_cannot_write_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(tmp_path / "folder", "code", "task", stale_seconds=0.3)
    with worker.beating():
        monkeypatch.setattr("lora_jax.workers.worker.write_atomically", refuse)
        time.sleep(0.4)
        with pytest.raises(
            LoraJaxError, match=r"could not show for .*its file cannot be written: Disk quota"
        ):
            worker.require_pulse()


def test_a_folder_that_disappears_is_not_made_anew(tmp_path: Path) -> None:
    leases = Leases(Worker(tmp_path / "folder", "code", "task", stale_seconds=0.3))
    lease = leases.claim("a")
    assert lease is not None
    with leases._worker.beating():
        (tmp_path / "folder").rename(tmp_path / "gone")
        time.sleep(0.2)
        with pytest.raises(LoraJaxError, match=r"is gone, by which this worker is known"):
            leases.require(lease)
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("what", ["code", "task"])
def test_other_code_or_another_task_is_refused(tmp_path: Path, what: str) -> None:
    with joined(tmp_path, Joining("task"), print) as crew:
        own = crew.worker.state
    write_state(tmp_path, replace(own, name="w", process=ELSEWHERE, ended=None, **{what: "other"}))
    named = "other code" if what == "code" else "another config"
    with pytest.raises(LoraJaxError, match=named), joined(tmp_path, Joining("task"), print):
        pass


def test_the_same_command_twice_on_one_machine_is_refused_unless_it_is_invited(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lora_jax.workers.crew import Joining, joined\n"
        "with joined(Path(sys.argv[1]), Joining('t', sys.argv[2] == 'invited'), print): print('in')\n"
    )
    said: list[str] = []
    with joined(tmp_path, Joining("t"), said.append):
        alone, invited = (
            subprocess.run([sys.executable, "-c", code, str(tmp_path), how], capture_output=True, text=True)
            for how in ("alone", "invited")
        )
    assert alone.returncode == 1
    assert "Another process is training into" in alone.stderr
    assert invited.returncode == 0, invited.stderr
    assert invited.stdout.endswith("in\n")
    assert "1 other worker on" in invited.stdout


def test_what_killed_processes_left_is_not_swept_beside_another_worker(tmp_path: Path) -> None:
    left = tmp_path / f".a.{'0' * 32}.tmp"
    left.write_text("half")
    os.utime(left, (0, 0))
    write_state(tmp_path, WorkerState("w", ELSEWHERE, "", "t"))
    with pytest.raises(LoraJaxError), joined(tmp_path, Joining("t"), print):
        pass
    assert left.exists()
    worker_path(tmp_path, "w").unlink()
    with joined(tmp_path, Joining("t"), print):
        assert not left.exists()


def test_what_one_does_alone_the_others_wait_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lora_jax.workers.leases.POLL_SECONDS", 0.01)
    first, second = (Leases(Worker(tmp_path, "code", "task")) for _ in range(2))
    order: list[str] = []

    def wait() -> None:
        with second.alone("preparing-7", order.append):
            order.append("second")

    with first.alone("preparing-7", order.append):
        thread = threading.Thread(target=wait)
        thread.start()
        while not order:
            pass
        order.append("first")
    thread.join()
    assert order == [f"Waiting for worker {first._worker.name}: preparing.", "first", "second"]


def test_a_folder_that_takes_no_lease_is_told(tmp_path: Path) -> None:
    leases = Leases(Worker(tmp_path, "code", "task"))
    (tmp_path / "leases").rmdir()
    (tmp_path / "leases").write_text("a file")
    with pytest.raises(LoraJaxError, match=r"lease's file cannot be made in .* \(Not a directory\)"):
        leases.claim("a")
