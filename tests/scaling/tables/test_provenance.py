"""What is said of a column is what is known of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lora_jax.scaling.tables.provenance import (
    convention_of,
    describe_columns,
    loss_name,
    noun_of_units,
    units_in_words,
)
from lora_jax.scaling.tables.table import RunTable, make_table, read_table


def read(path: Path, text: str, mapping: dict[str, str] | None = None, **keywords: str) -> RunTable:
    path.write_text(text)
    return read_table(path, mapping, **keywords)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("params", None),
        ("Model Size", None),
        ("n_params", None),
        ("N", None),
        ("params_non_embedding", "without embeddings"),
        ("N_no_embed", "without embeddings"),
        ("nonembedding params", "without embeddings"),
        ("n_params_total", "every weight"),
    ],
)
def test_a_mapped_n_is_its_column_and_a_convention_only_where_the_name_says_so(
    tmp_path: Path, name: str, said: str | None
) -> None:
    table = read(
        tmp_path / "a.csv",
        f"{name},D_,L_\n1e8,1e9,3\n2e8,1e9,2.9\n",
        {"n_params": name, "n_tokens": "D_", "loss": "L_"},
    )
    assert convention_of(table, "n_params") == said
    words = describe_columns(table)["N"]
    assert name in words
    assert (said or "") in words


def test_our_own_counts_say_theirs(tmp_path: Path) -> None:
    header = "n_params,n_params_with_head,n_params_total,n_tokens,heldout_loss"
    ours = read(tmp_path / "runs.csv", f"{header}\n1e8,1.1e8,1.2e8,1e9,3\n")
    assert describe_columns(ours)["N"] == "n_params (without embeddings and output head)"
    assert loss_name(ours) == "held-out loss"
    assert ours.unit_told
    shaped = make_table("shapes", d_model=[64, 128], n_layers=[2, 4], n_tokens=[1e6, 1e7], loss=[4, 3])
    assert describe_columns(shaped)["N"] == "counted from the shapes (without embeddings and output head)"


def test_c_is_said_as_it_came(tmp_path: Path) -> None:
    derived = read(tmp_path / "a.csv", "n_params,n_tokens,loss\n1e8,1e9,3\n2e8,1e9,2.9\n")
    assert describe_columns(derived)["C"] == "6 N D"
    given = read(tmp_path / "b.csv", "n_params,n_tokens,cost,loss\n1e8,1e9,6.1e18,3\n", {"flops": "cost"})
    assert describe_columns(given)["C"] == "column 'cost'"
    same = read(tmp_path / "c.csv", "n_params,n_tokens,cost,loss\n1e8,1e9,6e17,3\n", {"flops": "cost"})
    assert describe_columns(same)["C"] == "column 'cost' (that is 6 N D)"
    other = read(tmp_path / "d.csv", "n_params,flops,loss\n1e8,6e17,3\n")
    assert describe_columns(other)["D"] == "flops / (6 n_params)"


def test_a_unit_that_nobody_said_is_taken_for_granted_and_said_so(tmp_path: Path) -> None:
    text = "n_params,n_tokens,loss\n1e8,1e9,3\n"
    assert not read(tmp_path / "a.csv", text).unit_told
    assert read(tmp_path / "a.csv", text, loss_unit="nats").unit_told
    assert read(tmp_path / "b.csv", "n_params,n_tokens,loss,unit\n1e8,1e9,3,nats\n").unit_told
    assert loss_name(read(tmp_path / "a.csv", text)) == "loss"


def test_what_belongs_together_is_called_what_it_is(tmp_path: Path) -> None:
    rows = "".join(f"{n},1e9,{i},{i % 3},3\n" for i, n in enumerate([1e7, 1e7, 2e7, 2e7, 4e7, 4e7]))
    text = f"n_params,n_tokens,model,run,loss\n{rows}"
    table = read(tmp_path / "a.csv", text, cluster="model")
    assert noun_of_units(table) == "values of model"
    assert units_in_words(read(tmp_path / "a.csv", text), tuple("ND")) == "training runs by run"
    assert units_in_words(replace(table, clusters=None), tuple("NDC")) == "cells of equal N, D"
    assert noun_of_units(replace(table, cluster_column="")) == "training runs"
    assert np.all(table["model"] == np.arange(6))
