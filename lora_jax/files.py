"""Files that are whole or not there: written under a temporary name, flushed to the disk, then renamed.

And where those lie that can be made or fetched again, the cache.
"""

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


def find_cache(cache_dir: Path | None = None) -> Path:
    """Return the path of the cache: `cache_dir`, else $LORA_JAX_CACHE, else ~/.cache/lora_jax."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    return Path(os.environ.get("LORA_JAX_CACHE") or "~/.cache/lora_jax").expanduser()
