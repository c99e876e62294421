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
        pid: Its number there.
        machine: The boot of the machine and the namespace of the process numbers. Two processes that agree in
            it see each other's numbers. Empty where the system does not tell, as outside Linux.
        started: When it began, in clock ticks since the boot. A number that is used again has another one.
    """

    host: str
    pid: int
    machine: str
    started: int


@cache
def this_machine() -> str:
    """Return the boot and the process namespace of this machine; empty where the system does not tell."""
    try:
        return f"{BOOT.read_text().strip()} {os.readlink(NAMESPACE)}"
    except OSError:
        return ""


def this_process() -> ProcessId:
    """Return what others know this process by."""
    pid = os.getpid()
    return ProcessId(socket.gethostname(), pid, this_machine(), _started(pid) or 0)


def is_neighbour(process: ProcessId) -> bool:
    """Is it on this machine, so that its number says whether it runs?"""
    return process.machine != "" and process.machine == this_machine()


def is_running(process: ProcessId) -> bool:
    """Does a process of this machine (`is_neighbour`) still run?"""
    return _started(process.pid) == process.started


def _started(pid: int) -> int | None:
    """Return when a process began, in ticks since the boot; None of one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])  # a zombie has ended, and waits to be asked


def awake() -> float:
    """Return seconds since the boot, those in which the machine slept included: others count them too."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
