"""SLURM's own programs, and what they say when they refuse."""

import re
import shutil
import subprocess

from lora_jax.errors import LoraJaxError, nearest

SECONDS = (
    120.0  # after which a program of SLURM is given up: a controller that does not answer takes 30 to 60
)
_NO_JOB = "Invalid job id specified"


def require_slurm(*programs: str) -> None:
    """Raise LoraJaxError where one of SLURM's programs is not on this machine."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        raise LoraJaxError(
            f"SLURM's {missing[0]} is not on this machine: run this on a login node of the cluster."
        )


def ask_slurm(program: str, *arguments: str) -> str:
    """Run one of SLURM's programs and return what it prints.

    Raises:
        LoraJaxError: It refuses, in its own words, or does not answer.
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
    """Return what a program of SLURM printed about a mistake as one line, without its name before each."""
    lines = (re.sub(r"^\w+: (error: )?", "", line).strip(" .") for line in words.splitlines())
    return "; ".join(dict.fromkeys(filter(None, lines))) or "it does not say why"


def known_partitions() -> list[str]:
    """Return the names of the cluster's partitions."""
    return sorted(set(ask_slurm("sinfo", "--noheader", "--format=%R").split()))


def explain_refusal(words: str, partition: str | None) -> LoraJaxError:
    """Return the mistake that sbatch's words are about. partition: the one that was asked for."""
    said = in_a_line(words)
    hint = nearest(partition, known_partitions()) if partition and "partition name" in said else ""
    return LoraJaxError(f"SLURM refuses the job: {said}{hint}; correct --slurm, nothing was submitted.")


def live_elements(job: str, name: str) -> list[str]:
    """Return the elements of a job that wait or run, as ["1234_0", "1234_1"]; of an array each one.

    name: the job's. A job of another name has only got the same number, long after.
    """
    try:
        text = ask_slurm("squeue", "--noheader", "--array", f"--jobs={job}", "--format=%i|%j")
    except LoraJaxError as problem:
        if _NO_JOB in str(problem):  # SLURM forgets a job some minutes after its end
            return []
        raise
    rows = (line.partition("|") for line in text.splitlines())
    return [element for element, _, its_name in rows if its_name.strip() == name]


def state_of(job: str) -> str:
    """Return the state of a job in capitals, as RUNNING or COMPLETING."""
    return ask_slurm("squeue", "--noheader", f"--jobs={job}", "--format=%T")


def requeue(job: str) -> None:
    """Have SLURM stop a job and queue it again."""
    ask_slurm("scontrol", "requeue", job)
