"""Mixed settings in a cell: doubted, and the best of each cell gives back the law."""

import csv
from pathlib import Path

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.tables.cells import settle_learning_rates
from lora_jax.scaling.tables.knobs import is_rate
from lora_jax.scaling.tables.table import Reshaping, RunTable, read_table
from lora_jax.scaling.verdict import Level

TRUTH = {"E": 1.7, "A": 12.0, "alpha": 0.138, "B": 400.0, "beta": 0.3}
BEST = Reshaping(best_per_cell=True)
RATES = (3e-4, 1e-3, 3e-3, 1e-2)


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def grid_of_rates(rate: str = "lr", penalty: float = 0.08, **more: object) -> list[dict[str, object]]:
    """81 cells at three or four rates: of each cell one rate gives TRUTH's loss, the others more, most of all
    where the model is small, which steepens what goes through all."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for n in np.geomspace(1e7, 1e9, 9):
        for d in np.geomspace(2e8, 2e10, 9):
            loss = TRUTH["E"] + TRUTH["A"] * n ** -TRUTH["alpha"] + TRUTH["B"] * d ** -TRUTH["beta"]
            rates = RATES[: rng.integers(3, 5)]
            for i, r in enumerate(rates):
                far = (i - 1) ** 2 * penalty * (1e7 / n) ** 0.3
                rows.append({"n_params": n, "n_tokens": d, rate: r, "loss": loss * np.exp(far), **more})
    return rows


def test_the_best_rate_of_each_cell_gives_back_the_law(tmp_path: Path) -> None:
    path = write(tmp_path / "runs.csv", grid_of_rates())
    every, best = read_table(path), read_table(path, reshaping=BEST)
    assert len(best) == 81
    assert len(every) == len(best) + len(best.left_out)
    assert {gone.reason for gone in best.left_out} == {"not the least loss of its cell"}
    assert fit(CHINCHILLA, best).params == pytest.approx(TRUTH, rel=1e-6)
    assert fit(CHINCHILLA, every).params["alpha"] > 0.18
    [doubt] = every.doubts
    assert "lr differs" in doubt
    assert "--best-per-cell" in doubt
    assert fit(CHINCHILLA, every).certificate.verdict.level is Level.BE_CAREFUL
    assert best.doubts == ()
    note = best.notes[-1]
    assert f"Of {len(every)} rows the least loss of each of 81 cells" in note
    assert "low by selection" in note


@pytest.mark.parametrize(
    "name", ["lr", "LR", "peak_lr", "max_lr", "optimizer.lr", "optim/learning_rate", "maxLr", "config.peakLR"]
)
def test_people_name_the_rate_in_many_ways(tmp_path: Path, name: str) -> None:
    assert is_rate(name)
    [doubt] = read_table(write(tmp_path / "runs.csv", grid_of_rates(name))).doubts
    assert f"{name} differs" in doubt


@pytest.mark.parametrize("name", ["lr_schedule", "min_lr", "final_lr", "lr_warmup_steps", "color", "decay"])
def test_what_is_no_peak_rate(name: str) -> None:
    assert not is_rate(name)


def test_one_rule_with_our_own_column(tmp_path: Path) -> None:
    """What --best-per-cell keeps of a column lr, settle_learning_rates keeps of base_learning_rate."""
    ours = read_table(write(tmp_path / "ours.csv", grid_of_rates("base_learning_rate")))
    theirs = read_table(write(tmp_path / "theirs.csv", grid_of_rates("lr")), reshaping=BEST)
    settled, _ = settle_learning_rates(ours)
    assert settled.run_ids == theirs.run_ids
    assert ours.doubts == ()  # every fit settles them


def test_seeds_and_rates_of_no_consequence_are_no_doubt(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    seeds = [
        {**row, "seed": i % 4, "loss": row["loss"] * np.exp(0.03 * rng.standard_normal())}  # type: ignore[operator]
        for i, row in enumerate(grid_of_rates("width", penalty=0.0))
    ]
    for row in seeds:
        del row["width"]
    assert read_table(write(tmp_path / "seeds.csv", seeds)).doubts == ()
    assert read_table(write(tmp_path / "flat.csv", grid_of_rates("lr", penalty=0.0005))).doubts == ()


def test_another_setting_is_named_with_the_way_to_keep_one(tmp_path: Path) -> None:
    rows = grid_of_rates("warmup_steps")
    for i, row in enumerate(rows):
        row["corpus"] = ("web", "books", "code")[i % 3]
    [doubt] = read_table(write(tmp_path / "runs.csv", rows)).doubts
    assert "warmup_steps, corpus differ" in doubt
    assert "--where 'corpus=web'" in doubt
    for row in rows:
        del row["corpus"]
    [doubt] = read_table(write(tmp_path / "tuned.csv", rows)).doubts
    assert "warmup_steps differs; --best-per-cell keeps" in doubt
    for row in rows:
        del row["warmup_steps"]
    [doubt] = read_table(write(tmp_path / "bare.csv", rows)).doubts
    assert "no column explains" in doubt


def test_unique_tokens_part_cells_and_a_law_without_them_is_told(tmp_path: Path) -> None:
    rows = [
        {"n_params": n, "n_tokens": d, "unique_tokens": d / k, "loss": (1.7 + 400 * d**-0.3) * k**0.1}
        for n in (1e7, 1e8, 1e9)
        for d in (1e9, 1e10, 1e11)
        for k in (1, 4, 16)
    ]
    table = read_table(write(tmp_path / "runs.csv", rows), reshaping=BEST)
    assert len(table) == 27  # nothing is a rival of anything
    assert "No cell" in table.notes[-1]
    assert any("unique tokens" in line for line in fit(CHINCHILLA, table).certificate.warnings)


def test_a_best_rate_at_an_edge_is_warned_of_unless_the_next_diverged(tmp_path: Path) -> None:
    def rows(last: str) -> list[dict[str, object]]:
        cell = {"n_params": 1e8, "n_tokens": 1e9}
        return [
            {**cell, "lr": 1e-4, "loss": 3.2, "status": "done"},
            {**cell, "lr": 1e-3, "loss": 3.0, "status": "done"},
            {**cell, "lr": 1e-2, "loss": 9.0, "status": last},
        ]

    best = read_table(write(tmp_path / "a.csv", rows("diverged")), reshaping=BEST)
    assert best["loss"].tolist() == [3.0]
    assert best.doubts == ()
    edge = read_table(write(tmp_path / "b.csv", rows("diverged")[:2]), reshaping=BEST)
    assert "the largest of 2 tried" in edge.doubts[0]
    many = [{**row, "n_params": n} for n in (1e6, 1e7, 1e8, 1e9) for row in rows("diverged")[:2]]
    one = read_table(write(tmp_path / "c.csv", many), reshaping=BEST)
    assert len(one.doubts) == 1
    assert "In 4 of 4 cells" in one.doubts[0]


def test_without_n_d_or_c_there_are_no_cells(tmp_path: Path) -> None:
    path = write(tmp_path / "runs.csv", [{"loss": 3.0}, {"loss": 2.0}])
    with pytest.raises(LoraJaxError, match="no N, D or C"):
        read_table(path, reshaping=BEST)


def test_published_tables_that_mix(published: Path) -> None:
    def doubts(table: RunTable) -> str:
        return " ".join(table.doubts)

    porian = {"n_params": "n", "n_tokens": "t"}
    assert "hparams" in doubts(read_table(published / "porian_isoflop.csv", porian))
    alone = [
        "dataset=rw",
        "hparams=tuned",
        "warmup=short",
        "decay=chinchilla",
        "param_count=standard",
        "val=val",
    ]
    try:
        one = read_table(published / "porian_isoflop.csv", porian, where=alone[:2])
    except LoraJaxError:
        one = read_table(published / "porian_isoflop.csv", porian, where=alone[:1])
    assert "dataset" not in doubts(one)
    gadre = {"n_params": "N", "n_tokens": "D", "loss": "loss_c4_val"}
    assert "dataset differs" in doubts(read_table(published / "gadre.csv", gadre))
    assert not doubts(read_table(published / "gadre.csv", gadre, where=["dataset=rpj"]))
    assert not doubts(
        read_table(published / "chinchilla.csv", {"n_params": "Model Size", "flops": "Training FLOP"})
    )
