"""Submit workers to SLURM as one array of jobs, by submitit."""

import contextlib
import io
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.cluster.deaths import now
from lora_jax.cluster.slurm_options import SlurmOptions
from lora_jax.cluster.slurm_programs import ask_slurm, explain_refusal, live_elements, require_slurm
from lora_jax.cluster.slurm_worker import SlurmWorker
from lora_jax.digests import read_object, to_sealed_json
from lora_jax.documents import from_document, reading, to_document
from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.ranges import whole

if TYPE_CHECKING:
    from submitit import SlurmExecutor

FOLDER = "slurm"  # in a results folder: submitit's files, and the logs
JOBS = f"{FOLDER}/jobs"
WORKERS = whole(1, 1000)  # the largest array that SLURM accepts, unless its administrator changed it
NOTICE = 120  # seconds before the end of an allocation at which its worker gets a signal
NO_LIMIT = 1_000_000  # how often a worker may reach the end of its time and be queued again
OF_A_JOB = ("SLURM_", "SRUN_", "SUBMITIT_")
OF_THE_CLUSTER = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT")


@dataclass(frozen=True)
class Submission:
    """Workers that were submitted.

    Attributes:
        job: SLURM's number of the array.
        job_name: Its name there.
        n_workers: Elements of the array.
        at: When it was submitted, as ISO 8601.
        command: What each worker runs.
        logs: The folder of the workers' logs.
    """

    job: str
    job_name: str
    n_workers: int
    at: str
    command: tuple[str, ...]
    logs: str

    @property
    def sentence(self) -> str:
        """What was submitted, in a sentence."""
        workers = "1 worker" if self.n_workers == 1 else f"{self.n_workers} workers"
        return (
            f"Submitted {workers} to SLURM as job {self.job}; their logs are {self.logs}/{self.job}*_log.out."
        )


def submit_workers(folder: Path, n_workers: int, options: SlurmOptions, command: Sequence[str]) -> Submission:
    """Submit workers of a results folder to SLURM, as one array of jobs, and note it in the folder.

    Each runs `command` until it ends with status 0. It is stopped and queued again before its time is up, and
    when another job preempts it.

    Args:
        folder: The results folder.
        n_workers: Number of workers.
        options: What SLURM should give to each.
        command: What each runs.

    Raises:
        LoraJaxError: SLURM is not here or refuses, or the folder's name has a % in it.
        ModuleNotFoundError: submitit is not installed.
    """
    WORKERS.check("--workers", n_workers)
    folder = folder.absolute()
    if "%" in str(folder):
        raise LoraJaxError(f"{folder} has a % in its name, which SLURM reads as a code: rename the folder.")
    require_slurm("sbatch", "srun")
    executor = make_executor(folder, options)
    notice = float(executor.parameters["signal_delay_s"])
    workers = [SlurmWorker(folder, tuple(command), notice) for _ in range(n_workers)]
    submission = Submission(
        job=_submit(executor, workers, options.partition).partition("_")[0],
        job_name=executor.parameters["job_name"],
        n_workers=n_workers,
        at=now(),
        command=tuple(command),
        logs=str(folder / FOLDER),
    )
    try:
        write_atomically(folder / JOBS / f"{submission.job}.json", to_sealed_json(to_document(submission)))
    except OSError:
        ask_slurm("scancel", submission.job)  # without the note nobody could find the job again
        raise
    return submission


def make_executor(folder: Path, options: SlurmOptions) -> "SlurmExecutor":
    """Return submitit's executor, set to what the options ask for."""
    import submitit

    executor = submitit.SlurmExecutor(folder / FOLDER, max_num_timeout=NO_LIMIT)
    executor.update_parameters(**to_parameters(folder, options))
    return executor


def to_parameters(folder: Path, options: SlurmOptions) -> dict[str, Any]:
    """Return the options under submitit's names."""
    # SLURM 22.05 does not pass cpus-per-task on to srun
    of_step = [] if options.cpus is None else [f"--cpus-per-task={options.cpus}"]
    if options.nodes > 1:  # a task that ends well leaves the others their time, whatever the default
        of_step += ["--kill-on-bad-exit=1", "--wait=0"]
    return {
        "job_name": f"lora-jax {folder.name}",
        "time": options.minutes,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "constraint": options.constraint,
        "gpus_per_node": options.gpus,
        "cpus_per_task": options.cpus,
        "mem": options.memory,
        "nodes": options.nodes,
        "ntasks_per_node": 1,
        "signal_delay_s": min(NOTICE, 60 * options.minutes // 3),
        "array_parallelism": WORKERS.high,
        "wckey": None,  # a cluster that keeps a list of them refuses submitit's own
        "stderr_to_stdout": True,
        # requeue after the loss of a node too, whatever the cluster's default
        "additional_parameters": {
            "requeue": True,
            **{name: True if value is None else value for name, value in options.further},
        },
        "srun_args": ["--open-mode=append", *of_step],
        # A shell that SIGTERM ends would take the worker with it while the worker saves its state.
        "setup": ["trap : TERM"],
    }


def _submit(executor: "SlurmExecutor", workers: Sequence[SlurmWorker], partition: str | None) -> str:
    """Submit the workers and return the number of the first job."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    said = io.StringIO()  # submitit prints sbatch's words before it raises them
    try:
        with _outside_jobs(), contextlib.redirect_stderr(said):
            return executor.submit_array(workers)[0].job_id
    except (FailedJobError, FailedSubmissionError) as error:
        raise explain_refusal(str(error), partition) from None


@contextlib.contextmanager
def _outside_jobs() -> Generator[None]:
    """Hide what SLURM tells a job about itself.

    Otherwise a submission from inside a job would get its shape.
    """
    hidden = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(OF_A_JOB) and name not in OF_THE_CLUSTER
    }
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def read_submissions(folder: Path) -> tuple[Submission, ...]:
    """Return what was submitted for a results folder, from the notes in it, the earliest first."""
    found: list[Submission] = []
    for path in (folder / JOBS).glob("*.json"):
        remedy = "delete it"
        with reading(path, remedy):
            found.append(from_document(Submission, read_object(path, remedy)))
    return tuple(sorted(found, key=lambda submission: submission.at))


@dataclass(frozen=True)
class Cancelled:
    """What was cancelled.

    Attributes:
        elements: SLURM's numbers of the workers that waited or ran, such as "1234_0".
    """

    elements: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What was cancelled, in a sentence."""
        if not self.elements:
            return "All workers that were submitted have ended; there is nothing to cancel."
        workers = "1 worker" if len(self.elements) == 1 else f"{len(self.elements)} workers"
        return f"Cancelled {workers}: {', '.join(self.elements)}. Those that ran save their state."


def cancel(folder: Path) -> Cancelled:
    """Cancel the workers that were submitted for a results folder and have not ended.

    Raises:
        LoraJaxError: None was ever submitted, or SLURM is not here or refuses.
    """
    submissions = read_submissions(folder)
    if not submissions:
        raise LoraJaxError(
            f"{folder} has no workers that were submitted to SLURM: there is nothing to cancel."
        )
    elements: list[str] = []
    for submission in submissions:
        alive = live_elements(submission.job, submission.job_name)
        if alive:
            ask_slurm("scancel", submission.job)
            elements += alive
    return Cancelled(tuple(elements))
