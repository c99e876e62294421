"""Workers on a real SLURM of this machine: preempted, timed out, cancelled, dead; and what SLURM refuses."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from lora_jax.cluster.deaths import read_deaths
from lora_jax.cluster.slurm_options import read_slurm
from lora_jax.cluster.submit import Submission, cancel, read_submissions, submit_workers
from lora_jax.errors import LoraJaxError
from lora_jax.extras import explain_missing
from tests.cluster.slurm import CPUS, Slurm, node_name, start_slurm, why_none

ROOT = Path(__file__).parents[2]
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED"}


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def submit(folder: Path, n_workers: int, asked: str, n_jobs: int, seconds: float) -> Submission:
    command = [sys.executable, "-m", "tests.cluster.stand_in", str(folder), str(n_jobs), str(seconds)]
    return submit_workers(folder, n_workers, read_slurm(asked), command)


def count(cluster: Slurm, submission: Submission, *states: str) -> int:
    """How many workers are in one of these states?"""
    return sum(state in states for state in cluster.states(submission.job).values())


def wait_until_all(cluster: Slurm, submission: Submission, *states: str, seconds: float = 120.0) -> None:
    cluster.wait_until(
        lambda: count(cluster, submission, *states) == submission.n_workers,
        f"all workers of {submission.job} are {' or '.join(states)}",
        seconds,
    )


def wait_until_at_work(cluster: Slurm, folder: Path, n: int) -> None:
    """Wait until so many workers have a job each, then until these have done a part of it."""
    cluster.wait_until(lambda: n_claimed(folder) >= n, f"{n} workers work")
    time.sleep(2)


def n_claimed(folder: Path) -> int:
    claims = [path.read_text() for path in (folder / "claims").glob("*") if path.exists()]
    return sum(Path(f"/proc/{pid}").exists() for pid in set(claims) if pid)


def preempt(cluster: Slurm, seconds: int = 3, n_nodes: int = 1) -> None:
    """Have another job take all of the nodes for some seconds; return once that job has begun."""
    words = cluster.ask(
        "sbatch",
        "--partition=high",
        f"--nodes={n_nodes}",
        f"--ntasks={n_nodes * CPUS}",
        "--output=/dev/null",
        f"--wrap=sleep {seconds}",
    )
    job = words.split()[-1]
    cluster.wait_until(
        lambda: cluster.states(job)[job] in ("RUNNING", "COMPLETED"), f"{job} has preempted all"
    )


def assert_done_once(folder: Path, n_jobs: int, steps: int) -> None:
    """Each job was done, to its last step; one that is done twice ends its worker with an error."""
    done = {path.name: path.read_text().split()[1] for path in (folder / "done").iterdir()}
    assert done == {str(job): str(steps) for job in range(n_jobs)}
    assert read_deaths(folder) == ()


def names(folder: Path, kind: str) -> set[str]:
    return {path.name for path in (folder / kind).glob("*")}


@pytest.mark.slow
def test_eight_workers_that_are_preempted_go_on_where_they_were(slurm: Slurm, tmp_path: Path) -> None:
    submission = submit(tmp_path, 8, "partition=low,hours=1", 16, 6)
    assert submission == read_submissions(tmp_path)[0]
    wait_until_at_work(slurm, tmp_path, 8)
    preempt(slurm)
    assert len(names(tmp_path, "states")) == 8  # all have saved
    wait_until_all(slurm, submission, "COMPLETED")
    assert_done_once(tmp_path, 16, 60)
    assert len(names(tmp_path, "starts")) == 16
    for element in range(8):
        assert (tmp_path / f"slurm/{submission.job}_{element}_0_log.out").read_text()
    assert cancel(tmp_path).elements == ()


@pytest.mark.slow
def test_workers_may_be_preempted_three_times(slurm: Slurm, tmp_path: Path) -> None:
    submission = submit(tmp_path, 2, "partition=graceful,hours=1", 2, 12)
    for _ in range(3):
        wait_until_at_work(slurm, tmp_path, 2)
        preempt(slurm, 1)
    wait_until_all(slurm, submission, "COMPLETED")
    assert_done_once(tmp_path, 2, 120)
    assert len(names(tmp_path, "starts")) == 8


@pytest.mark.slow
@pytest.mark.parametrize("partition", ["low", "graceful"])
def test_a_cluster_that_sends_no_user_signal_preempts_by_sigterm(tmp_path: Path, partition: str) -> None:
    reason = why_none()
    if reason is not None:
        pytest.skip(reason)
    with start_slurm(user_signal=False) as cluster:
        submission = submit(tmp_path, 3, f"partition={partition},hours=1", 3, 8)
        wait_until_at_work(cluster, tmp_path, 3)
        preempt(cluster)
        assert len(names(tmp_path, "states")) == 3
        wait_until_all(cluster, submission, "COMPLETED")
    assert_done_once(tmp_path, 3, 80)


@pytest.mark.slow
def test_a_worker_whose_time_is_up_is_queued_again(slurm: Slurm, tmp_path: Path) -> None:
    # the signal comes 10 to 40 seconds after the start: SLURM looks every 30 seconds
    submission = submit(tmp_path, 1, "minutes=1", 1, 45)
    slurm.wait_until(lambda: names(tmp_path, "done") == {"0"}, "the job is done", 240)
    wait_until_all(slurm, submission, "COMPLETED")
    assert_done_once(tmp_path, 1, 450)
    assert len(names(tmp_path, "starts")) >= 2
    assert "timed-out" in (tmp_path / f"slurm/{submission.job}_0_log.out").read_text()


@pytest.mark.slow
def test_a_worker_whose_node_is_lost_starts_again(slurm: Slurm, tmp_path: Path) -> None:
    submission = submit(tmp_path, 2, "hours=1", 2, 6)
    wait_until_at_work(slurm, tmp_path, 2)
    slurm.ask("scontrol", "update", f"NodeName={node_name()}", "State=DOWN", "Reason=lost")
    wait_until_all(slurm, submission, "PENDING")
    # Where the node has come back by itself meanwhile (ReturnToService), this is refused.
    resume = ["scontrol", "update", f"NodeName={node_name()}", "State=RESUME"]
    subprocess.run(resume, capture_output=True, check=False, timeout=60)
    wait_until_all(slurm, submission, "COMPLETED")
    assert_done_once(tmp_path, 2, 60)


@pytest.mark.slow
def test_workers_that_run_and_that_wait_are_cancelled(slurm: Slurm, tmp_path: Path) -> None:
    submission = submit(tmp_path, 9, "hours=1", 20, 60)  # one more than there is room for
    wait_until_at_work(slurm, tmp_path, 8)
    other = slurm.ask("sbatch", "--output=/dev/null", "--wrap=sleep 1").split()[-1]
    cancelled = cancel(tmp_path)
    assert set(cancelled.elements) == {f"{submission.job}_{element}" for element in range(9)}
    assert f"Cancelled 9 workers: {submission.job}_" in cancelled.sentence
    wait_until_all(slurm, submission, "CANCELLED")
    assert len(names(tmp_path, "states")) == 8
    assert len(names(tmp_path, "starts")) == 8
    slurm.wait_until(lambda: slurm.states(other)[other] == "COMPLETED", "another's job runs")
    assert cancel(tmp_path).elements == ()
    time.sleep(8)  # longer than a job that is queued again waits
    assert count(slurm, submission, "CANCELLED") == 9


@pytest.mark.slow
@pytest.mark.parametrize(("status", "said"), [(1, "KeyError: 'x'"), (2, "lora-jax: there is no config.")])
def test_a_worker_that_dies_at_once_is_not_queued_again(
    slurm: Slurm, tmp_path: Path, status: int, said: str
) -> None:
    program = (
        "import sys; print(sys.argv[2]); open(sys.argv[3], 'a').write('run '); sys.exit(int(sys.argv[1]))"
    )
    submission = submit_workers(
        tmp_path,
        2,
        read_slurm("hours=1"),
        [sys.executable, "-c", program, str(status), said, str(tmp_path / "runs")],
    )
    wait_until_all(slurm, submission, "FAILED")
    assert (tmp_path / "runs").read_text() == "run run "
    first, second = read_deaths(tmp_path)
    assert (first.worker, second.worker) == (f"{submission.job}_0", f"{submission.job}_1")
    assert (first.status, first.said, first.is_last) == (status, said, True)
    assert f'ended with "{said}" (status {status})' in first.sentence
    log = Path(first.log)
    assert log == tmp_path / f"slurm/{submission.job}_0_0_log.out"
    assert f"read its log, {log}" in log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            "hours=1,partition=lo",
            "invalid partition specified: lo; Batch job submission failed: Invalid partition name specified"
            " (nearest: 'low')",
        ),
        ("hours=1,gpus=1", "Invalid generic resource (gres) specification"),
        ("hours=1,constraint=a100", "Invalid feature specification"),
        ("hours=30", "Requested time limit is invalid"),
        ("hours=1,cpus=64", "More processors requested than permitted"),
        ("hours=1,sbatch.no-such-option=1", "unrecognized option '--no-such-option=1'"),
    ],
)
def test_what_slurm_refuses_is_told_in_its_words(
    slurm: Slurm, tmp_path: Path, capfd: pytest.CaptureFixture[str], asked: str, words: str
) -> None:
    with pytest.raises(LoraJaxError) as caught:
        submit(tmp_path, 2, asked, 1, 1)
    told = str(caught.value)
    assert told.startswith("SLURM refuses the job: ")
    assert words in told
    assert told.endswith("; correct --slurm, nothing was submitted.")
    assert "\n" not in told
    assert capfd.readouterr() == ("", "")
    assert read_submissions(tmp_path) == ()


@pytest.mark.slow
def test_a_controller_that_does_not_answer_is_told(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "slurm.conf"
    text = (slurm.folder / "slurm.conf").read_text()
    configuration.write_text(text.replace("SlurmctldPort=", "MessageTimeout=5\nSlurmctldPort=1\n#"))
    monkeypatch.setenv("SLURM_CONF", str(configuration))
    with pytest.raises(LoraJaxError, match=r"SLURM refuses the job: .*nable to contact slurm controller"):
        submit(tmp_path, 1, "hours=1", 1, 1)


@pytest.mark.slow
def test_workers_may_be_submitted_from_a_job(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job's environment gives srun the shape of that job."""
    for name, value in {"JOB_ID": "7", "NTASKS": "5", "NNODES": "3", "ARRAY_TASK_ID": "4"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    submission = submit(tmp_path, 1, "hours=1", 1, 0.1)
    assert os.environ["SLURM_NTASKS"] == "5"
    wait_until_all(slurm, submission, "COMPLETED")
    assert_done_once(tmp_path, 1, 1)
    assert len(names(tmp_path, "starts")) == 1


def test_without_slurm_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LoraJaxError, match=r"SLURM's sbatch is not on this machine: .* login node"):
        submit(tmp_path, 1, "hours=1", 1, 1)
    assert names(tmp_path, "*") == set()


