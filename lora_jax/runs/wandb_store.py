"""Read wandb's files (.wandb): which runs there are, and which rows of a run are already on the disk."""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_jax.errors import LoraJaxError

_HEADER, _BLOCK, _CHUNK = 7, 32_768, 7  # bytes of the file's header, of a block, and of a chunk's header
_LAST_KINDS = (1, 4)  # kinds of chunks that end a record


def read_store(path: Path) -> Iterator[Any]:
    """Yield the records of a .wandb file, which are wandb's own protocol buffers, as far as they are whole.

    The file is a LevelDB log behind a header of 7 bytes. It has blocks of 32 KiB. A block has chunks of crc
    (4 bytes), length (2), kind (1) and data. What a kill has torn at the end is left out.
    """
    from wandb.proto import wandb_internal_pb2

    messages: Any = wandb_internal_pb2  # its classes are made at import, so pyright does not see them
    data, at, pending = path.read_bytes(), _HEADER, b""
    while at < len(data):
        if _BLOCK - at % _BLOCK < _CHUNK:
            at += _BLOCK - at % _BLOCK
            continue
        if at + _CHUNK > len(data):
            return
        length, kind = struct.unpack("<HB", data[at + 4 : at + _CHUNK])
        at += _CHUNK
        if at + length > len(data):
            return
        pending += data[at : at + length]
        at += length
        if kind in _LAST_KINDS:
            record = messages.Record()
            record.ParseFromString(pending)
            pending = b""
            yield record


def find_last_step(folder: Path, wandb_id: str) -> int:
    """Return the last step that an offline run in folder/wandb has a row of. 0 if there is none."""
    paths = (folder / "wandb").glob(f"offline-run-*-{wandb_id}/*.wandb")
    return max((_last_step(path) for path in paths), default=0)


def _last_step(path: Path) -> int:
    rows = (record.history for record in read_store(path) if record.WhichOneof("record_type") == "history")
    return max((row.step.num for row in rows), default=0)


@dataclass(frozen=True)
class StoredRun:
    """What a .wandb file says about its run.

    Attributes:
        wandb_id: wandb's id of the run.
        entity: Whose run it is. "" lets wandb take the default of the account.
        project: Its project.
        group: Its group, the name of the sweep.
        job: Its kind, such as "train".
        config: Its config.
    """

    wandb_id: str
    entity: str
    project: str
    group: str
    job: str
    config: Mapping[str, Any]


def read_runs(folder: Path) -> list[StoredRun]:
    """Return the runs that have files in folder/wandb, those that began last at the end.

    Raises:
        LoraJaxError: A file is damaged.
    """
    from google.protobuf.message import DecodeError

    found: dict[str, StoredRun] = {}
    for path in sorted((folder / "wandb").glob("*run-*/*.wandb"), key=_began):
        try:
            for record in read_store(path):
                if record.WhichOneof("record_type") == "run":
                    run = _stored_run(record.run)
                    found.pop(run.wandb_id, None)
                    found[run.wandb_id] = run
                    break
        except (DecodeError, ValueError, OSError) as error:
            raise LoraJaxError(f"{path} cannot be read ({error}): move its folder away.") from error
    return list(found.values())


def _stored_run(run: Any) -> StoredRun:
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    return StoredRun(run.run_id, run.entity, run.project, run.run_group, run.job_type, config)


def _began(path: Path) -> str:
    """Return when the run of a file began. Its folder's name says so: [offline-]run-DATE_TIME-ID."""
    return path.parent.name.partition("run-")[2]
