"""Logs, sweeps of learning rates and wide tables on the command line; what is said of columns and units."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.commands.conftest import Mistake, Run

FAST = ("--law", "chinchilla", "--bootstrap", "40")


def loss_at(n: float, d: float) -> float:
    return 1.7 + 12 * n**-0.138 + 400 * d**-0.3


def write(path: Path, header: str, rows: Sequence[tuple[object, ...]]) -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def cells() -> list[tuple[float, float]]:
    return [(n, d) for n in np.geomspace(1e7, 1e9, 4) for d in np.geomspace(2e8, 2e10, 4)]


def test_a_sweep_of_rates(run: Run, tmp_path: Path) -> None:
    rows = [
        (n, d, lr, loss_at(n, d) * (1 + 0.1 * (lr != 1e-3))) for n, d in cells() for lr in (1e-4, 1e-3, 1e-2)
    ]
    path = write(tmp_path / "sweep.csv", "Model Size,D,peak_lr,val_loss", rows)
    arguments = ("fit", path, *FAST, "--map", "n_params=Model Size")
    mixed = run(*arguments)[1]
    assert "peak_lr differs; --best-per-cell keeps" in mixed.splitlines()[0]
    assert "48 rows (16 cells of equal N, D) of sweep.csv" in mixed
    assert "training runs" not in mixed
    assert "N is column 'Model Size'" in mixed
    assert "without embeddings" not in mixed
    assert "C is flops" not in mixed
    assert "nats per token (taken to be)" in mixed
    best = json.loads(run(*arguments, "--best-per-cell", "--json")[1])
    assert best["params"]["alpha"]["value"] - 0.138 < 1e-6
    assert "--best-per-cell" not in best["certificate"]["verdict"]
    compared = run("compare", path, "--map", "n_params=Model Size", "--laws", "chinchilla", "power-c")[1]
    assert "48 of 48 rows share their N and D" in " ".join(compared.split())


def test_a_log(run: Run, tmp_path: Path) -> None:
    rows = [
        (f"r{i}", 100 * k, n, d * k / 5, loss_at(n, d) * (1.5 - k / 10))
        for i, (n, d) in enumerate(cells())
        for k in range(1, 6)
    ]
    path = write(tmp_path / "log.csv", "Name,_step,n_params,n_tokens,loss", rows)
    assert "80 rows are steps of 16 runs (_step" in run("fit", path, *FAST)[1].splitlines()[0]
    last = json.loads(run("fit", path, *FAST, "--last-step-per-run", "--json")[1])
    assert last["n"] == 16
    assert abs(last["params"]["beta"]["value"] - 0.3) < 1e-6
    assert "steps of" not in last["certificate"]["verdict"]


def test_a_wide_table(run: Run, mistake: Mistake, tmp_path: Path) -> None:
    tokens = np.geomspace(1e9, 1.6e10, 5)
    rows = [(f"m{i}", n, *(loss_at(n, d) for d in tokens)) for i, n in enumerate(np.geomspace(1e7, 1e9, 5))]
    header = ",".join(["model", "n_params", *(f"loss@{d / 1e9:g}B" for d in tokens)])
    path = write(tmp_path / "wide.csv", header, rows)
    found = json.loads(run("fit", path, *FAST, "--wide", "D=loss", "loss@*", "--json")[1])
    assert found["n"] == 25
    assert abs(found["params"]["alpha"]["value"] - 0.138) < 1e-6
    mistake(["fit", path, *FAST, "--wide", "D=loss", "eval@*"], "no column named as 'eval@*'")


def test_far_beyond_a_table_of_one_variable_names_that_variable(run: Run, tmp_path: Path) -> None:
    rows = [(f, 1.3 + 38 / (15 + f**0.3)) for f in 200.0 * 2.0 ** np.arange(12)]
    path = write(tmp_path / "sets.csv", "finetune_tokens,loss", rows)
    arguments = ("fit", path, "--law", "rectified", "--bootstrap", "40", "--predict", "F=1e9")
    out = run(*arguments)[1]
    assert "times its largest F" in out
    assert "largest C" not in out
