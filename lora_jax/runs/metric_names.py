"""The names by which trackers log what is known of a run, for the panels of a dashboard too."""

from dataclasses import fields

from lora_jax.runs.record import RunRecord
from lora_jax.training.rows import Row

HELDOUT_LOSS = "heldout_loss"  # of a row; HELDOUT_LOSS/SOURCE is that of one source of a mixture
HELDOUT_LOSS_SE = "heldout_loss_se"
DEV = "dev/"  # before the name of a score of the dev split
FITS = "fits/"  # before the name of a table of fits
METHODS = "methods"  # the table of a comparison
FIGURES = "figures/"  # before the name of a picture
_OF_ROW, _OF_RECORD = ({field.name for field in fields(kind)} for kind in (Row, RunRecord))


def of_row(field: str) -> str:
    """Return the name of a field of `Row`, which is logged by its own name; ValueError for any other."""
    if field not in _OF_ROW:
        raise ValueError(f"a row has no field {field!r}")
    return field


def of_record(field: str) -> str:
    """Return the name of a field of `RunRecord`, which summaries hold; ValueError for any other."""
    if field not in _OF_RECORD:
        raise ValueError(f"a record has no field {field!r}")
    return field


N_TOKENS, FLOPS, LOSS = of_row("n_tokens"), of_row("flops"), of_row("loss")
