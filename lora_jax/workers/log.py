"""The log of a worker: a file in the results folder with everything that it prints."""

import contextlib
import os
import re
import socket
import sys
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

from lora_jax.workers.worker import FOLDER

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # codes for a terminal: colours, and redrawing the bar


class _Both:
    """A stream whose text also goes into a log. Everything else is the stream's own."""

    def __init__(self, stream: IO[str], log: IO[str]) -> None:
        self._stream, self._log = stream, log

    def write(self, text: str) -> int:
        self._log.write(_ESCAPE.sub("", text))
        return self._stream.write(text)

    def flush(self) -> None:
        self._log.flush()
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def logging(folder: Path) -> Generator[Path]:
    """Also write what is printed during the block to workers/HOST-PID.log of a results folder.

    Raises:
        OSError: The file cannot be written.
    """
    path = folder / FOLDER / f"{socket.gethostname()}-{os.getpid()}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as log:
        before = sys.stdout, sys.stderr
        streams: list[Any] = [_Both(stream, log) for stream in before]
        sys.stdout, sys.stderr = streams
        try:
            yield path
        except Exception as error:  # the caller prints it, outside this block
            log.write(f"{type(error).__name__}: {error}\n")
            raise
        finally:
            sys.stdout, sys.stderr = before
