"""One table in other people's dress: units, names, spellings, kinds of file that all mean the same runs."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.tables.table import RunTable, read_table

N, D = (x.ravel() for x in np.meshgrid([3e7, 1e8, 350e6, 1.3e9], [2e9, 5e9, 20e9, 1e12], indexing="ij"))
C = 6 * N * D
LOSS = 1.8 + 406 * N**-0.34 + 1500 * D**-0.36

SPEED = re.compile(r"(?i)\b(?:total_)?[gtpe]flops?\b(?!.*days)|total_gflops")
Columns = Mapping[str, Sequence[object] | np.ndarray]


def write(path: Path, columns: Columns, delimiter: str = ",") -> Path:
    text = io.StringIO()
    lines = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    lines.writerow(columns)
    lines.writerows(zip(*columns.values(), strict=True))
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def is_the_same(table: RunTable, rel: float = 1e-9) -> None:
    for letter, values in (("N", N), ("D", D), ("C", C)):
        np.testing.assert_allclose(table.variable(letter), values, rtol=rel)
    np.testing.assert_allclose(table["loss"], LOSS, rtol=1e-6)
    # a name alone does not tell GFLOPs from a speed
    assert len(table.doubts) == ("flops" in table.sources and bool(SPEED.search(table.sources["flops"])))


@pytest.mark.parametrize(
    "columns",
    [
        {"N": N, "D": D, "loss": LOSS},
        {"Params": N, "Total Tokens": D, "Loss": LOSS},
        {"n": N, "d": D, "val_loss": LOSS},
        {"config/num_params": N, "throughput/total_tokens": D, "eval/loss": LOSS},
        {"modelSize": N, "trainTokens": D, "L": LOSS},
        {"params (M)": N / 1e6, "tokens (B)": D / 1e9, "loss": LOSS},
        {"params [B]": N / 1e9, "tokens [T]": D / 1e12, "loss": LOSS},
        {"params_millions": N / 1e6, "tokens_billions": D / 1e9, "loss": LOSS},
        {"model size (M params)": N / 1e6, "D (1e9)": D / 1e9, "loss": LOSS},
        {"Parameters, millions": N / 1e6, "tokens in billions": D / 1e9, "loss": LOSS},
        {"N (10^6)": N / 1e6, "tokens (x1e9)": D / 1e9, "loss": LOSS},
        {"log10_params": np.log10(N), "log10(tokens)": np.log10(D), "loss": LOSS},
        {"ln_params": np.log(N), "tokens (log2)": np.log2(D), "loss": LOSS},
        {"params": N, "GFLOPs": C / 1e9, "loss": LOSS},
        {"params": N, "throughput/total_gflops": C / 1e9, "loss": LOSS},
        {"params": N, "PF-days": C / 8.64e19, "loss": LOSS},
        {"params": N, "petaflop/s-days": C / 8.64e19, "loss": LOSS},
        {"params": N, "compute (PF-days)": C / 8.64e19, "loss": LOSS},
        {"params": N, "Training compute (EFLOPs)": C / 1e18, "loss": LOSS},
        {"tokens": D, "FLOPs (1e18)": C / 1e18, "loss": LOSS},
        {"tokens": D, "log10(flops)": np.log10(C), "loss": LOSS},
        {"tokens": D, "FLOPs (\u00d710\u00b2\u00b9)": C / 1e21, "loss": LOSS},
        {" params ": N, "tokens  ": D, "loss ": LOSS},
        {"params": [f"{n / 1e9:g}B" for n in N], "tokens": [f"{d / 1e9:g}b" for d in D], "loss": LOSS},
        {"params": [f"{n / 1e6:g}M" for n in N], "tokens": [f"{d / 1e12:g} T" for d in D], "loss": LOSS},
        {"params": [f"{n:,.0f}" for n in N], "tokens": [f"{d:,.0f}" for d in D], "loss": LOSS},
        {
            "params": [f"{n:_.0f}" for n in N],
            "tokens": [f"{d:,.0f}".replace(",", " ") for d in D],
            "loss": LOSS,
        },
        {
            "params (M)": [f"{n / 1e6:,.1f}" for n in N],
            "tokens (M)": [f"{d / 1e6:,.1f}" for d in D],
            "loss": LOSS,
        },
        {"params (M)": [f"{n / 1e9:g}B" for n in N], "tokens": D, "loss": LOSS},
        {
            "# params": [f"{n / 1e6:g} million" for n in N],
            "loss": LOSS,
            "number of tokens": [f"{d / 1e9:g}B tokens" for d in D],
        },
        {"lnN": np.log(N), "log10D": np.log10(D), "loss": LOSS},
        # two columns that say the same are no question, and the exact one counts
        {"params": N, "params (M)": np.round(N / 1e6), "tokens": D, "loss": LOSS},
        {"params": N, "tokens": D, "model": ["small"] * 16, "train_tokens": ["fineweb"] * 16, "loss": LOSS},
    ],
    ids=lambda columns: " ".join(columns),
)
def test_a_table_is_read_as_its_header_says(tmp_path: Path, columns: Columns) -> None:
    table = read_table(write(tmp_path / "t.csv", columns))
    is_the_same(table)
    known = {"n_params", "n_tokens", "flops", "loss"}
    named = [c for c in columns if c.strip() not in known and c != "model" and c != "train_tokens"]
    assert any(repr(c.strip())[:-1] in note for note in table.notes for c in named)


def _european(value: float, digits: int = 9) -> str:
    return f"{value:,.{digits}f}".replace(",", "_").replace(".", ",").replace("_", ".")


@pytest.mark.parametrize(
    ("columns", "delimiter"),
    [
        ({"N": [f"{n:.0f}" for n in N], "D": D, "loss": [_european(x) for x in LOSS]}, ";"),
        (
            {
                "N": [_european(n, 0) for n in N],
                "D": [_european(d, 1) for d in D],
                "loss": [_european(x) for x in LOSS],
            },
            ";",
        ),
        ({"N": N, "D": D, "loss": LOSS}, ";"),
        ({"N": N, "D": D, "loss": [_european(x) for x in LOSS]}, "\t"),
        ({"N": N, "D": D, "loss": [_european(x) for x in LOSS]}, ","),
        ({"N": N, "D": D, "loss": LOSS}, "\t"),
        ({"N": N, "D": D, "loss": LOSS}, "|"),
    ],
    ids=["semicolons", "points", "only delimiters", "tabs", "quoted", "plain tabs", "bars"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_delimiter_and_encoding(
    tmp_path: Path, columns: Columns, delimiter: str, encoding: str
) -> None:
    for name in ("t.csv", "t.txt"):
        path = write(tmp_path / name, columns, delimiter)
        path.write_bytes(path.read_text(encoding="utf-8").replace("\n", "\r\n").encode(encoding))
        table = read_table(path)
        is_the_same(table)
        assert any("separated" in note for note in table.notes) == (delimiter != ",")
        assert any("Decimal commas" in note for note in table.notes) == ("," in str(columns["loss"][0]))


def test_a_spreadsheet_says_its_delimiter_and_leaves_empty_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", {"N": N, "D": D, "loss": LOSS}, ";")
    path.write_text("sep=;\n" + path.read_text() + ";;\n\n")
    is_the_same(read_table(path))


def test_json_and_parquet_with_numbers_as_text_and_as_integers(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [
        {"params": f"{n:.0f}", "tokens": f"{d:,.0f}", "loss": str(x)}
        for n, d, x in zip(N, D, LOSS, strict=True)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    is_the_same(read_table(tmp_path / "t.jsonl"))
    whole = {"num_params": N.astype(int), "total_tokens": D.astype(int), "loss": LOSS}
    pyarrow.parquet.write_table(pyarrow.table(whole), tmp_path / "t.parquet")
    is_the_same(read_table(tmp_path / "t.parquet"))


@pytest.mark.parametrize(
    ("columns", "mapping"),
    [
        ({"size": N / 1e6, "d": D, "loss": LOSS}, {"n_params": "size*1e6", "n_tokens": "d"}),
        ({"params (M)": N / 1e6, "d": D, "loss": LOSS}, {"N": "params (M)*1e6", "D": "d"}),
        ({"params (M)": N / 1e6, "d": D, "loss": LOSS}, {"n_params": "params (M)", "n_tokens": "d"}),
        ({"n": N, "pf_days": C / 8.64e19, "loss": LOSS}, {"n_params": "n", "flops": "pf_days*8.64e19"}),
        ({"n": N, "x": C / 8.64e19, "loss": LOSS}, {"n_params": "n", "flops": "x*86400*1e15"}),
        ({"n": N, "lg": np.log10(C), "loss": LOSS}, {"n_params": "n", "flops": "10**lg"}),
        ({"n": N, "lg": np.log(C / 1e18), "loss": LOSS}, {"n_params": "n", "C": "e**lg*1e18"}),
        ({"n": N, "size*2": D * 1e3, "loss": LOSS}, {"n_params": "n", "n_tokens": "size*2/1e3"}),
        ({"Model (M)": N / 1e6, "n": D, "loss": LOSS}, {"n_params": "Model (M)", "n_tokens": "n"}),
        ({"n": N, "run/total_gflops": C / 1e9, "loss": LOSS}, {"n_params": "n", "flops": "run/total_gflops"}),
        # the mapping's own factor stands instead of the header's, not besides
        ({"params (B)": N / 1e6, "d": D, "loss": LOSS}, {"n_params": "params (B)*1e6", "n_tokens": "d"}),
    ],
)
def test_a_mapping_may_say_the_unit(tmp_path: Path, columns: Columns, mapping: dict[str, str]) -> None:
    table = read_table(write(tmp_path / "t.csv", columns), mapping)
    is_the_same(table)


def test_conditions_on_our_names_are_in_our_units(tmp_path: Path) -> None:
    columns = {"params (M)": N / 1e6, "tokens": [f"{d / 1e9:g}B" for d in D], "loss": LOSS}
    path = write(tmp_path / "t.csv", columns)
    for where in ("n_params>=1e8", "params (M)>=100", "N>=100M"):
        assert sorted(read_table(path, where=[where])["n_params"]) == sorted(N[N >= 1e8])
    assert len(read_table(path, where=["tokens>=5e9"])) == len(read_table(path, where=["D>=5B"])) == 12


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"params": N, "model_size": 2 * N, "tokens": D, "loss": LOSS}, "'params' and 'model_size', which"),
        (
            {"params_total": N, "params_non_embedding": N / 2, "tokens": D, "loss": LOSS},
            "'params_total' and 'params_non_embedding', which differ and of which either could be N",
        ),
        ({"N": N, "tokens": D, "tokens_seen": D / 2, "loss": LOSS}, "'tokens' and 'tokens_seen', which"),
        ({"N": N, "D": D, "val_loss": LOSS, "test_loss": LOSS + 1}, "'val_loss' and 'test_loss', which"),
        ({"N": N, "D": D, "train/loss": LOSS, "eval/loss": LOSS + 1}, "'train/loss' and 'eval/loss'"),
        ({"N": N, "log(flops)": np.log(C), "loss": LOSS}, "a logarithm to a base that it does not say"),
        ({"N": N, "D": D, "eval/macro_loss": LOSS}, "loss='eval/macro_loss'"),
        (
            {
                "N": [f"{n / 1e7:.3f}".replace(".", ",") for n in N],
                "D": [f"{d:.0f}" for d in D],
                "loss": [3] * 16,
            },
            "column 'N', has '3,000', one number with a decimal comma",
        ),
        (
            {"N": ["1.234"] * 16, "D": D, "loss": [f"{x:.4f}".replace(".", ",") for x in LOSS]},
            "column 'N', has '1.234'",
        ),
        ({"N": N, "D": D, "loss": [f"{x:.1f}%" for x in LOSS]}, "not a number above 0"),
        ({"N": N, "D": D, "loss": ["nan", *LOSS[1:]]}, "'nan' is not a number above 0"),
        ({"N": N, "D": D, "loss": ["", *LOSS[1:]]}, "'' is not a number above 0"),
        (
            {"N": N, "tokens (B)": ["?", *D[1:] / 1e9], "loss": LOSS},
            r"column 'tokens \(B\)\*1e9': '\?' is not a number",
        ),
        ({"N": N, "D": D, "loss (bpb)": LOSS}, "say --loss-unit 'bits per byte'"),
    ],
)
def test_what_nothing_tells_is_refused_by_name(tmp_path: Path, columns: Columns, message: str) -> None:
    with pytest.raises(LoraJaxError, match=message):
        read_table(write(tmp_path / "t.csv", columns))


def test_a_name_twice_is_refused_in_every_kind_of_file(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table([[1.0], [2.0]], names=["loss", "loss"]), tmp_path / "t.parquet")
    for name, text in (
        ("t.csv", "loss,loss \n1,2\n"),
        ("t.jsonl", '{"loss": 1, "loss": 2}\n'),
        ("t.json", '[{"loss": 1, " loss": 2}]'),
    ):
        (tmp_path / name).write_text(text)
    for path in tmp_path.iterdir():
        with pytest.raises(LoraJaxError, match="two columns named 'loss'"):
            read_table(path)


def test_which_of_several_losses_is_used_is_said(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", {"N": N, "D": D, "val_loss": LOSS + 1, "loss": LOSS}))
    is_the_same(table)
    assert "The loss is column 'loss'; 'val_loss' would be --map loss='val_loss'." in table.notes
    bits = {"N": N, "D": D, "val_bpb": LOSS}
    assert "say --loss-unit bpb" in " ".join(
        read_table(write(tmp_path / "t.csv", bits), {"loss": "val_bpb"}).notes
    )
    is_the_same(read_table(write(tmp_path / "t.csv", bits), loss_unit="bpb"))
    with pytest.raises(LoraJaxError, match="'val_bpb' in bits per byte: read it with --loss-unit bpb"):
        read_table(write(tmp_path / "t.csv", bits))


def test_rates_and_shapes_are_no_quantities_of_ours(tmp_path: Path) -> None:
    from lora_jax.scaling.tables.synonyms import meaning_of

    for name in (
        "throughput/tflops",
        "tokens/s",
        "flops/s",
        "d_k",
        "n_b",
        "log_dir",
        "logits_loss",
        "GPU hours",
        "batch_tokens",
        "n",
        "d",
        "steps",
        "days",
        "params (approx)",
    ):
        assert meaning_of(name) is None, name
    assert math.isnan(meaning_of("log(C)").unit.base or 0)  # type: ignore[union-attr]


SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "cases" / "tables"


@pytest.fixture
def cases() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} does not exist: these are files as people have them")
    return SHARED


def test_the_cases_give_what_they_must(cases: Path) -> None:
    read: Callable[..., RunTable] = read_table
    crashed = read(cases / "wandb_crashed_late.csv")
    assert len(crashed) == 24
    assert [gone.reason for gone in crashed.left_out] == ["crashed"] * 6
    found = fit(CHINCHILLA, crashed).params
    a = found["beta"] / (found["alpha"] + found["beta"])
    assert a == pytest.approx(0.514, abs=0.02)  # with the six it is .592
    ratio = found["alpha"] * found["A"] / (found["beta"] * found["B"])
    best = ratio ** (1 / (found["alpha"] + found["beta"])) * (1e21 / 6) ** a
    assert best == pytest.approx(3.4e9, rel=0.05)
    assert len(read(cases / "status_finished.csv")) == 30
    millions, semicolon = read(cases / "millions.csv"), read(cases / "semicolon.csv")
    whole = read(cases / "status_finished.csv")
    for table in (millions, semicolon):
        for letter in "NDC":
            np.testing.assert_allclose(table.variable(letter), whole.variable(letter))
        np.testing.assert_allclose(table["loss"], whole["loss"], rtol=1e-4)
    gflops = read(cases / "isoflop_gflops.csv", {"loss": "eval/paloma/macro_loss"})
    assert gflops["flops"].max() == 3e19
    [doubt] = gflops.doubts
    assert "--map flops='throughput/total_gflops*1e9'" in doubt
    told = {"loss": "eval/paloma/macro_loss", "flops": "throughput/total_gflops*1e9"}
    assert read(cases / "isoflop_gflops.csv", told).doubts == ()
    with pytest.raises(LoraJaxError, match=r"C is in GFLOPs \(--map flops='throughput/total_gflops\*1e9'\)"):
        read(
            cases / "isoflop_gflops.csv",
            {"loss": "eval/paloma/macro_loss", "flops": "throughput/total_gflops*1"},
        )
    names = {
        "n_params": "num_scaling_params",
        "n_tokens": "tokens_trained",
        "flops": "flops_budget",
        "loss": "val_bpb",
    }
    nanochat = read(cases / "nanochat_results.csv", names)
    assert nanochat.doubts == ("C / 6ND runs from 0.12 to 4: D or C is counted otherwise",)
