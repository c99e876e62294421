"""What the rates of somebody's table are called."""

from pathlib import Path

import pytest

from lora_jax.scaling.rates.tables import rate_runs
from lora_jax.scaling.tables.table import read_table


@pytest.mark.parametrize(
    ("header", "mapping", "name"),
    [
        ("learning_rate,other", {}, "column 'learning_rate'"),
        ("lr,other", {"learning_rate": "lr"}, "column 'lr'"),
        ("lr,other", {"base_learning_rate": "lr"}, "column 'lr'"),
        ("base_learning_rate,learning_rate", {}, "column 'base_learning_rate', beside learning_rate"),
    ],
)
def test_rates_have_the_name_of_the_file(
    header: str, mapping: dict[str, str], name: str, tmp_path: Path
) -> None:
    """A rate that was derived from a column is not told as another one."""
    rows = [f"{n},{10 * n},{rate},{rate * n},{3 + rate}" for n in (1e6, 2e6) for rate in (0.1, 0.2, 0.4)]
    path = tmp_path / "theirs.csv"
    path.write_text("\n".join([f"n_params,n_tokens,{header},loss", *rows]))
    assert rate_runs(read_table(path, mapping)).rate_name == name
