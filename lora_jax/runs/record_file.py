"""The file of a record, runs/RUN_ID.json: what is written there, and how it is checked when it is read."""

import dataclasses
from pathlib import Path

from lora_jax.config import digest
from lora_jax.digests import hash_file, to_sealed_json
from lora_jax.digests import read_result as read_json
from lora_jax.errors import Damaged, LoraJaxError
from lora_jax.runs.record import RunRecord

FIELDS = frozenset(field.name for field in dataclasses.fields(RunRecord))
# Defaults of the fields that came after the first records.
_DEFAULTS = {f.name: f.default for f in dataclasses.fields(RunRecord) if f.default is not dataclasses.MISSING}
CURVE = "curve_digest"  # the field of a record's file that holds the digest of its curve's file


def format_record(record: RunRecord, curve_digest: str) -> str:
    """Return the text of a record's file.

    Fields at their defaults are left out. So a run that does not use newer fields has the same file as
    before.

    Args:
        record: The record.
        curve_digest: Digest of the file of its curve.
    """
    fields = {name: value for name, value in vars(record).items() if _DEFAULTS.get(name, ...) != value}
    return to_sealed_json(fields | {CURVE: curve_digest})


def read_record(path: Path) -> RunRecord:
    """Read the file of a record. Compare the file of its curve with the digest in the record.

    Raises:
        LoraJaxError: It cannot be read, is not a record of this version, or belongs to another run than its
            name says.
        Damaged: The record or its curve is not what was written.
    """
    value = _DEFAULTS | read_json(path)
    _check_curve(path, value.pop(CURVE, None))
    if value.keys() != FIELDS:
        missing, extra = sorted(FIELDS - value.keys()), sorted(value.keys() - FIELDS)
        raise LoraJaxError(
            f"{path} is not a run record of this version (missing {missing}, unknown {extra}):"
            " delete it to train that run again, or move it away."
        )
    if value["run_id"] != path.stem:
        raise LoraJaxError(f"{path} holds the record of {value['run_id']!r}: rename or delete it.")
    # The id ends in the hash of the configuration. A record that disagrees was damaged or edited.
    if not path.stem.endswith(digest(value["config"])):
        raise LoraJaxError(
            f"{path} holds a config that is not the one of its run_id: restore the file, or delete it to"
            " train that run again."
        )
    return RunRecord(**value)


def _check_curve(record: Path, wanted: str | None) -> None:
    """Compare a record's curve with the digest in the record. Older records have none."""
    if wanted is None:
        return
    curve = record.parent.parent / "curves" / f"{record.stem}.csv"
    try:
        found = hash_file(curve)
    except FileNotFoundError:
        return
    if found != wanted:
        raise Damaged(
            f"{curve} is damaged or was edited, its digest is not the one that {record} has: restore it, or"
            f" delete {record.name} to train that run again."
        )
