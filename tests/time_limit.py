"""A test that hangs fails, by its name, and the rest go on.

A thread sends a signal to the test's thread, where a handler raises: a wait of Python's ends, and what the
test started is ended by its own cleaning up. What hangs inside a library is not reached so. There pytest's
faulthandler_timeout (pyproject.toml) prints where it is, and the limit of the step in .ci/run ends it.
"""

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import pytest

SECONDS = float(os.environ.get("LORA_JAX_TEST_SECONDS", "420"))  # of a test, and of preparing one
SIGNAL = signal.SIGUSR1  # the programs under test handle SIGALRM, SIGINT, SIGTERM and SIGUSR2 themselves


@contextmanager
def limit(what: str) -> Generator[None]:
    """Fail the test where the body takes longer than `SECONDS`."""

    def stop(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"{what} took more than {SECONDS:g} s")

    before = signal.signal(SIGNAL, stop)
    timer = threading.Timer(SECONDS, signal.pthread_kill, (threading.get_ident(), SIGNAL))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(SIGNAL, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    with limit(f"preparing {item.name}"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with limit(item.name):
        return (yield)
