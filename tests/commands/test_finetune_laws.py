"""`lora-jax finetune_laws`: bases pretrained and fine-tuned, gone on with, and mistakes in a sentence."""

import csv
import json
from pathlib import Path

import pytest

from tests.commands.conftest import Mistake, Run

CONFIG = '''"""A question."""
from lora_jax.config import *
from lora_jax.finetuning.config import TuneConfig
from lora_jax.finetuning.study import Arm, FinetuneStudy
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import Full

SOURCE = SourceConfig(name="files:FOLDER/known/*.txt")

def base(width):
    return RunConfig(
        model=ModelConfig(
            d_model=width, n_layers=1, n_heads=1, vocab_size=300, context=16, tied_head=False, **LLAMA
        ),
        data=DataConfig(sources=(SOURCE,), tokenizer="bpe:300", seq_len=16, heldout_tokens=512,
                        heldout_fraction=.3),
        optim=OptimConfig(batch_size=4, lr_size_exponent=0, warmup_steps=1),
        n_tokens=1024,
    )

def study():
    arm = Arm(
        task=TaskConfig(name="text:files:FOLDER/new/*.txt", max_tokens=16, n_dev=16, n_test=16),
        n_train=(4, 8), methods={"full": Full(), "LoRA r 2": LoRA(rank=2)},
        rates={"full": (1e-3, 1e-2), "LoRA r 2": (1e-2, 1e30)},
        optim=TuneConfig(batch_size=4, epochs=1, evaluations=1), seeds=(0, 1),
    )
    return FinetuneStudy(bases={"a": base(4), "b": base(8)}, arms=(arm,))
'''


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    for name, words in (("known", "we the people of the states"), ("new", "def return if else for in")):
        (folder / name).mkdir()
        chosen = words.split()
        for i in range(40):
            text = " ".join(chosen[(i * k + k // 3) % len(chosen)] for k in range(1, 60 + i))
            (folder / name / f"{i}.txt").write_text(text)
    path = folder / "tiny.py"
    path.write_text(CONFIG.replace("FOLDER", str(folder)))
    return path


@pytest.mark.slow
def test_a_study_is_trained_recorded_and_trained_once(run: Run, config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ["finetune_laws", config, "--out", out, "--tracker", "off", "--lanes", "2"]
    status, _, err = run(*asked)
    assert status == 0, err
    rows = list(csv.DictReader((out / "runs.csv").read_text().splitlines()))
    done = [row for row in rows if row["status"] == "done"]
    # two bases, two sizes: full has two rates and a second seed, LoRA's second rate diverges
    assert len(rows) == 2 * 2 * (3 + 3)
    assert {row["rank"] for row in rows} == {"", "2"}
    assert len({row["n_params"] for row in rows}) == 2
    assert {(row["n_train"], row["finetune_tokens"]) for row in rows} == {("4", "60"), ("8", "120")}
    assert {row["pretraining_tokens"] for row in rows} == {"1024"}
    for row in done:
        record = json.loads((out / "runs" / f"{row['run_id']}.json").read_text())
        forgotten = record["finetuning"]["study"]["source"]
        assert forgotten["change"]["value"] == pytest.approx(
            forgotten["after"] - forgotten["before"], abs=1e-12
        )
        assert float(row["bits_per_byte"]) > 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("runs/*.json")}
    assert len(before) == len(rows) + 2
    page = (out / "report.html").read_text()
    assert "A question." in page
    assert "The claims of LoRA Without Regret" in page
    found = json.loads((out / "finetune_laws.json").read_text())
    assert found["n_runs"] == len(rows)
    assert [task["n_diverged"] for task in found["tasks"]] == [len(rows) - len(done)]
    for again in (["fit", out], ["report", out]):
        status, _, err = run(*again)
        assert status == 0, err
        assert json.loads((out / "finetune_laws.json").read_text()) == found
    status, said, err = run(*asked)
    assert status == 0, err
    assert "Of 11 parts of the claims" in said
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("runs/*.json")}


def test_a_dry_run_trains_nothing(run: Run, config: Path, tmp_path: Path) -> None:
    status, said, err = run("finetune_laws", config, "--dry-run", "--out", tmp_path / "out")
    assert status == 0, err
    assert "At most 24 fine-tuning runs" in said
    assert not (tmp_path / "out").exists()


def test_mistakes_are_one_sentence(mistake: Mistake, config: Path, tmp_path: Path) -> None:
    mistake(["finetune_laws", tmp_path / "none.py"], "no config file")
    mistake(["finetune_laws", config, "n_train=0", "--dry-run"], "n_train")
    mistake(["finetune_laws", config, "bases.n_token=5", "--dry-run"], "n_token", "n_tokens")
    mistake(["finetune_laws", config, "task.name=text:nowhere", "--dry-run"], "nowhere")
