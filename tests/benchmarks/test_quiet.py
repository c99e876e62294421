"""What other processes do is told from what this one and its children do."""

import os
import subprocess
import sys

import pytest

from benchmarks.quiet import STAT, Watch, read_own_seconds

WORK = "import time\nend = time.process_time() + 1.0\nwhile time.process_time() < end: pass"


@pytest.mark.skipif(not STAT.exists(), reason="no /proc/stat")
def test_own_work_is_not_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    before, watch = read_own_seconds(), Watch()
    subprocess.run([sys.executable, "-c", WORK], check=True)
    assert read_own_seconds() - before > 0.9
    mine = watch.others()
    monkeypatch.setattr("benchmarks.quiet.read_own_seconds", lambda: before)
    everything = watch.others()
    assert mine is not None
    assert everything is not None
    assert 0 <= mine < everything <= (os.cpu_count() or 1) + 0.1


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.quiet.read_busy_seconds", lambda: None)
    assert Watch().others() is None
