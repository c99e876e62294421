"""Names of what is not whole yet, held while it is made; what killed processes left is swept.

A temporary file or folder lies beside its place and is locked by its maker. The lock ends with the process,
however that ends, so that a name of which nobody holds the lock is rubbish.
"""

import contextlib
import fcntl
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

PATTERN = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{32}\.(?P<kind>tmp|old)", re.DOTALL)
YOUNG = 2.0  # seconds in which a maker may not have its lock yet


def temporary_beside(path: Path, kind: str = "tmp") -> Path:
    """Return a new name beside `path`, which another process would not choose."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.{kind}")


@contextlib.contextmanager
def held(temporary: Path) -> Iterator[None]:
    """Hold a temporary file or folder that exists, so that nobody sweeps it during the block."""
    handle = os.open(temporary, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a disk without locks: young names are left alone all the same
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def sweep(folder: Path, name: str | None = None) -> list[Path]:
    """Remove what killed processes left in a folder and those inside it; return what was removed.

    name: only what was to become this one, and only in the folder itself.
    """
    if name is None:
        found = [Path(base, one) for base, folders, files in os.walk(folder) for one in (*folders, *files)]
    else:
        found = [path for path in folder.glob(".*") if path.name.startswith(f".{name}.")]
    rubbish = [path for path in found if _is_rubbish(path) and _is_abandoned(path)]
    # its maker may only just have been killed, or be about to take the lock
    time.sleep(max((_youth(path) for path in rubbish), default=0.0))
    return [path for path in rubbish if _remove(path)]


def _is_rubbish(path: Path) -> bool:
    """Is this a temporary name? What was moved aside is kept until its successor is in its place."""
    match = PATTERN.fullmatch(path.name)
    return match is not None and (match["kind"] == "tmp" or path.with_name(match["name"]).exists())


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Say whether the lock of a file or folder was free; it is held during the block where it was.

    What may not be opened is nobody's to remove: its lock is not free. Nor is that of what its last owner has
    just removed, because somebody may lock another one of its name.
    """
    handle = None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_free = os.path.samestat(os.fstat(handle), os.lstat(path))
    except OSError:
        is_free = False
    try:
        yield is_free
    finally:
        if handle is not None:
            os.close(handle)


def _is_abandoned(path: Path) -> bool:
    with locked(path) as is_free:
        return is_free


def _youth(path: Path) -> float:
    """Return the seconds until a name is not young any more; at most YOUNG, whatever the clocks say."""
    try:
        return min(YOUNG, max(0.0, YOUNG - (time.time() - path.lstat().st_mtime)))
    except OSError:
        return 0.0


def _remove(path: Path) -> bool:
    """Remove a temporary that nobody holds; False where somebody does, or where it may not be removed."""
    with locked(path) as is_free:
        if not is_free:
            return False
        try:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        except OSError:
            return False
    return True
