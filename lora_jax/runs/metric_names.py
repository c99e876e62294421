"""The names under which trackers log what is known of a run. Panels of a dashboard use them too."""

from dataclasses import fields

from lora_jax.runs.record import RunRecord
from lora_jax.training.rows import Row

HELDOUT_LOSS = "heldout_loss"  # a row's held-out loss; HELDOUT_LOSS/SOURCE is for one source of a mixture
HELDOUT_LOSS_SE = "heldout_loss_se"
DEV = "dev/"  # stands before the name of a score of the dev split
FITS = "fits/"  # stands before the name of a table of fits
METHODS = "methods"  # the table of a comparison
FIGURES = "figures/"  # stands before the name of a picture
_OF_ROW, _OF_RECORD = ({field.name for field in fields(kind)} for kind in (Row, RunRecord))


def of_row(field: str) -> str:
    """Return the name under which a field of `Row` is logged, which is its own.

    Raises:
        ValueError: A row has no such field.
    """
    if field not in _OF_ROW:
        raise ValueError(f"a row has no field {field!r}")
    return field


def of_record(field: str) -> str:
    """Return the name under which a summary holds a field of `RunRecord`, which is its own.

    Raises:
        ValueError: A record has no such field.
    """
    if field not in _OF_RECORD:
        raise ValueError(f"a record has no field {field!r}")
    return field


N_TOKENS, FLOPS, LOSS = of_row("n_tokens"), of_row("flops"), of_row("loss")
