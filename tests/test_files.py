"""A file is whole or it is the old one, whatever fails while it is written."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lora_jax.files import flush_names, to_json, write_atomically, write_together
from lora_jax.runs.store import RunStore
from lora_jax.temporaries import YOUNG, held, sweep, temporary_beside
from lora_jax.workers.crew import Joining


@pytest.mark.parametrize("content", ["words \u00e9\n", b"\x00\xff"])
def test_what_is_written_is_read_and_everybody_may_read_it(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "new" / "a"
    before = os.umask(0o022)
    try:
        write_atomically(path, content)
    finally:
        os.umask(before)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert path.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in path.parent.iterdir()] == ["a"]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_failure_in_the_middle_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "runs" / "a.json"
    write_atomically(path, "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if step == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    elif step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is the kernel's choice
            write_atomically(path, "new" * 10_000)
    finally:
        if step == "write":
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_json_has_null_for_what_is_no_number_and_every_reader_takes_it() -> None:
    document = {"a": float("inf"), "b": [float("nan"), 1.5, (2, None)], "c": {"d": "text", "e": True}}
    read = json.loads(to_json(document), parse_constant=pytest.fail)
    assert read == {"a": None, "b": [None, 1.5, [2, None]], "c": {"d": "text", "e": True}}


def old(path: Path) -> Path:
    os.utime(path, (time.time() - 2 * YOUNG, time.time() - 2 * YOUNG))
    return path


def test_what_a_killed_process_left_is_swept_when_the_folder_is_next_opened(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from lora_jax import files
os.fsync = lambda _: os.kill(os.getpid(), 9)
files.write_atomically(Path(sys.argv[1]) / "runs" / "a.json", "half")
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[1])
    assert done.returncode == -9
    [left] = (tmp_path / "runs").iterdir()
    old(left)
    with RunStore(tmp_path).joined(Joining(), print):
        assert not list((tmp_path / "runs").iterdir())


def test_what_somebody_makes_is_not_swept(tmp_path: Path) -> None:
    names = [temporary_beside(tmp_path / name) for name in ("file", "folder")]
    names[0].write_text("half")
    names[1].mkdir()
    with held(names[0]), held(names[1]):
        assert [path for path in names if old(path) and sweep(tmp_path)] == []
    others = [tmp_path / ".hidden.tmp", tmp_path / "a.tmp", tmp_path / f".x.{'g' * 32}.tmp"]
    for path in others:
        path.write_text("not ours")
        old(path)
    assert sorted(sweep(tmp_path)) == sorted(names)
    assert sorted(tmp_path.iterdir()) == sorted(others)
    assert sweep(tmp_path, "other") == []


def test_what_is_a_moment_old_is_waited_for(tmp_path: Path) -> None:
    """Its maker may be about to lock it, or was killed just now, and the same command runs again at once."""
    dead, living = (temporary_beside(tmp_path / name) for name in ("dead", "living"))
    for path in (dead, living):
        path.write_text("half")
    begun = time.monotonic()
    with held(living):
        assert sweep(tmp_path) == [dead]
        assert time.monotonic() - begun >= YOUNG - 0.1
        begun = time.monotonic()
        assert sweep(tmp_path) == []  # nobody waits for the living
        assert time.monotonic() - begun < YOUNG / 2


def test_files_that_belong_together_are_flushed_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush, both = os.fsync, threading.Barrier(2, timeout=30)
    monkeypatch.setattr(os, "fsync", lambda handle: (both.wait(), flush(handle)))
    write_together({tmp_path / "a": "1", tmp_path / "b": "2"})
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["1", "2"]
    flush_names([tmp_path, tmp_path.parent])
    with pytest.raises(OSError, match="none"):
        flush_names([tmp_path / "none"])


def test_a_file_that_cannot_be_flushed_is_named_and_none_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(handle: int) -> None:
        if os.fstat(handle).st_size == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write_together({tmp_path / "a": "1", tmp_path / "b": "22", tmp_path / "c": "3"})
    assert caught.value.filename == str(tmp_path / "b")
    assert list(tmp_path.iterdir()) == []
