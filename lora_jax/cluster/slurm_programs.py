"""SLURM's own programs, and what they print when they refuse."""

import re
import shutil
import subprocess

from lora_jax.errors import LoraJaxError, nearest

SECONDS = (
    120.0  # how long we wait for a program of SLURM: with a controller that does not answer it takes 30 to 60
)
_NO_JOB = "Invalid job id specified"


def require_slurm(*programs: str) -> None:
    """Check that SLURM's programs are on this machine.

    Raises:
        LoraJaxError: One is missing.
    """
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        raise LoraJaxError(
            f"SLURM's {missing[0]} is not on this machine: run this on a login node of the cluster."
        )


def ask_slurm(program: str, *arguments: str) -> str:
    """Run one of SLURM's programs and return what it prints.

    Raises:
        LoraJaxError: It refuses (the message repeats its words), or does not answer.
    """
    require_slurm(program)
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise LoraJaxError(
            f"SLURM's {program} has not answered within {SECONDS:.0f} s: see whether `sinfo` does, and try"
            " again."
        ) from None
    if done.returncode:
        raise LoraJaxError(f"SLURM's {program} refuses: {in_a_line(done.stderr)}.")
    return done.stdout.strip()


def in_a_line(words: str) -> str:
    """Return what a program of SLURM printed about a mistake in one line, without the program's name."""
    lines = (re.sub(r"^\w+: (error: )?", "", line).strip(" .") for line in words.splitlines())
    return "; ".join(dict.fromkeys(filter(None, lines))) or "it does not say why"


def known_partitions() -> list[str]:
    """Return the names of the cluster's partitions."""
    return sorted(set(ask_slurm("sinfo", "--noheader", "--format=%R").split()))


def explain_refusal(words: str, partition: str | None) -> LoraJaxError:
    """Return the error that sbatch's words are about.

    Args:
        words: What sbatch printed.
        partition: The partition that was asked for.
    """
    said = in_a_line(words)
    hint = nearest(partition, known_partitions()) if partition and "partition name" in said else ""
    return LoraJaxError(f"SLURM refuses the job: {said}{hint}; correct --slurm, nothing was submitted.")


def live_elements(job: str, name: str) -> list[str]:
    """Return the elements of a job that wait or run, such as ["1234_0", "1234_1"] of an array.

    Args:
        job: The job.
        name: Its name. A job of another name only has the same number, long after.
    """
    try:
        text = ask_slurm("squeue", "--noheader", "--array", f"--jobs={job}", "--format=%i|%j")
    except LoraJaxError as problem:
        if _NO_JOB in str(problem):  # SLURM forgets a job a few minutes after its end
            return []
        raise
    rows = (line.partition("|") for line in text.splitlines())
    return [element for element, _, its_name in rows if its_name.strip() == name]


def state_of(job: str) -> str:
    """Return the state of a job in capitals, such as RUNNING or COMPLETING."""
    return ask_slurm("squeue", "--noheader", f"--jobs={job}", "--format=%T")


def requeue(job: str) -> None:
    """Let SLURM stop a job and queue it again."""
    ask_slurm("scontrol", "requeue", job)
