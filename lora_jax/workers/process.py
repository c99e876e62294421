"""A process as other processes know it: where it runs, and whether it still does."""

import os
import socket
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class ProcessId:
    """What tells one process from all others.

    Attributes:
        host: Name of its machine, for people.
        pid: Its process id there.
        machine: The boot of the machine and the namespace of the process ids. Two processes with the same
            value see each other's ids. It is empty if the system does not tell, as outside Linux.
        started: When it began, in clock ticks since the boot. If a process id is used again, this differs.
    """

    host: str
    pid: int
    machine: str
    started: int


@cache
def this_machine() -> str:
    """Return the boot and the process namespace of this machine. It is empty if the system does not tell."""
    try:
        return f"{BOOT.read_text().strip()} {os.readlink(NAMESPACE)}"
    except OSError:
        return ""


def this_process() -> ProcessId:
    """Return the identity of this process."""
    pid = os.getpid()
    return ProcessId(socket.gethostname(), pid, this_machine(), _started(pid) or 0)


def is_neighbour(process: ProcessId) -> bool:
    """Return whether it is on this machine, so that its process id tells whether it runs."""
    return process.machine != "" and process.machine == this_machine()


def is_running(process: ProcessId) -> bool:
    """Return whether a process of this machine (`is_neighbour`) still runs."""
    return _started(process.pid) == process.started


def _started(pid: int) -> int | None:
    """Return when a process began, in ticks since the boot. None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    # a zombie has ended, and waits for its parent to take its status
    return None if fields[0] in "ZX" else int(fields[19])


def awake() -> float:
    """Return seconds since the boot, including those in which the machine slept.

    Other machines count them too.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
