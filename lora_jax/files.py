"""Files that are whole or not there: written under a temporary name, flushed to the disk, then renamed.

And where those lie that can be made or fetched again, the cache; and JSON that every reader takes.
"""

import contextlib
import json
import math
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_jax.temporaries import held, temporary_beside


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) to `path` and make its folder: a reader sees the old file or the new.

    Raises:
        OSError: a full or forbidden disk, with `filename` set to `path`; an older file stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # half a character, which JSON and a command line can hold, has no UTF-8
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    # A name of its own for each writer: two threads or processes may write the same file at once.
    temporary = temporary_beside(path)
    try:
        with temporary.open("xb") as file, held(temporary):
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # a full disk is told at the write, which knows no name
        raise
    finally:
        temporary.unlink(missing_ok=True)


def try_folder(folder: Path) -> None:
    """Make a folder and a file in it, then take away again whatever was not there before.

    Raises:
        OSError: the folder cannot be made or written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # never made, or another process has put something into it
                path.rmdir()


def is_tracked(path: Path) -> bool:
    """Does git keep this file? False where there is no git, or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(path.resolve().parent), "ls-files", "--error-unmatch", path.name],
            capture_output=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def find_cache(cache_dir: Path | None = None) -> Path:
    """Return the path of the cache: `cache_dir`, else $LORA_JAX_CACHE, else ~/.cache/lora_jax."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    return Path(os.environ.get("LORA_JAX_CACHE") or "~/.cache/lora_jax").expanduser()


def parse_json(text: str, **options: Any) -> Any:
    """Return what JSON says; ValueError alone for what is none, however deep it is or long its numbers."""
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read_regular(path: Path) -> str:
    """Return the text of a file, as UTF-8; OSError also for what is no file and may never end, as a pipe."""
    if path.exists() and not path.is_file():
        raise OSError(f"it is {'a folder' if path.is_dir() else 'a pipe or a device'}, no file")
    return path.read_text(encoding="utf-8")


def load_json(path: Path) -> Any:
    """Return what a JSON file says; raises what `read_regular` and `parse_json` do."""
    return parse_json(read_regular(path))


def to_json(document: Any) -> str:
    """Return a document as indented JSON; a number that is not finite, which JSON has not, is null."""
    return json.dumps(_finite(document), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value
