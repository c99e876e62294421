"""Wide tables: a column per size becomes a row per size."""

from pathlib import Path

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.table import Reshaping, read_table
from lora_jax.scaling.tables.wide import Wide, parse_wide, read_size


def read(path: Path, text: str, *option: str, **keywords: object):
    path.write_text(text)
    return read_table(path, reshaping=Reshaping(wide=parse_wide(option)), **keywords)  # type: ignore[arg-type]


def test_columns_named_by_numbers(tmp_path: Path) -> None:
    table = read(
        tmp_path / "a.csv",
        "config name,0,200,400,1600,n_params\nsmall,4.9,4.2,4.1,3.9,1e8\nlarge,4.2,3.5,,3.2,7e8\n",
        "F=loss",
    )
    assert table.run_ids == ("small @ 200", "small @ 400", "small @ 1600", "large @ 200", "large @ 1600")
    assert table.variable("F").tolist() == [200, 400, 1600, 200, 1600]
    assert table["loss"].tolist() == [4.2, 4.1, 3.9, 3.5, 3.2]
    assert table["n_params"].tolist() == [1e8] * 3 + [7e8] * 2
    assert table.clusters == ("small",) * 3 + ("large",) * 2
    zero = "not fine-tuned: the set's size is 0"
    assert [(gone.run_id, gone.reason) for gone in table.left_out] == [
        ("small @ 0", zero),
        ("large @ 0", zero),
        ("large @ 400", "no loss at 400"),
    ]


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (("loss@1B", "loss@2.5B", "loss@10B"), "loss@*"),
        (("loss_1e9", "loss_2.5e9", "loss_1e10"), "loss_*"),
        (("val 1000M tokens", "val 2500M tokens", "val 10000M tokens"), "val * tokens"),
        (("l1000000000x", "l2_500_000_000x", "l10000000000x"), r"^l([0-9_]+)x$"),
    ],
)
def test_patterns_of_names(tmp_path: Path, names: tuple[str, ...], pattern: str) -> None:
    header = ",".join(["n_params", *names, "loss_final_rank"])
    table = read(tmp_path / "a.csv", f"{header}\n1e8,4,3.5,3,1\n2e8,3.9,3.4,2.9,2\n", "D=loss", pattern)
    assert table["n_tokens"].tolist() == [1e9, 2.5e9, 1e10] * 2
    np.testing.assert_allclose(table["flops"], 6 * table["n_params"] * table["n_tokens"])
    assert "loss_final_rank" in table.columns
    assert len(set(table.clusters or ())) == 2  # without a name, by the row of the file


def test_another_response_is_mapped(tmp_path: Path) -> None:
    table = read(
        tmp_path / "a.csv",
        "model,loss,10,20,40\na,9,3,2.5,2\nb,9,2.9,2.4,1.9\n",
        "n_tokens=curve",
        mapping={"loss": "curve"},
    )
    assert table["loss"].tolist() == [3, 2.5, 2, 2.9, 2.4, 1.9]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("loss@*",), "it wants VARIABLE=RESPONSE"),
        (("F=loss", "a*", "b*"), "it wants VARIABLE=RESPONSE"),
        (("F=loss", "eval@*"), "named as 'eval@\\*'"),
        (("F=loss", "loss@"), "write a \\* there"),
        (("F=loss", "loss@("), "no regular expression"),
        (("n_params=loss", "loss@*"), "has a column 'n_params' beside"),
        (("F=loss",), "no column named by a number"),
    ],
)
def test_what_is_meant_by_no_option_is_refused(tmp_path: Path, option: tuple[str, ...], words: str) -> None:
    with pytest.raises(LoraJaxError, match=words):
        read(tmp_path / "a.csv", "n_params,loss@1,loss@2\n1e6,3,2\n", *option)


def test_names_of_sizes() -> None:
    sizes = {"200": 200, "1e9": 1e9, "1.3B": 1.3e9, "20k": 2e4, "1_000": 1e3, "1,000": 1e3, "2 T": 2e12}
    assert {text: read_size(text) for text in sizes} == sizes
    assert [read_size(text) for text in ("final", "B", "", "1x", "-3", "openlm_seq95lo")] == [None] * 6


def test_the_published_wide_table_is_read_by_the_same_function(published: Path) -> None:
    path = published / "rectified_finetuning" / "flan.csv"
    theirs = read_table("published:flan")
    ours = read_table(path, {"n_params": "size"}, reshaping=Reshaping(wide=Wide("finetune_tokens")))
    assert ours.run_ids == theirs.run_ids
    for name in ("n_params", "finetune_tokens", "loss"):
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert ours.clusters == theirs.clusters
