"""Run a command and say what it cost: seconds, peak memory, exit status.

This file is also the program that starts the command. Linux counts into a process's peak the memory of the
process that started it, so what starts the command has to be small, and a process that has loaded JAX is not.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: By the clock.
        cpu_seconds: Of all cores, by the command and the processes that it waited for.
        peak_bytes: Resident memory of the largest of its processes, at its largest.
        exit_status: What it ended with.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    exit_status: int


def run_child(
    command: Sequence[str], env: Mapping[str, str] | None = None, output: Path | None = None
) -> Cost:
    """Run a command to its end and return its cost. output: a file for what it prints, else it is dropped."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "cost.json"
        with open(output or os.devnull, "wb") as file:
            subprocess.run(
                [sys.executable, "-S", __file__, str(report), *command], env=env, stdout=file, check=True
            )
        return Cost(**json.loads(report.read_text()))


def _start(report: str, command: list[str]) -> None:
    started = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)  # its usage holds the peak of the processes that it waited for, too
    seconds = time.perf_counter() - started
    cost = {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * MAXRSS_BYTES,
        "exit_status": os.waitstatus_to_exitcode(status),
    }
    Path(report).write_text(json.dumps(cost))


if __name__ == "__main__":
    _start(sys.argv[1], sys.argv[2:])
