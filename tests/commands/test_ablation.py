"""`lora-jax ablation`: a config trained to its page, its folder read again, mistakes in a sentence."""

import json
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
        optim=OptimConfig(batch_size=2, lr_size_exponent=0, warmup_steps=1),
        n_tokens=256,
    )
    cells = product(over("model.d_model", [4, 8, 16]), over("n_tokens", [256, 512, 1024]))
    return expand(base, product(RECIPES, cells))
'''


@pytest.mark.slow
def test_a_config_is_trained_and_its_folder_read_again(run: Run, tmp_path: Path) -> None:
    config, folder = tmp_path / "tiny.py", tmp_path / "out"
    text = CONFIG.replace("RECIPES", "[{}, {'optim.optimizer': Muon()}]")
    config.write_text(
        text.replace("def runs", "from lora_jax.training.optimizers.muon import Muon\n\ndef runs")
    )
    status, out, err = run("ablation", config, "--out", folder, "--tracker", "off", "--lanes", "3")
    assert status == 0, err
    assert "adamw: the runs lie" in out
    found = json.loads((folder / "ablation.json").read_text())
    assert [recipe["label"] for recipe in found["recipes"]] == ["adamw", "muon"]
    page = (folder / "ablation.html").read_text()
    assert "A question." in page
    # Nine runs of a recipe are too few to fit a smaller range, so there is no figure of it.
    assert {p.stem for p in (folder / "figures").glob("*.png")} == {"ablation_misfit", "ablation_residuals"}
    status, out, err = run("ablation", folder, "--json", "--out", tmp_path / "again")
    assert status == 0, err
    assert json.loads(out)["recipes"] == found["recipes"]


def test_mistakes_are_one_sentence(mistake: Mistake, tmp_path: Path) -> None:
    config = tmp_path / "one.py"
    config.write_text(CONFIG.replace("RECIPES", "[{}]"))
    mistake(["ablation", config, "--tracker", "off"], "one.py has one recipe", "another setting")
    mistake(["ablation", config, "--law", "power-n"], "must be a law of N and D")
    mistake(["ablation", tmp_path, "seed=1"], "results folder", "leave out")
    mistake(["ablation", tmp_path], "no finished runs")
    mistake(
        ["ablation", tmp_path / "runs.csv"], "is a table", "give a config or a results folder", "--by COLUMN"
    )
