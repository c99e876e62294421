"""What becomes of mistakes, bugs and signals: one line and a status, whenever a signal comes."""

import gc
import importlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from lora_jax.cli import guard
from lora_jax.errors import LoraJaxError
from lora_jax.runs import signals
from lora_jax.runs.signals import Terminated, say_stopped, stop_requests

ROOT = Path(__file__).parents[1]
BOTH = pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)


def raises(error: BaseException) -> Callable[[], int]:
    def action() -> int:
        raise error

    return action


def wait_in_vain() -> int:
    """Return 0 after ten seconds: nothing has ended the wait."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        time.sleep(0.01)
    return 0


def check_stopped(status: int, signum: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert status == 128 + signum
    assert capsys.readouterr() == ("", f"{say_stopped(signum)}\n")


# ---- mistakes and bugs


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (LoraJaxError("one\nmistake"), 2, "lora-jax: one mistake"),
        (OSError(28, "", "x.json"), 2, "No space left on device at x.json: every finished run is kept"),
        (PermissionError(13, "", "x.json"), 2, "Permission denied at x.json"),
        (OSError(27, ""), 2, "File too large: every finished run"),
        (FileNotFoundError(2, "", "x.json"), 2, "x.json is gone while it is needed: every finished run"),
        (MemoryError("Unable to allocate 7.28 TiB"), 2, "not enough memory (Unable to allocate 7.28"),
        (KeyboardInterrupt(), 130, "stopped by SIGINT; every finished run is kept"),
        (Terminated(), 143, "stopped by SIGTERM; every finished run is kept"),
    ],
)
def test_a_mistake_becomes_a_line_and_a_status(
    error: BaseException, status: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = [os.dup(number) for number in (1, 2)]  # a full disk closes them
    try:
        assert guard(raises(error)) == status
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert words in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("ending", ["return 0", "raise OSError(28, 'No space left on device', 'x.json')"])
def test_what_is_printed_may_meet_a_full_disk_as_well(ending: str) -> None:
    """It is written before the end, where Python would say so in its own words with status 120."""
    program = f"""
import sys
from lora_jax.cli import guard
def action():
    print("a line that waits in its buffer")
    {ending}
