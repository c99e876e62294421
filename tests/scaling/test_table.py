"""Tables: what is read, what is derived, what is left out, and one sentence for every bad one."""

from pathlib import Path

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.table import make_table, read_table

HEADER = "run_id,status,n_params,n_tokens,flops,flops_exact,heldout_loss,cooled\n"
ROWS = "a,done,100,2000,1200000,1300000,3.5,True\nb,done,200,2000,2400000,2500000,3.2,True\n"


def _write(folder: Path, text: str) -> Path:
    (folder / "runs.csv").write_text(text)
    return folder


def test_a_results_folder_and_its_csv_are_the_same(tmp_path: Path) -> None:
    _write(tmp_path, HEADER + ROWS)
    for path in (tmp_path, tmp_path / "runs.csv"):
        table = read_table(path)
        assert table.run_ids == ("a", "b")
        np.testing.assert_array_equal(table["loss"], [3.5, 3.2])
        np.testing.assert_array_equal(table["flops_exact"], [1.3e6, 2.5e6])
        assert not table.left_out


def test_tokens_and_flops_are_derived_from_each_other(tmp_path: Path) -> None:
    file = tmp_path / "theirs.csv"
    file.write_text("Model Size,Training FLOP,loss\n100,1.2e6,3.5\n")
    table = read_table(file, {"n_params": "Model Size", "flops": "Training FLOP"})
    np.testing.assert_allclose(table["n_tokens"], [2000])
    assert "derived" in table.notes[0]
    np.testing.assert_allclose(make_table("x", n_params=[100], n_tokens=[2000], loss=[3.5])["flops"], [1.2e6])


def test_json_lines_are_a_table(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text('{"n_params": 100, "n_tokens": 2000, "loss": 3.5}\n')
    np.testing.assert_allclose(read_table(file)["flops"], [1.2e6])


def test_diverged_and_uncooled_runs_are_left_out_with_a_reason(tmp_path: Path) -> None:
    bad = "c,diverged,300,2000,3600000,3700000,,True\nd,done,400,2000,4800000,4900000,3.1,False\n"
    _write(tmp_path, HEADER + ROWS + bad)
    table = read_table(tmp_path)
    assert table.run_ids == ("a", "b")
    assert {gone.run_id: gone.reason.split(",")[0] for gone in table.left_out} == {
        "c": "diverged",
        "d": "not cooled down",
    }
    assert read_table(tmp_path, keep_uncooled=True).run_ids == ("a", "b", "d")


def test_runs_that_are_all_uncooled_stay(tmp_path: Path) -> None:
    assert len(read_table(_write(tmp_path, HEADER + ROWS.replace("True", "False")))) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no runs"),
        (HEADER, "no runs"),
        (HEADER + "a,diverged,1,1,1,1,,True\n", "none of 1 runs is done"),
        (HEADER.replace("heldout_loss", "los") + ROWS, "no column 'loss'.*nearest: 'los'"),
        (HEADER + ROWS.replace("3.2", "lots"), "line 3, column 'heldout_loss': 'lots' is not a number"),
        (HEADER + ROWS.replace("3.2", ""), "line 3, column 'heldout_loss': '' is not a number"),
        (HEADER + ROWS.replace("3.2", "nan"), "line 3, column 'heldout_loss': 'nan' is not a number"),
        (
            HEADER + ROWS.replace("b,done,200", "b,done,0"),
            "line 3, column 'n_params': '0' is not a number above 0",
        ),
        (HEADER + "a,done,100\n", "another number of cells"),
    ],
)
def test_a_bad_table_gets_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LoraJaxError, match=message):
        read_table(_write(tmp_path, text))


def test_missing_files_columns_and_mappings(tmp_path: Path) -> None:
    with pytest.raises(LoraJaxError, match="does not exist"):
        read_table(tmp_path)
    _write(tmp_path, HEADER + ROWS)
    with pytest.raises(LoraJaxError, match="nearest: 'n_params'"):
        read_table(tmp_path, {"n_param": "n_params"})
    with pytest.raises(LoraJaxError, match=r"no column 'tokens'.*nearest: 'n_tokens'"):
        read_table(tmp_path, {"n_tokens": "tokens"})
    with pytest.raises(LoraJaxError, match="nearest: 'flops_exact'"):
        read_table(tmp_path)["flops_exac"]
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(LoraJaxError, match="cannot be read"):
        read_table(tmp_path / "binary.csv")
    (tmp_path / "broken.jsonl").write_text('{"loss": 1}\n{"loss"\n')
    with pytest.raises(LoraJaxError, match="line 2, is not JSON"):
        read_table(tmp_path / "broken.jsonl")
