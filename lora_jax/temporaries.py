"""Names of files that are not finished yet, and removal of those that killed processes left.

A temporary file or folder lies beside its final place, and its maker locks it. The lock ends with the
process, however that ends. So a temporary name without a lock can be removed.
"""

import contextlib
import fcntl
import os
import re
import shutil
import time
import uuid
from collections.abc import Generator
from pathlib import Path

PATTERN = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{32}\.(?P<kind>tmp|old)", re.DOTALL)
YOUNG = 2.0  # seconds that a maker may need to take its lock


def temporary_beside(path: Path, kind: str = "tmp") -> Path:
    """Return a new name beside `path` that no other process chooses."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.{kind}")


@contextlib.contextmanager
def held(temporary: Path) -> Generator[None]:
    """Hold a temporary file or folder that exists, so that nobody removes it during the block."""
    handle = os.open(temporary, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a disk without locks: `sweep` still leaves young names alone
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def sweep(folder: Path, name: str | None = None) -> list[Path]:
    """Remove what killed processes left in a folder and the folders inside it, and return what was removed.

    Args:
        folder: The folder.
        name: If given, remove only what was to become this name, and only in the folder itself.
    """
    if name is None:
        found = [Path(base, one) for base, folders, files in os.walk(folder) for one in (*folders, *files)]
    else:
        found = [path for path in folder.glob(".*") if path.name.startswith(f".{name}.")]
    rubbish = [path for path in found if _is_rubbish(path) and _is_abandoned(path)]
    # the maker may have been killed just now, or be about to take the lock
    time.sleep(max((_youth(path) for path in rubbish), default=0.0))
    return [path for path in rubbish if _remove(path)]


def _is_rubbish(path: Path) -> bool:
    """Return whether this is a temporary name that may go.

    What was moved aside stays until its successor is in its place.
    """
    match = PATTERN.fullmatch(path.name)
    return match is not None and (match["kind"] == "tmp" or path.with_name(match["name"]).exists())


@contextlib.contextmanager
def locked(path: Path) -> Generator[bool]:
    """Yield whether the lock of a file or folder was free. If so, we hold it during the block.

    If we may not open the path, its lock counts as not free, because it is not ours to remove. The same holds
    if its last owner has just removed it, because another one of its name may be locked now.
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
    """Return the seconds until a name is no longer young. It is at most YOUNG, whatever the clocks say."""
    try:
        return min(YOUNG, max(0.0, YOUNG - (time.time() - path.lstat().st_mtime)))
    except OSError:
        return 0.0


def _remove(path: Path) -> bool:
    """Remove a temporary that nobody holds. False if somebody holds it, or if we may not remove it."""
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
