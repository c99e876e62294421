"""Tables in Parquet and Arrow. Each row is a document, and one column holds the texts."""

import contextlib
import struct
from collections.abc import Generator, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lora_jax.data.documents import READ_ROWS, Rows, or_empty
from lora_jax.errors import LoraJaxError, nearest

BUFFER = 1 << 20  # bytes; with this and one thread, pages are read one by one, and no row group as a whole
ARROW_FILE = b"ARROW1"  # first bytes of the file format, which Feather shares; the stream format has none
STREAM_END = struct.pack("<iI", -1, 0)


class ParquetTable:
    """The documents of a Parquet file, read by row group and page."""

    def __init__(self, path: Path, text_field: str) -> None:
        self._path, self._field = path, text_field

    @cached_property
    def _ends(self) -> np.ndarray:
        """Number of the row after each row group."""
        with self._open() as file:
            meta = file.metadata
            return np.cumsum([meta.row_group(i).num_rows for i in range(meta.num_row_groups)], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def read(self, rows: Rows) -> Iterator[str]:
        """Yield the texts of `rows`, which must ascend."""
        wanted = np.asarray(rows, np.int64)
        groups, counts = np.unique(np.searchsorted(self._ends, wanted, side="right"), return_counts=True)
        with self._open() as file:
            for group, chosen in zip(groups.tolist(), np.split(wanted, np.cumsum(counts))[:-1], strict=True):
                first = int(self._ends[group]) - file.metadata.row_group(group).num_rows
                batches = file.iter_batches(READ_ROWS, [group], [self._field], use_threads=False)
                yield from _take(batches, chosen, first, self._path, self._field)

    @contextlib.contextmanager
    def _open(self) -> Generator[Any]:
        import pyarrow.parquet

        with (
            _reading(self._path, "Parquet"),
            pyarrow.parquet.ParquetFile(self._path, buffer_size=BUFFER, pre_buffer=False) as file,
        ):
            _check_column(file.schema_arrow, self._field, self._path)
            yield file


class ArrowTable:
    """The documents of an Arrow file, a Feather file, or an Arrow stream as Hugging Face writes it."""

    def __init__(self, path: Path, text_field: str) -> None:
        self._path, self._field = path, text_field

    @cached_property
    def _n_rows(self) -> int:
        with self._open() as batches:
            return sum(batch.num_rows for batch in batches)

    def __len__(self) -> int:
        return self._n_rows

    def read(self, rows: Rows) -> Iterator[str]:
        """Yield the texts of `rows`, which must ascend."""
        with self._open() as batches:
            pieces = (
                batch.slice(start, READ_ROWS)
                for batch in batches
                for start in range(0, batch.num_rows, READ_ROWS)
            )
            yield from _take(pieces, np.asarray(rows, np.int64), 0, self._path, self._field)

    @contextlib.contextmanager
    def _open(self) -> Generator[Iterator[Any]]:
        import pyarrow

        with _reading(self._path, "Arrow"), pyarrow.memory_map(str(self._path)) as content:
            if content.read(len(ARROW_FILE)) == ARROW_FILE:
                file = pyarrow.ipc.open_file(content)
                _check_column(file.schema, self._field, self._path)
                yield (file.get_batch(i) for i in range(file.num_record_batches))
                return
            # A stream that is cut off between two batches looks like a shorter one.
            content.seek(max(0, content.size() - len(STREAM_END)))
            if content.read() != STREAM_END:
                raise LoraJaxError(
                    f"{self._path} is cut off, or no Arrow: fetch or write it again, or leave it out of"
                    " data.sources."
                )
            content.seek(0)
            stream = pyarrow.ipc.open_stream(content)
            _check_column(stream.schema, self._field, self._path)
            yield iter(stream)


def _take(batches: Any, wanted: np.ndarray, first: int, path: Path, field: str) -> Iterator[str]:
    """Yield the texts of the rows `wanted`, which ascend. The batches begin with row `first`."""
    done = 0
    for batch in batches:
        if done == len(wanted):
            return
        last = int(np.searchsorted(wanted, first + batch.num_rows))
        if last > done:
            column = batch.column(field)
            column.validate(full=True)  # damaged offsets would point out of the file
            texts = column.take((wanted[done:last] - first).astype(np.int64)).to_pylist()
            yield from map(or_empty, texts)
        done, first = last, first + batch.num_rows
    if done < len(wanted):
        raise LoraJaxError(f"{path} was cut short while it was read: run it again.")


def _check_column(schema: Any, field: str, path: Path) -> None:
    import pyarrow

    names = list(schema.names)
    if names.count(field) != 1:
        what = "no column" if field not in names else "two columns"
        raise LoraJaxError(
            f"{path} has {what} {field!r}, it has {', '.join(names)}{nearest(field, names)}: set text_field"
            " of the source to the column that holds the text."
        )
    kind = schema.field(field).type
    is_text = (pyarrow.types.is_string, pyarrow.types.is_large_string, pyarrow.types.is_string_view)
    if not any(check(kind) for check in is_text):
        texts = [one.name for one in schema if any(check(one.type) for check in is_text)]
        raise LoraJaxError(
            f"{path} has {kind} in the column {field!r}, but it must be a column of text"
            f" ({', '.join(texts) or 'it has none'}): set text_field of the source."
        )


@contextlib.contextmanager
def _reading(path: Path, kind: str) -> Generator[None]:
    import pyarrow

    try:
        yield
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        told = str(error).splitlines()[0].rstrip(".")
        raise LoraJaxError(
            f"{path} cannot be read as {kind} ({told}): fetch or write it again, or leave it out of"
            " data.sources."
        ) from error
