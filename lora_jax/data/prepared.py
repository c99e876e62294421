"""Read the files of a prepared set: compare them with their digests, and report what libraries raise."""

import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from lora_jax.digests import find_damage
from lora_jax.errors import Damaged, LoraJaxError

# What tensorflow-datasets, protobuf and array_record raise over damaged files, beside protobuf's own error.
RAISED = (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, OSError)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without its final sign."""
    return (str(error).strip().splitlines() or [""])[0].rstrip(".:")


@contextlib.contextmanager
def reading_set(prepared: Path) -> Generator[None]:
    """Turn what the libraries raise over a damaged set into a LoraJaxError that names the set."""
    from google.protobuf.json_format import Error

    try:
        yield
    except (Error, *RAISED) as error:
        raise LoraJaxError(
            f"The prepared dataset in {prepared} cannot be read ({first_line(error)}): delete that folder and"
            " start again, or prepare it with file_format='array_record'."
        ) from error


def open_builder(prepared: Path) -> Any:
    """Return the builder of a prepared set.

    Raises:
        LoraJaxError: Its description is damaged.
    """
    import tensorflow_datasets

    with reading_set(prepared):
        return tensorflow_datasets.builder_from_directory(prepared)


def check_shards(shards: Sequence[Any], prepared: Path) -> None:
    """Compare the files that will be read with their digests, and their rows with the number promised.

    Sets that were prepared elsewhere or by older versions have no digests. array_record's own checks still
    hold.

    Raises:
        Damaged: A file is not what was written.
        LoraJaxError: A file cannot be read or has another number of rows.
    """
    from array_record.python.array_record_module import ArrayRecordReader

    damaged = find_damage(prepared, only=[Path(shard.filename).name for shard in shards])
    if damaged is not None:
        raise Damaged(f"{damaged} is damaged: delete {prepared} and start again.")
    for shard in shards:
        with reading_set(prepared):
            reader = ArrayRecordReader(str(shard.filename))
            there = reader.num_records()
            reader.close()
        if there != shard.examples_in_shard:
            raise LoraJaxError(
                f"The file {shard.filename} holds {there} rows and dataset_info.json beside it says"
                f" {shard.examples_in_shard}: delete {prepared} and start again."
            )