def test_without_submitit_it_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sbatch", "srun"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        submit(tmp_path, 1, "hours=1", 1, 1)
    assert explain_missing(caught.value) == (
        "This needs the package submitit, which is not installed: pip install 'lora-jax[slurm]'."
    )


def test_a_folder_that_slurm_cannot_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoraJaxError, match="has a % in its name"):
        submit(tmp_path / "100%j", 1, "hours=1", 1, 1)


@pytest.mark.parametrize("n_workers", [0, 1001])
def test_the_number_of_workers_has_a_range(tmp_path: Path, n_workers: int) -> None:
    with pytest.raises(LoraJaxError, match="--workers"):
        submit(tmp_path, n_workers, "hours=1", 1, 1)


def test_there_is_nothing_to_cancel_where_nothing_was_submitted(tmp_path: Path) -> None:
    with pytest.raises(LoraJaxError, match="nothing to cancel"):
        cancel(tmp_path)


def test_the_room_is_cheap_to_import() -> None:
    modules: Sequence[str] = sorted(path.stem for path in (ROOT / "lora_jax/cluster").glob("[!_]*.py"))
    program = "".join(f"import lora_jax.cluster.{name}\n" for name in modules)
    check = "import sys\nassert not {'jax', 'numpy', 'submitit'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program + check], check=True, timeout=60)
