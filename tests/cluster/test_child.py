"""A child process: asked once, never stopped by SLURM's own signal, waited for from inside a handler too."""

import os
import signal
import sys
import time
from pathlib import Path

from lora_jax.cluster.child import Child

COUNTS = """
import signal, time
n = 0
def count(*_):
    global n
    n += 1
    time.sleep(0.6)
signal.signal(signal.SIGTERM, count)
print("ready", flush=True)
while not n:
    time.sleep(0.01)
raise SystemExit(10 + n)
"""


def start(folder: Path, program: str) -> Child:
    child = Child([sys.executable, "-c", program], folder / "log")
    end = time.monotonic() + 20
    while "ready" not in (folder / "log").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
    return child


def test_a_child_is_asked_once(tmp_path: Path) -> None:
    child = start(tmp_path, COUNTS)
    for _ in range(3):
        child.ask_to_stop()
        time.sleep(0.1)
    assert child.wait(20)
    assert child.take_status() == 11


def test_a_child_passes_over_the_signal_of_a_preemption(tmp_path: Path) -> None:
    child = start(tmp_path, COUNTS)
    os.kill(child.pid, signal.SIGUSR2)
    assert not child.wait(0.3)
    child.ask_to_stop()
    assert child.wait(20)
    assert child.take_status() == 11


def test_a_handler_may_wait_for_the_child_that_is_waited_for(tmp_path: Path) -> None:
    """Popen.wait in a handler would wait for the lock of the Popen.wait that it interrupts."""
    child = start(tmp_path, COUNTS)
    before = signal.signal(signal.SIGALRM, lambda *_: (child.ask_to_stop(), child.wait(20)))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        began = time.monotonic()
        assert child.wait(20)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 10
    assert child.take_status() == 11
    assert child.has_ended


def test_the_status_of_a_child_that_a_signal_ended_is_a_shells(tmp_path: Path) -> None:
    child = start(tmp_path, COUNTS)
    child.kill()
    assert child.wait(20)
    assert child.take_status() == 128 + signal.SIGKILL
