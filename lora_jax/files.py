"""Files that are whole or not there. We write them under a temporary name, flush them and rename them.

This file also finds the cache, which holds what can be made or downloaded again, and reads JSON for
everybody.
"""

import contextlib
import json
import math
import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from lora_jax.errors import LoraJaxError
from lora_jax.temporaries import held, temporary_beside

FLUSHES = 8  # files that are flushed at the same time


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) to `path`, and make its folder.

    A reader sees the old file or the new one.

    Raises:
        OSError: The disk is full or forbidden. `filename` is `path`. An older file stays as it was.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, str | bytes]) -> None:
    """Write files that belong together, each atomically, and rename them in order.

    So a reader who finds the last one finds all. They go to the disk together, which takes less time.

    Args:
        contents: The content of each file, by path.

    Raises:
        OSError: The disk is full or forbidden. The older files stay as they were, except those that were
            renamed before.
    """
    path = None  # the file at hand, for the error
    try:
        with contextlib.ExitStack() as stack:
            files: list[tuple[Path, Path, IO[bytes]]] = []
            for path, content in contents.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                # JSON and a command line can hold half a character (a surrogate), which has no UTF-8
                data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
                # Each writer has a name of its own: two threads or processes may write the same file at once.
                temporary = temporary_beside(path)
                stack.callback(temporary.unlink, missing_ok=True)
                file = stack.enter_context(temporary.open("xb"))
                stack.enter_context(held(temporary))
                file.write(data)
                file.flush()
                files.append((path, temporary, file))
            flushed = _flush([file.fileno() for _, _, file in files])
            for path, _, _ in files:  # noqa: B007 (the error names it)
                next(flushed)
            for path, temporary, _ in files:
                temporary.replace(path)
    except OSError as error:  # closing a file can raise it too, if the rest does not fit
        error.filename = str(path)  # a write to a full disk raises an error without a name
        raise


def flush_names(folders: Iterable[Path]) -> None:
    """Wait until the disk has the names of the files in these folders. Names reach it after the bytes.

    Raises:
        OSError: A folder cannot be read.
    """
    with contextlib.ExitStack() as stack:
        handles: list[int] = []
        for folder in folders:
            handles.append(os.open(folder, os.O_RDONLY))
            stack.callback(os.close, handles[-1])
        list(_flush(handles))


def _flush(handles: Sequence[int]) -> Iterator[None]:
    """Flush files at the same time, which takes as long as one flush.

    Yield, in order, when each is flushed.
    """
    if len(handles) == 1:
        os.fsync(handles[0])
        yield
        return
    with ThreadPoolExecutor(FLUSHES) as pool:
        yield from pool.map(os.fsync, handles)


def require_disk(folder: Path) -> None:
    """Refuse a folder of object storage. `Path` would take it for a folder of this disk, called `gs:`.

    Raises:
        LoraJaxError: Its name begins with a scheme, such as gs:// or s3://.
    """
    scheme = re.match(r"([a-z][a-z0-9+]+):/", str(folder))
    if scheme is not None:
        raise LoraJaxError(
            f"{folder} is on object storage ({scheme[1]}), but it must be a folder of a disk, because workers"
            " need files that only one of them can create: name a folder on NFS, Filestore, EFS or this"
            " machine."
        )


def try_folder(folder: Path) -> None:
    """Make a folder and a file in it. Then remove everything that was not there before.

    Raises:
        OSError: The folder cannot be made or written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # it was never made, or another process uses it
                path.rmdir()


def is_tracked(path: Path) -> bool:
    """Return whether git tracks this file. False if there is no git, or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(path.resolve().parent), "ls-files", "--error-unmatch", path.name],
            capture_output=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def find_cache(cache_dir: Path | None = None) -> Path:
    """Return the path of the cache: `cache_dir`, otherwise $LORA_JAX_CACHE, otherwise ~/.cache/lora_jax."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    return Path(os.environ.get("LORA_JAX_CACHE") or "~/.cache/lora_jax").expanduser()


def parse_json(text: str, **options: Any) -> Any:
    """Return what JSON holds.

    Raises:
        ValueError: The text is no JSON, is nested too deep, or has a number with too many digits.
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read_regular(path: Path) -> str:
    """Return the text of a file, as UTF-8.

    Raises:
        OSError: It cannot be read, or it is a folder, a pipe or a device. Reading a pipe might never end.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise OSError(f"it is {'a folder' if stat.S_ISDIR(mode) else 'a pipe or a device'}, no file")
    return path.read_text(encoding="utf-8")


def load_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds no JSON.
    """
    return parse_json(read_regular(path))


def to_json(document: Any) -> str:
    """Return a document as indented JSON. A number that is not finite becomes null, because JSON has none."""
    return json.dumps(to_finite(document), indent=1, allow_nan=False)


def to_finite(value: Any) -> Any:
    """Return a document as dictionaries and lists. Each number that is not finite becomes None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: to_finite(part) for name, part in value.items()}
    return [to_finite(part) for part in value] if isinstance(value, list | tuple) else value
