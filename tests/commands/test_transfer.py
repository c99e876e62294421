"""`lora-jax transfer`: a table, a results folder, a config trained to its page, mistakes in a sentence."""

import csv
import json
import math
from pathlib import Path

import pytest

from tests.commands.conftest import Mistake, Run

OURS = Path(__file__).parents[2] / "results" / "published" / "learning_rate"
CONFIG = '''"""A question."""
from lora_jax.config import *
from lora_jax.runs.sweep import *

def runs():
    base = RunConfig(
        model=ModelConfig(d_model=8, n_layers=1, n_heads=1, vocab_size=257, context=16),
        data=DataConfig(seq_len=16, heldout_tokens=512),
        optim=OptimConfig(batch_size=2, warmup_steps=1, lr_size_exponent=0),
        n_tokens=256,
    )
    rates = over("optim.learning_rate", RATES)
    return expand(base, product(over("model.d_model", [4, 8, 16]), rates))
'''


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Somebody's CSV: the best rate falls as N^-0.5; one run diverged."""
    path = tmp_path / "theirs.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["params", "tokens", "peak_lr", "final_loss", "status"])
        for i, n in enumerate((1e7, 4e7, 1.6e8, 6.4e8)):
            for k in range(7):
                rate = 2.0 ** (k - 3) * 3e-3
                x = math.log(rate / (6e-3 * 2.0**-i))
                loss = 3 - 0.1 * i + 0.05 * x * x + 1e-3 * math.sin(7 * i + 3 * k)
                writer.writerow([n, 1e9, rate, loss, "finished"])
            writer.writerow([n, 1e9, 0.1, "", "diverged"])
    return path


def test_a_table_of_somebody_gives_the_power_of_n(run: Run, table: Path, tmp_path: Path) -> None:
    words = ("transfer", "--table", table, "--map", "loss=final_loss", "n_params=params", "n_tokens=tokens")
    status, out, err = run(*words, "--json")
    assert status == 0, err
    [series] = json.loads(out)["series"]
    [drift] = series["drifts"]
    assert (drift["axis"], drift["verdict"]) == ("N", "moves")
    assert drift["slope"]["ci95"][0] < -0.5 < drift["slope"]["ci95"][1]
    assert [bowl["n_diverged"] for bowl in series["bowls"]] == [1] * 4
    assert not list(tmp_path.glob("*.html"))
    status, out, err = run(*words, "--out", tmp_path / "page")
    assert status == 0, err
    assert "moves in 1 of 1 case" in out.splitlines()[0]
    page = (tmp_path / "page" / "transfer.html").read_text()
    assert "the best rate moves" in page
    assert {p.name for p in (tmp_path / "page" / "figures").glob("*.png")} == {
        "transfer_bowls.png",
        "transfer_drifts.png",
    }


def test_a_results_folder_is_read_and_left_alone(run: Run, tmp_path: Path) -> None:
    status, out, err = run("transfer", OURS, "--out", tmp_path)
    assert status == 0, err
    assert "lost in noise" in out
    assert (tmp_path / "transfer.json").exists()
    assert not (OURS / "transfer.json").exists()


@pytest.mark.slow
def test_a_config_is_planned_trained_and_reported_once(run: Run, tmp_path: Path) -> None:
    config, out_dir = tmp_path / "tiny.py", tmp_path / "out"
    config.write_text(CONFIG.replace("RATES", "[1e-3, 4e-3, 1.6e-2, 6.4e-2]"))
    words = ("transfer", config, "--out", out_dir, "--tracker", "off", "--lanes", "4")
    status, out, err = run(*words)
    assert status == 0, err
    assert len(list((out_dir / "runs").glob("*.json"))) == 12
    assert json.loads((out_dir / "transfer.json").read_text())["n_runs"] == 12
    page = (out_dir / "transfer.html").stat().st_mtime_ns
    status, out, err = run(*words)
    assert status == 0, err
    assert "trained" not in out
    assert (out_dir / "transfer.html").stat().st_mtime_ns > page


def test_a_plan_says_what_cannot_be_told_and_trains_nothing(run: Run, tmp_path: Path) -> None:
    config, out_dir = tmp_path / "tiny.py", tmp_path / "out"
    config.write_text(CONFIG.replace("RATES", "[1e-3, 4e-3]"))
    status, out, err = run("transfer", config, "--plan", "--out", out_dir, "--tracker", "off")
    assert status == 0, err
    assert "6 runs" in out
    assert "3 of 3 sizes have fewer than 4 rates" in err
    assert not out_dir.exists()


def test_mistakes_are_one_sentence(mistake: Mistake, table: Path, tmp_path: Path, theirs: Path) -> None:
    config = tmp_path / "one.py"
    config.write_text(CONFIG.replace("RATES", "[1e-3]"))
    mistake(["transfer", config, "--tracker", "off"], "one learning rate, 0.001", "at least 4")
    mistake(["transfer"], "neither of a config and --table")
    mistake(["transfer", config, "--table", table], "both of a config and --table")
    mistake(["transfer", tmp_path], "no finished runs")
    mistake(["transfer", OURS, "seed=1"], "results folder", "leave out")
    mistake(["transfer", "--table", table, "--plan"], "--plan is for a config")
    mapping = ["--map", "n_params=Model Size", "n_tokens=Tokens", "loss=final loss"]
    mistake(["transfer", "--table", theirs, *mapping], "no column of learning rates")
