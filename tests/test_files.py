"""A file is whole or it is the old one, whatever fails while it is written."""

import os
import resource
import signal
from pathlib import Path

import pytest

from lora_jax.files import write_atomically


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
