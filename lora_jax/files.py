"""Files that are whole or not there: written under a temporary name, flushed to the disk, then renamed."""

import os
import uuid
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) to `path` and make its folder: a reader sees the old file or the new.

    Raises:
        OSError: a full or forbidden disk, with `filename` set to `path`; an older file stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode("utf-8") if isinstance(content, str) else content
    # A name of its own for each writer: two threads or processes may write the same file at once.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # a full disk is told at the write, which knows no name
        raise
    finally:
        temporary.unlink(missing_ok=True)
