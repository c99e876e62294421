"""A worker of two machines on a real SLURM: processes of one computation end and start together."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_jax.cluster import submit
from lora_jax.cluster.deaths import read_deaths
from lora_jax.cluster.slurm_options import read_slurm
from lora_jax.cluster.submit import Submission, read_submissions, submit_workers
from tests.cluster.quick import QuickWorker
from tests.cluster.slurm import Slurm, start_slurm, why_none
from tests.cluster.test_submit import ROOT, preempt, wait_until_all
from tests.experiments.place import Place, check_same, read_records
from tests.workers.kills import WORK

TOKENS = ("[2560, 5120, 10_240, 81_920]", "[2560, 40_960]")
SIZES = ("[4, 8, 16]", "[8]")
OPTIONS = ("--save-steps", 20, "--mesh", "data=2")
ASKED = "nodes=2,hours=1"
LIMIT = 600.0  # seconds: on a busy machine each step waits for the slower process


@pytest.fixture(scope="module")
def nodes() -> Iterator[Slurm]:
    """A cluster of two nodes."""
    reason = why_none()
    if reason is not None:
        pytest.skip(reason)
    with start_slurm(n_nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    found = Place(tmp_path_factory.mktemp("nodes"))
    found.config.write_text(found.config.read_text().replace(*TOKENS).replace(*SIZES))
    found.env |= {"PYTHONPATH": str(ROOT)}
    return found


@pytest.fixture(scope="module")
def whole(nodes: Slurm, place: Place) -> Path:
    """A sweep that a worker of two nodes trained undisturbed."""
    out = place.folder / "whole"
    code, _, err = place.call(place.config, *OPTIONS, "--out", out, "--workers", 1, "--slurm", ASKED)
    assert code == 0, err
    [submission] = read_submissions(out)
    wait_until_all(nodes, submission, "COMPLETED", seconds=LIMIT)
    return out


@pytest.fixture
def quick(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers start with the place's environment, and a death after some seconds is not at once."""
    for name, value in place.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(submit, "SlurmWorker", QuickWorker)


def start(place: Place, name: str) -> tuple[Path, Submission]:
    """Submit one worker of two nodes for a new sweep."""
    out = place.folder / name
    code, _, err = place.call(place.config, *OPTIONS, "--out", out, "--workers", 0)
    assert code == 0, err
    command = [sys.executable, *WORK, str(out)]
    return out, submit_workers(out, 1, read_slurm(ASKED), command)


def wait_for_step(cluster: Slurm, out: Path, step: int) -> None:
    cluster.wait_until(
        lambda: any(path.is_dir() for path in out.glob(f"checkpoints/*/trunk/{step}")),
        f"step {step} is saved",
        LIMIT,
    )


def find_process(number: int, *words: str) -> int:
    """Return the pid of the process of a step with this number whose command has these words."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            said = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
            env = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if set(words) <= set(said) and f"SLURM_PROCID={number}".encode() in env and said[0] != "srun":
            return int(path.name)
    raise AssertionError(f"no process {number} of {words}")


def n_restarts(cluster: Slurm, submission: Submission) -> int:
    text = cluster.ask("scontrol", "show", "job", submission.job)
    return int(text.partition("Restarts=")[2].split()[0])


@pytest.mark.slow
def test_when_one_process_is_killed_both_are_requeued_and_give_the_same_bits(
    nodes: Slurm, place: Place, whole: Path, quick: None
) -> None:
    """The second machine's process is killed, then both are preempted, then the first one's is killed."""
    out, submission = start(place, "killed")
    for step, take_away in (
        (80, lambda: os.kill(find_process(1, "work", str(out)), signal.SIGKILL)),
        (160, lambda: preempt(nodes, 1, n_nodes=2)),
        (240, lambda: os.kill(find_process(0, "work", str(out)), signal.SIGKILL)),
    ):
        before = n_restarts(nodes, submission)
        wait_for_step(nodes, out, step)
        take_away()
        nodes.wait_until(
            lambda before=before: n_restarts(nodes, submission) > before, "it is queued again", LIMIT
        )
    assert len(read_records(out)) < len(read_records(whole))
    wait_until_all(nodes, submission, "COMPLETED", seconds=LIMIT)
    check_same(out, whole)
    assert read_deaths(out) == ()
    logs = [(out / f"slurm/{submission.job}_{number}_log.out").read_text() for number in range(2)]
    assert all("(status 137)" in log for log in logs)
    assert [log.count("is started again") > 0 for log in logs] == [True, False], "the first one judges"
    assert [log.count("Report: ") for log in logs] == [1, 0]


@pytest.mark.slow
def test_a_worker_of_two_nodes_that_dies_at_once_is_not_queued_again(nodes: Slurm, tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys, time; number = os.environ['SLURM_PROCID']; print('number', number)\n"
        f"ended = pathlib.Path({str(tmp_path)!r}, 'ended')\n"
        "if number == '1': ended.touch()\n"
        # srun ends the others with the first one, so it waits, as one that talks to the others does
        "while not ended.exists(): time.sleep(0.05)\n"
        "sys.exit(1)"
    )
    submission = submit_workers(tmp_path, 1, read_slurm("hours=1,nodes=2"), [sys.executable, "-c", program])
    wait_until_all(nodes, submission, "FAILED")
    [death] = read_deaths(tmp_path)
    assert (death.worker, death.status, death.said) == (submission.job, 1, "number 0")
    logs = sorted(Path(death.log).parent.glob(Path(death.log).name))
    assert [log.name for log in logs] == [f"{submission.job}_{number}_log.out" for number in range(2)]
    assert f"process 1 of worker {submission.job} ended (status 1)" in logs[1].read_text()


@pytest.mark.slow
def test_when_what_starts_one_process_is_killed_all_are_requeued(nodes: Slurm, tmp_path: Path) -> None:
    """As where a machine has no memory left: SLURM's srun ends the others, and the first one has a say."""
    program = f"import os, time; open('{tmp_path}/starts', 'a').write('x'); time.sleep(100)"
    submission = submit_workers(tmp_path, 1, read_slurm("hours=1,nodes=2"), [sys.executable, "-c", program])
    starts = tmp_path / "starts"
    nodes.wait_until(lambda: starts.exists() and starts.read_text() == "xx", "both run")
    os.kill(find_process(1, "submitit.core._submit", str(tmp_path / "slurm")), signal.SIGKILL)
    nodes.wait_until(lambda: starts.read_text() == "xxxx", "both run again")
    subprocess.run(["scancel", submission.job], check=True, timeout=60)
    wait_until_all(nodes, submission, "CANCELLED")
    assert read_deaths(tmp_path) == ()
