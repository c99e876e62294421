"""Ctrl-C and SIGTERM: the first asks, the second ends."""

import signal
import subprocess
import sys

import pytest

from lora_jax.runs.signals import stop_requests


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_becomes_a_request(
    signum: signal.Signals, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with stop_requests() as stop:
        assert not stop()
        signal.raise_signal(signum)
        assert stop()
        assert stop.exit_status == status
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == ["", f"{signum.name}: saving, then stopping (once more: stop at once)"]


def test_the_handlers_before_come_back_whatever_happens() -> None:
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]

    def fail_inside() -> None:
        with stop_requests():
            assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] != before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize(
    ("first", "second", "echo"),
    [
        (signal.SIGINT, signal.SIGINT, 10.0),
        (signal.SIGINT, signal.SIGTERM, 10.0),
        (signal.SIGTERM, signal.SIGINT, 10.0),
        (signal.SIGTERM, signal.SIGTERM, 0.0),
    ],
)
def test_the_second_ends_the_program_at_once(
    first: signal.Signals, second: signal.Signals, echo: float
) -> None:
    code = f"""
import signal
from lora_jax.runs import signals
from lora_jax.runs.signals import stop_requests
signals.ECHO = {echo}
with stop_requests() as stop:
    signal.raise_signal({int(first)})
    print('asked', flush=True)
    signal.raise_signal({int(second)})
    print('still here')
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -second
    assert done.stdout == "asked\n"
    assert "Traceback" not in done.stderr


def test_a_sigterm_that_comes_twice_is_one_request(capfd: pytest.CaptureFixture[str]) -> None:
    """A scheduler signals a job and each of its processes, and the job passes it on."""
    with stop_requests() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.exit_status == 143
    assert capfd.readouterr().err.count("SIGTERM") == 1


def test_a_signal_in_the_middle_of_a_print_is_taken() -> None:
    """A print from a handler into the stream that is being printed to would raise."""
    code = """
import signal, sys
from lora_jax.runs.signals import stop_requests
with stop_requests() as stop:
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGTERM))
    while not stop():
        print('x' * 50_000, file=sys.stderr, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
    assert "SIGTERM: saving" in done.stderr
