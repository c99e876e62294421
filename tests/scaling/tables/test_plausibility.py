"""N, D and C against each other and what there is: a wrong unit is refused or doubted, a right one not."""

import re
from pathlib import Path

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.tables.published import PUBLISHED
from lora_jax.scaling.tables.table import RunTable, make_table, read_table

N, D = (x.ravel() for x in np.meshgrid([3e7, 1e8, 3.5e8, 1.3e9], [2e9, 5e9, 2e10, 1e11], indexing="ij"))
LOSS = 1.8 + 406 * N**-0.34 + 1500 * D**-0.36
ROOT = Path(__file__).resolve().parents[3]


def of_units(table: RunTable) -> list[str]:
    """Return the doubts about N, D and C; others are about which rows there are."""
    about = "6ND|which is no number|in another unit|in other units"
    return [line for line in table.doubts if re.search(about, line)]


def read(folder: Path, **columns: np.ndarray) -> RunTable:
    lines = [
        ",".join(columns),
        *(",".join(map(repr, map(float, row))) for row in zip(*columns.values(), strict=True)),
    ]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return read_table(folder / "t.csv")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"flops": 6e-9 * N * D},
            r"= 1e-09 in every run, which is right if C is in GFLOPs \(--map flops='flops\*1e9'\)",
        ),
        ({"flops": 6 * N * D / 8.64e19}, r"C is in PF-days \(--map flops='flops\*8.64e19'\)"),
        ({"flops": np.log10(6 * N * D)}, r"C is in logarithms to base 10 \(--map flops='10\*\*flops'\)"),
        ({"flops": np.log(6 * N * D)}, r"natural logarithms \(--map flops='e\*\*flops'\)"),
        # exact FLOPs, which run from 1.0 to 1.5 times 6ND
        ({"flops": 6e-18 * N * D * np.linspace(1, 1.5, 16)}, r"C is in EFLOPs"),
        ({"n_params": N / 1e6}, r"N is in millions \(--map n_params='n_params\*1e6'\)"),
        ({"n_tokens": D / 1e9}, r"D is in billions \(--map n_tokens='n_tokens\*1e9'\)"),
        ({"n_params": N / 1e6, "n_tokens": D / 1e9}, r"N is in millions and D is in billions"),
        ({"n_params": np.log10(N)}, r"N is in logarithms to base 10"),
        (
            {"n_params": np.log(N), "n_tokens": np.log(D), "flops": np.log(6 * N * D)},
            r"if N is in natural logarithms and D is in natural logarithms and C is in natural logarithms",
        ),
    ],
)
def test_a_unit_that_puts_c_right_is_named(tmp_path: Path, wrong: dict[str, np.ndarray], told: str) -> None:
    columns = {"n_params": N, "n_tokens": D, "flops": 6 * N * D, "loss": LOSS} | wrong
    with pytest.raises(LoraJaxError, match=told):
        read(tmp_path, **columns)
    # whoever makes a table knows the units, and gets a doubt
    assert len(make_table("made", None, **columns).doubts) >= 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"n_tokens": D / 8}, "C / 6ND is 8 in every run"),
        ({"flops": 2 * N * D}, r"C / 6ND is 0.333 in every run.*\(2ND is the forward pass alone\)"),
        (
            {"n_tokens": D / 1024},
            r"C / 6ND is 1.02e\+03 in every run",
        ),  # sequences, and not thousands of tokens
        ({"n_tokens": D * np.geomspace(0.2, 6, 16)}, "C / 6ND runs from 0.17 to 5"),
        (
            {"n_tokens": np.append(D[:-1], D[-1] / 100)},
            "C / 6ND is 100 in row 17 and 0.5 to 3 in the other runs",
        ),
    ],
)
def test_what_no_unit_explains_is_the_first_doubt(
    tmp_path: Path, wrong: dict[str, np.ndarray], told: str
) -> None:
    table = read(tmp_path, **({"n_params": N, "n_tokens": D, "flops": 6 * N * D, "loss": LOSS} | wrong))
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(table.doubts[0])
    assert fit(CHINCHILLA, table).certificate.warnings[0] == table.doubts[0]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"n_params": N / 1e6, "n_tokens": D}, r"N runs from 30 to 1.3e\+03.*--map n_params='n_params\*1e6'"),
        ({"n_params": N / 1e9, "n_tokens": D}, r"N runs from 0.03 to 1.3.*--map n_params='n_params\*1e9'"),
        (
            {"n_params": np.log10(N), "n_tokens": np.log10(D)},
            r"N runs from 7.*--map n_params='10\*\*n_params'",
        ),
        ({"n_params": N / 1e6, "n_tokens": D / 1e9}, "N runs from 30"),
        ({"n_params": N, "n_tokens": D / 1e9}, r"D runs from 2 to 100, which is no number of tokens"),
        ({"n_params": N / 1e3 + 0.5, "n_tokens": D / 1e3}, "N runs from 3e"),
        ({"n_params": N, "n_tokens": D * 1e6}, "D / N runs from"),
        (
            {"n_params": N, "flops": 6e-9 * N * D},
            "D is derived and runs from 2 to 100 tokens: N and C are in other",
        ),
        ({"n_tokens": D, "flops": 6e-9 * N * D}, "N is derived and runs from 0.03 to 1.3 parameters"),
        ({"flops": 6 * N * D / 8.64e19}, "C runs from .* which is no number of FLOPs"),
        ({"flops": np.log10(6 * N * D)}, r"C runs from 17.* --map flops='10\*\*flops'"),
    ],
)
def test_orders_of_magnitude_that_no_model_has(
    tmp_path: Path, columns: dict[str, np.ndarray], told: str
) -> None:
    table = read(tmp_path, **columns, loss=LOSS)
    with pytest.raises(AssertionError, match=told):
        raise AssertionError("; ".join(table.doubts))


def test_honest_tables_are_not_doubted(tmp_path: Path) -> None:
    for ratio in (0.6, 1.0, 1.5, 2.8, np.geomspace(0.6, 2.8, 16)):
        assert read(tmp_path, n_params=N, n_tokens=D, flops=6 * N * D * ratio, loss=LOSS).doubts == ()
    # a tiny sweep: 3.5 thousand parameters on .13 million tokens, D/N from .3 to ten thousand
    n, d = (x.ravel() for x in np.meshgrid([3.5e3, 1e4, 4e5], [1.3e5, 1e6, 3.5e7], indexing="ij"))
    assert read(tmp_path, n_params=n, n_tokens=d, loss=1 + n**-0.1).doubts == ()
    # fine-tuning: few tokens of a pretrained model, whose frozen weights need no gradient
    columns = {"n_params": N, "n_tokens": D / 1e6, "flops_exact": 2e-6 * N * D, "loss": LOSS}
    assert read(tmp_path, **columns, trainable_params=N / 100).doubts == ()
    assert read(tmp_path, **columns, trainable_params=N).doubts != ()


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_published_table_is_doubted(published: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_JAX_PUBLISHED", str(published))
    assert of_units(read_table(f"published:{name}")) == []


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("results/published/*/runs.csv")), ids=lambda p: p.parent.name
)
def test_no_committed_sweep_is_doubted(path: Path) -> None:
    assert of_units(read_table(path)) == []
