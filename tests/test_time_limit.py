"""A test that hangs fails by its name, what it started is ended, and the tests after it run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = """
import os, subprocess, sys, threading
import pytest

CHILD = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"

@pytest.fixture
def stuck():
    threading.Event().wait()

def test_a_wait(): threading.Event().wait()
def test_a_child(): subprocess.run([sys.executable, "-S", "-c", CHILD])
def test_a_fixture(stuck): pass
def test_who_catches_errors():
    try:
        threading.Event().wait()
    except Exception:
        pass
def test_after():
    with pytest.raises(ProcessLookupError):
        os.kill(int(open("pid").read()), 0)
"""


@pytest.mark.slow  # waits for the limit
def test_what_hangs_fails_and_the_rest_go_on(tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.time_limit", "-n", "2", "--dist", "loadfile", tmp_path],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "LORA_JAX_TEST_SECONDS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    for name, words in (
        ("a_wait", "test_a_wait took more than 1 s"),
        ("a_child", "test_a_child took more than 1 s"),
        ("a_fixture", "preparing test_a_fixture took more"),
        ("who_catches_errors", "test_who_catches_errors took more"),
    ):
        assert f"test_hanging.py::test_{name} - Failed: {words}" in done.stdout, done.stdout
    assert "3 failed, 1 passed, 1 error" in done.stdout
