"""D of a table of fine-tuning runs is what the base was pretrained on."""

import numpy as np

from lora_jax.scaling.tables.cells import cell_of, settle_learning_rates
from lora_jax.scaling.tables.run_table import RunTable
from lora_jax.scaling.tables.table import make_table

SETS, RATES = np.repeat([1e4, 1e5], 3), np.tile([1e-4, 1e-3, 1e-2], 2)


def tuned() -> RunTable:
    """Return the runs of one base: two sets, three rates each."""
    loss = np.array([2.2, 2.0, 2.1, 1.9, 1.7, 1.8])
    return make_table(
        "t",
        n_params=np.full(6, 1e7),
        n_tokens=3 * SETS,
        pretraining_tokens=np.full(6, 2e8),
        finetune_tokens=SETS,
        loss=loss,
        learning_rate=RATES,
    )


def test_d_is_the_tokens_of_the_base() -> None:
    np.testing.assert_array_equal(tuned().variable("D"), np.full(6, 2e8))
    assert tuned().column_of("D") == "pretraining_tokens"


def test_each_set_is_a_cell_with_a_best_rate() -> None:
    table = tuned()
    np.testing.assert_array_equal(cell_of(table), [0, 0, 0, 1, 1, 1])
    settled, rates = settle_learning_rates(table)
    np.testing.assert_array_equal(settled["loss"], [2.0, 1.7])
    assert len(rates.grids) == 2
