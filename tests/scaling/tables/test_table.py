"""Tables: what is read, what is derived, what is left out, and one sentence for every bad one."""

from pathlib import Path

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.counting import Shape, count_parameters, flops_per_token
from lora_jax.scaling.tables.table import VARIABLES, RunTable, make_table, read_table

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


# ---- letters, columns and what is derived


def _csv(folder: Path, header: str, *lines: str) -> Path:
    (folder / "t.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder / "t.csv"


def test_every_letter_has_its_column(tmp_path: Path) -> None:
    columns = {name: [float(i + 1), 1.0] for i, name in enumerate(VARIABLES.values())}
    table = make_table("x", None, **columns)
    for letter, name in VARIABLES.items():
        assert table.has(letter)
        np.testing.assert_array_equal(table.variable(letter), columns[name])
    assert not make_table("x", n_params=[1], loss=[1]).has("F")
    with pytest.raises(LoraJaxError, match="'Z' means nothing"):
        table.variable("Z")
    other = make_table("x", n_params=[1], n_params_total=[2], flops=[3], flops_exact=[4], loss=[5])
    other = other.using(n_column="n_params_total", flops_column="flops_exact")
    assert (other.variable("N")[0], other.variable("C")[0]) == (2, 4)


def test_any_two_of_n_d_c_give_the_third(tmp_path: Path) -> None:
    n, d = np.geomspace(1e5, 1e7, 5), np.geomspace(1e8, 1e6, 5)
    whole = {"n_params": n, "n_tokens": d, "flops": 6 * n * d}
    for missing in whole:
        table = make_table("x", None, **{k: v for k, v in whole.items() if k != missing}, loss=np.ones(5))
        np.testing.assert_allclose(table[missing], whole[missing], rtol=1e-14)
        assert [missing in note and "derived" in note for note in table.notes] == [True]
    assert make_table("x", None, **whole, loss=np.ones(5)).notes == ()
    # N by another convention stands in for n_params, exact FLOPs for flops
    table = make_table("x", n_params_total=n, flops_exact=6 * n * d, loss=np.ones(5))
    assert (table.n_column, table.flops_column) == ("n_params_total", "flops")
    np.testing.assert_allclose(table.variable("D"), d)
    np.testing.assert_allclose(table.variable("N"), n)


def test_shapes_give_n_three_ways_and_exact_flops(tmp_path: Path) -> None:
    file = _csv(
        tmp_path,
        "d_model,n_layers,n_heads,kv_size,ffw_size,vocab_size,seq_len,n_tokens,loss",
        "64,2,4,16,256,512,128,1e6,4",
        "96,3,2,32,300,512,256,2e6,3",
    )
    table = read_table(file)
    for i, shape in enumerate(
        (
            Shape(n_layers=2, d_model=64, n_heads=4, head_dim=16, d_ff=256, vocab_size=512, context=128),
            Shape(n_layers=3, d_model=96, n_heads=2, head_dim=32, d_ff=300, vocab_size=512, context=256),
        )
    ):
        for name, count in count_parameters(shape).items():
            assert table[name][i] == count
        per_token = flops_per_token(shape, shape.context or 0)
        assert table["flops_exact"][i] == per_token * table["n_tokens"][i]
        assert table["flops"][i] == 6 * table["n_params"][i] * table["n_tokens"][i]
    assert any("GPT-2" in note for note in table.notes)
    # D from exact C, by the exact counter and not by 6ND
    known = {name: table[name] for name in ("d_model", "n_layers", "n_heads", "head_dim", "d_ff")}
    known |= {name: table[name] for name in ("vocab_size", "context", "flops_exact", "loss")}
    np.testing.assert_allclose(make_table("x", None, **known)["n_tokens"], table["n_tokens"])
    # a given N stays
    assert make_table("x", None, **known, n_params=[5, 6])["n_params"].tolist() == [5, 6]
    with pytest.raises(LoraJaxError, match=r"run 2: d_model is 96.5"):
        make_table("x", None, **{**known, "d_model": [64, 96.5]})


def test_other_numbers_keep_their_names_and_text_is_no_column(tmp_path: Path) -> None:
    file = _csv(
        tmp_path,
        "Size,n_tokens,loss,final,tok mult,lr,text,hole,seed,finetune_tokens",
        "100,5,9,3.5,20,1e-3,a,1,0,0",
        "200,6,9,3.4,-40,2e-3,b,,x,5",
    )
    table = read_table(file, {"n_params": "Size", "loss": "final"})
    assert set(table.columns) == {"n_params", "n_tokens", "loss", "flops", "tok mult", "lr"}
    np.testing.assert_array_equal(table["loss"], [3.5, 3.4])  # the mapped one, not the file's own `loss`
    np.testing.assert_array_equal(table["tok mult"], [20, -40])
    assert sorted(note.split(" is not read")[0] for note in table.notes if "not read" in note) == [
        "finetune_tokens",
        "seed",
    ]
    with pytest.raises(LoraJaxError, match="line 2, column 'finetune_tokens': '0' is not a number above 0"):
        read_table(file, {"n_params": "Size", "loss": "final", "finetune_tokens": "finetune_tokens"})
    with pytest.raises(LoraJaxError, match="line 3, column 'hole': '' is not a number"):
        read_table(file, {"n_params": "Size", "loss": "final", "error": "hole"})


def test_all_bad_rows_are_named_up_to_five(tmp_path: Path) -> None:
    bad = ["0", "-1", "nan", "inf", "x", "", "0"]
    for k in range(2, 8):
        file = _csv(tmp_path, "n_params,loss", *(f"{cell},3" for cell in bad[:k]), "5,3")
        with pytest.raises(LoraJaxError) as caught:
            read_table(file)
        told = str(caught.value)
        assert told.count("line ") == min(k, 5)
        assert (f"and {k - 5} more" in told) == (k > 5)
        assert all(f"line {i + 2} {cell!r}" in told for i, cell in enumerate(bad[: min(k, 5)]))
    with pytest.raises(LoraJaxError, match=r"x, row 2, column 'n_params': '-1.0' is not a number above 0"):
        make_table("x", n_params=[1, -1], loss=[1, 1])
    with pytest.raises(LoraJaxError, match=r"column 'loss' has row 1 'nan', row 2 'inf'"):
        make_table("x", n_params=[1, 1], loss=[np.nan, np.inf])


def test_a_constant_column_is_a_column(tmp_path: Path) -> None:
    assert read_table(_csv(tmp_path, "n_params,loss,lr", "1,3,5", "1,3,5"))["lr"].tolist() == [5, 5]


def test_a_row_that_repeats_another_is_named_and_stays(tmp_path: Path) -> None:
    rows = ("a,100,1e6,3.5", "b,200,1e6,3.1", "a,100,1e6,3.5", "a,100,1e6,3.5")
    once = read_table(_csv(tmp_path, "name,n_params,n_tokens,loss", *rows[:2], "c,100,1e6,3.5"))
    assert not [note for note in once.notes if "same as" in note]
    table = read_table(_csv(tmp_path, "name,n_params,n_tokens,loss", *rows))
    assert len(table) == 4
    [note] = [note for note in table.notes if "same as" in note]
    assert note.startswith("In every cell line 4 is the same as line 2, and 1 more such row.")


# ---- units and clusters


def test_the_loss_is_read_in_the_unit_that_is_asked_for(tmp_path: Path) -> None:
    _write(tmp_path, "n_params,heldout_loss,heldout_loss_se,bits_per_byte\n100,3.5,0.1,1.25\n")
    nats = read_table(tmp_path)
    assert (nats["loss"][0], nats["loss_se"][0], nats.loss_unit) == (3.5, 0.1, "nats per token")
    assert nats.notes == ()
    for spelling in ("bpb", "bits per byte", "Bits per Byte"):
        bits = read_table(tmp_path, loss_unit=spelling)
        assert (bits["loss"][0], bits.loss_unit) == (1.25, "bits per byte")
        assert "loss_se" not in bits.columns  # the error is in nats
        assert bits.notes == ("The loss is in bits per byte.",)
    with pytest.raises(LoraJaxError, match="'bitz' means nothing"):
        read_table(tmp_path, loss_unit="bitz")
    _write(tmp_path, "n_params,bits_per_byte\n100,1.25\n")
    with pytest.raises(LoraJaxError, match="'bits_per_byte' in bits per byte: read it with --loss-unit bpb"):
        read_table(tmp_path)


@pytest.mark.parametrize("column", ["loss_unit", "unit"])
def test_mixed_units_are_refused(tmp_path: Path, column: str) -> None:
    file = _csv(tmp_path, f"n_params,loss,{column}", "1,3,nats", "2,1,bpb", "3,1,bpb")
    with pytest.raises(LoraJaxError, match=f"mixes units: column '{column}' has 'nats', 'bpb'"):
        read_table(file)
    assert len(read_table(file, where=[f"{column}=nats"])) == 1
    assert len(read_table(file, where=[f"{column}=bpb"], loss_unit="bpb")) == 2
    with pytest.raises(LoraJaxError, match="its loss in bits per byte and was to be read in nats per token"):
        read_table(file, where=[f"{column}=bpb"])
    file = _csv(tmp_path, "n_params,loss,what", "1,3,nats", "2,1,bpb")
    with pytest.raises(LoraJaxError, match="mixes units"):
        read_table(file, {"loss_unit": "what"})
    file = _csv(tmp_path, "n_params,loss,loss_unit", "1,3,perplexity")
    with pytest.raises(LoraJaxError, match="'perplexity': convert it"):
        read_table(file)


def test_clusters_follow_their_rows(tmp_path: Path) -> None:
    file = _csv(tmp_path, "n_params,loss,run_name,group", "1,5,a,x", "2,4,a,y", "3,3,b,x", "4,2,b,z")
    table = read_table(file)
    assert table.clusters is not None
    assert table.clusters == ("a", "a", "b", "b")
    assert read_table(file, cluster="group").clusters == ("x", "y", "x", "z")
    assert read_table(file, cluster="group", where=["group!=y"], drop_worst=1).clusters == ("x", "z")
    by_loss = dict(zip(table["loss"], table.clusters, strict=True))
    order = np.array([3, 0, 2])
    for part in (table.take(order), table.take(table["loss"] < 4.5), table.without(table["loss"] > 4, "why")):
        assert isinstance(part, RunTable)
        assert part.clusters == tuple(by_loss[value] for value in part["loss"])
    with pytest.raises(LoraJaxError, match="nearest: 'group'"):
        read_table(file, cluster="grup")
    # a name of its own for every row, or one for all, divides nothing
    assert read_table(file, where=["n_params in 1,3"]).clusters is None
    assert read_table(file, where=["run_name=a"]).clusters is None
    with pytest.raises(LoraJaxError, match="2 rows and 1 run_ids"):
        make_table("x", ["a"], n_params=[1, 2], loss=[1, 1])