sys.exit(guard(action))
"""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            cwd=ROOT,
            env=buffered,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("lora-jax: No space left on device")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(9, "Bad file descriptor"), AssertionError()])
def test_a_bug_keeps_its_stack_trace(error: Exception) -> None:
    with pytest.raises(type(error)):
        guard(raises(error))


# ---- a signal, wherever it finds the program


@BOTH
def test_a_signal_ends_what_runs_and_the_handlers_come_back(
    signum: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    def settings() -> list[object]:
        handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
        return [*handlers, sys.unraisablehook, signal.getitimer(signal.ITIMER_REAL)]

    def action() -> int:
        try:
            signal.raise_signal(signum)
        except Exception:
            pytest.fail("a handler of errors swallowed it")
        return 0

    before = settings()
    check_stopped(guard(action), signum, capsys)
    assert settings() == before


@BOTH
def test_a_signal_is_not_lost_where_python_ignores_exceptions(
    signum: signal.Signals, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Patience outlasts the wait in vain: what ends that was raised because it was lost.
    monkeypatch.setattr(signals, "AGAIN", 60.0)

    class Dying:
        def __del__(self) -> None:
            signal.raise_signal(signum)

    def collecting(phase: str, info: dict[str, int]) -> None:
        gc.callbacks.remove(collecting)
        signal.raise_signal(signum)

    def die() -> int:
        Dying()
        return wait_in_vain()

    def collect() -> int:
        gc.callbacks.append(collecting)
        gc.collect()
        return wait_in_vain()

    for action in (die, collect):
        check_stopped(guard(action), signum, capsys)


@BOTH
def test_a_signal_is_not_lost_to_who_catches_everything(
    signum: signal.Signals, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "AGAIN", 0.2)
    times: list[float] = []

    def action() -> int:
        for _ in range(3):
            try:
                if not times:
                    signal.raise_signal(signum)
                wait_in_vain()
            except BaseException:
                times.append(time.monotonic())
        return wait_in_vain()

    check_stopped(guard(action), signum, capsys)
    assert len(times) == 3
    assert all(b - a > 0.19 for a, b in pairwise(times)), "no time to clean up"


@BOTH
@pytest.mark.parametrize("end", [lambda: 0, raises(ValueError("made of it")), raises(SystemExit(3))])
def test_whatever_a_signal_becomes_is_its_end(
    signum: signal.Signals, end: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    def action() -> int:
        try:
            signal.raise_signal(signum)
        except BaseException:
            return end()
        return 0

    check_stopped(guard(action), signum, capsys)


@BOTH
def test_an_import_is_finished_first(
    signum: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What an exception becomes in an import is the library's choice: a warning, another error."""
    (tmp_path / "slowly_imported.py").write_text(
        f"import signal, time\nsignal.raise_signal({int(signum)})\ntime.sleep(0.3)\nWHOLE = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "slowly_imported", raising=False)

    def action() -> int:
        importlib.import_module("slowly_imported")
        return wait_in_vain()

    check_stopped(guard(action), signum, capsys)
    assert sys.modules["slowly_imported"].WHOLE


@BOTH
def test_a_signal_before_training_is_answered_by_training(
    signum: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "imported_before.py").write_text(f"import signal\nsignal.raise_signal({int(signum)})\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "imported_before", raising=False)

    def action() -> int:
        monkeypatch.setattr(signals, "TICK", 0.3)  # training begins before the first
        importlib.import_module("imported_before")
        with stop_requests() as stop:
            end = time.monotonic() + 3
            while not stop() and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(1)  # saving takes its time, and is left in peace
            return stop.exit_status

    monkeypatch.setattr(signals, "TICK", 0.3)
    assert guard(action) == 128 + signum
    assert capfd.readouterr().err.split("\n", 1)[1] == (
        f"{signum.name}: saving, then stopping (once more: stop at once)\n"
    )


@BOTH
@pytest.mark.parametrize("again", [True, False])
def test_patience_ends(signum: signal.Signals, again: bool) -> None:
    """Against who catches everything for ever: a second signal, or a deadline."""
    code = f"""
import signal, sys, time
from lora_jax.cli import guard
from lora_jax.runs import signals
signals.PATIENCE = {60 if again else 0.5}
def action():
    signal.raise_signal({int(signum)})
def for_ever():
    while True:
        try:
            action() if {again} or not done else time.sleep(0.01)
        except BaseException:
            done.append(1)
done = []
sys.exit(guard(for_ever))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (128 + signum, f"{say_stopped(signum)}\n")


# ---- a signal at any moment of a whole program


def is_caught(pid: int, signum: int) -> bool:
    """Has the process a handler of its own for this signal?"""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (signum - 1) & 1)


def shoot(command: list[str], signum: int, delay: float) -> None:
    """Send the signal `delay` seconds after the program has begun to listen, and see it end well."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        # What is shot while it writes a program would leave half of it to the other tests.
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_ENABLE_COMPILATION_CACHE": "false"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not is_caught(process.pid, signal.SIGTERM):
        assert process.poll() is None
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(signum)
    out, err = process.communicate(timeout=30)
    if "Estimates:" in out and process.returncode in (0, -signum):  # it came after the work was done
        assert err == ""
        return
    assert (process.returncode, err) == (128 + signum, f"{say_stopped(signum)}\n"), f"after {delay:.3f} s"


CONFIG = str(Path("configs") / "quickstart.py")
PROGRAMS = pytest.mark.parametrize(
    "command",
    [
        ["-m", "lora_jax.cli", "plan", CONFIG],
        ["experiments/scaling.py", CONFIG, "--dry-run"],
        ["experiments/quickstart.py", "--dry-run"],
    ],
    ids=["plan", "scaling", "quickstart"],
)


@BOTH
@PROGRAMS
def test_a_signal_at_any_moment_is_one_line(command: list[str], signum: signal.Signals) -> None:
    shoot(command, signum, 0.0)
    shoot(command, signum, random.Random(f"{command} {signum}").uniform(0.1, 1.0))


@BOTH
@PROGRAMS
@pytest.mark.slow
def test_a_signal_at_many_moments_is_one_line(command: list[str], signum: signal.Signals) -> None:
    for _ in range(4):
        shoot(command, signum, random.uniform(0.0, 2.5))
