"""The bytes of a file. If its name ends in .gz or .zst, they are unpacked. Errors are one sentence."""

import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from lora_jax.errors import LoraJaxError

PACKINGS = (".gz", ".zst")
BUFFER = 1 << 20


def kind_of(path: Path) -> str:
    """Return the suffix that says what a file holds, in small letters: ".jsonl" for a.JSONL.gz."""
    name = path.with_suffix("") if path.suffix.lower() in PACKINGS else path
    return name.suffix.lower()


@contextlib.contextmanager
def open_bytes(path: Path) -> Generator[BinaryIO]:
    """Open a file for reading.

    Raises:
        LoraJaxError: It cannot be read, is cut off, or is not packed as its name says.
    """
    try:
        if path.suffix.lower() in PACKINGS and not path.stat().st_size:
            raise EOFError("it has no bytes")
        with _open(path) as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _broken(path, error) from error
    except OSError as error:
        if error.errno is None:  # pyarrow raises this if the content is wrong
            raise _broken(path, error) from error
        raise LoraJaxError(
            f"The text file {path} cannot be read ({os.strerror(error.errno)}): mend it or leave it"
            " out of data.sources."
        ) from error


def _open(path: Path) -> BinaryIO:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return io.BufferedReader(gzip.open(path), BUFFER)  # pyright: ignore[reportArgumentType]
    if suffix == ".zst":
        import pyarrow

        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"), BUFFER)  # pyright: ignore
    return path.open("rb", BUFFER)


def _broken(path: Path, error: Exception) -> LoraJaxError:
    told = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    return LoraJaxError(
        f"The packed file {path} is cut off or damaged ({told}): fetch or pack it again, or leave it out of"
        " data.sources."
    )
