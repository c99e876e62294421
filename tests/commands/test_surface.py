"""`lora-jax surface`: a table, predictions, a config planned and trained, mistakes in a sentence."""

import csv
import json
import math
from pathlib import Path

import pytest

from tests.commands.conftest import Mistake, Run

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
    rates = over("optim.learning_rate", [1e-3, 4e-3, 1.6e-2])
    return expand(base, product(over("optim.batch_size", BATCHES), rates))
'''


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Somebody's CSV: the best rate falls as N^-0.5, the best batch grows as D^0.5; one run diverged."""
    path = tmp_path / "theirs.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["params", "tokens", "peak_lr", "bs", "final_loss", "status"])
        for n in (1e7, 4e7, 1.6e8):
            for d in (1e9, 4e9):
                best = 4e-3 * (n / 4e7) ** -0.5, 64 * (d / 2e9) ** 0.5
                for i in range(5):
                    for k in range(5):
                        rate, batch = best[0] * 2.0 ** (i - 1.8), best[1] * 2.0 ** (k - 2.3)
                        x, y = math.log(rate / best[0]), math.log(batch / best[1])
                        loss = math.exp(1 + 0.02 * x * x + 0.012 * y * y - 0.01 * x * y)
                        loss *= 1 + 5e-4 * math.sin(7 * i + 3 * k + n)
                        writer.writerow([n, d, rate, batch, loss, "finished"])
        writer.writerow([1e7, 1e9, 0.5, 64, "", "diverged"])
    return path


def test_a_table_of_somebody_gives_the_power_laws(run: Run, table: Path, tmp_path: Path) -> None:
    mapping = ("--map", "loss=final_loss", "n_params=params", "n_tokens=tokens", "batch_size=bs")
    words = ("surface", "--table", table, *mapping, "--predict", "N=8e7,D=2e9")
    status, out, err = run(*words, "--json")
    assert status == 0, err
    document = json.loads(out)
    [series] = document["series"]
    assert sum(surface["n_diverged"] for surface in series["surfaces"]) == 1
    laws = series["laws"]
    for what, letter, truth in (("rate", "N", -0.5), ("batch", "D", 0.5)):
        low, high = laws[what]["exponents"][letter]["ci95"]
        assert low < truth < high
    [predicted] = series["predictions"]
    assert predicted["rate"]["value"] == pytest.approx(4e-3 * 2**-0.5, rel=0.1)
    assert not list(tmp_path.glob("*.html"))
    status, out, err = run(*words, "--flat", "1", "--out", tmp_path / "page")
    assert status == 0, err
    assert "6 of 6 sizes have a best pair" in out.splitlines()[0]
    assert "Within 1 % of the least loss" in out
    assert "Step Law" in out
    assert "D has only two values" in out
    page = (tmp_path / "page" / "surface.html").read_text()
    assert "--flat 1" in page
    assert {p.name for p in (tmp_path / "page" / "figures").glob("*.png")} == {
        "surface_contours.png",
        "surface_optima.png",
    }


def test_a_plan_says_what_cannot_be_told_and_trains_nothing(run: Run, tmp_path: Path) -> None:
    config, out_dir = tmp_path / "tiny.py", tmp_path / "out"
    config.write_text(CONFIG.replace("BATCHES", "[2, 4]"))
    status, out, err = run("surface", config, "--plan", "--out", out_dir, "--tracker", "off")
    assert status == 0, err
    assert "6 runs" in out
    assert "1 of 1 sizes have fewer than 7 pairs" in err
    assert "too few for power laws" in err
    assert not out_dir.exists()


@pytest.mark.slow
def test_a_sweep_is_run_and_reported_once(run: Run, tmp_path: Path) -> None:
    config, out_dir = tmp_path / "tiny.py", tmp_path / "out"
    config.write_text(CONFIG.replace("BATCHES", "[2, 4, 8]"))
    words = ("surface", config, "--out", out_dir, "--tracker", "off", "--lanes", "4")
    status, out, err = run(*words)
    assert status == 0, err
    assert json.loads((out_dir / "surface.json").read_text())["n_runs"] == 9
    assert (out_dir / "surface.html").exists()
    status, out, err = run(*words)
    assert status == 0, err
    assert "trained" not in out


def test_mistakes_are_one_sentence(mistake: Mistake, table: Path, tmp_path: Path) -> None:
    config = tmp_path / "one.py"
    config.write_text(CONFIG.replace("BATCHES", "[2]"))
    mistake(["surface", config, "--tracker", "off"], "one batch size, 2", "lora-jax transfer")
    mistake(["surface"], "neither of a config and --table")
    mistake(["surface", config, "--table", table], "both of a config and --table")
    mistake(["surface", tmp_path], "no finished runs")
    mistake(["surface", config, "--predict", "X=3"], "got X, it wants N and D")
    mapping = ["--map", "loss=final_loss", "n_params=params", "n_tokens=tokens"]
    mistake(["surface", "--table", table, *mapping, "batch_size=bs", "--predict", "N=1e9"], "give D too")
