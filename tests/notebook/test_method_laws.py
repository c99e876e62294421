"""`lora_jax.finetuning_laws` reads columns as it reads their file."""

import pytest

import lora_jax as lj
from tests.scaling.finetuning.simulated import make_runs


def test_columns_are_read_as_a_file() -> None:
    table = make_runs(0, ("full", "lora"), 1e-4, 1)
    frame = {
        "method": table.labels["method"],
        "n_params": table["n_params"],
        "finetune_tokens": table["finetune_tokens"],
        "loss": table["loss"],
    }
    found = lj.finetuning_laws(frame, n_bootstrap=100)
    same = lj.finetuning_laws(table, n_bootstrap=100)
    assert found["lora"].law is not None
    assert same["lora"].law is not None
    assert found["lora"].law.params["beta"].value == pytest.approx(same["lora"].law.params["beta"].value)
    assert "full, lora" in found._repr_html_()
    assert "cross at F" in repr(found)
    assert found.plot() is not None
    assert found.plot_crossovers() is not None
    with pytest.raises(lj.LoraJaxError, match="nearest: 'lora'"):
        found["lorra"]
