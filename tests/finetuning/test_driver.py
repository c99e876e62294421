"""./launch.sh finetune, as its users run it: from a config file to the page, and what it says to mistakes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = '''"""Does a word tell the label?"""

from lora_jax.config import TaskConfig
from lora_jax.finetuning.config import FinetuneSweep, TuneConfig
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import Full


def sweep():
    return FinetuneSweep(
        base="models/{base}",
        task=TaskConfig(name="files:tasks/{task}", max_tokens=16),
        methods={{"full": Full(), "LoRA r 2": LoRA(rank=2)}},
        rates={{"full": (1e-3, 1e-2), "LoRA r 2": (3e-3, 3e-2)}},
        optim=TuneConfig(batch_size=32, epochs=2, evaluations=1),
        seeds=(0, 1),
    )
'''


def run(places: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "experiments" / "finetune.py"), *arguments, "--tracker", "off"],
        cwd=places,
        capture_output=True,
        text=True,
        timeout=400,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def write_config(places: Path, name: str, base: str, task: str) -> str:
    (places / f"{name}.py").write_text(CONFIG.format(base=base, task=task))
    return f"{name}.py"


@pytest.mark.slow
@pytest.mark.parametrize(("base", "task"), [("encoder", "words"), ("decoder", "echo")])
def test_a_config_becomes_a_page_and_a_second_call_trains_nothing(places: Path, base: str, task: str) -> None:
    config, out = write_config(places, task, base, task), places / "out" / task
    first = run(places, config, "--out", str(out))
    assert first.returncode == 0, first.stderr
    for words in ("blocks/attn/q_lora_a", "parameters train", "of full fine-tuning's", "learning rates"):
        assert words in first.stdout
    comparison = json.loads((out / "comparison.json").read_text())
    assert {method["label"] for method in comparison["methods"]} == {"full", "LoRA r 2"}
    assert (out / "report.html").stat().st_size > 10_000
    assert (out / "peft" / "lora-r-2" / "adapter_model.safetensors").exists()
    assert len(list(out.glob("runs/*.json"))) == 6
    times = {path: path.stat().st_mtime_ns for path in out.glob("runs/*.json")}
    assert run(places, config, "--out", str(out)).returncode == 0
    assert times == {path: path.stat().st_mtime_ns for path in out.glob("runs/*.json")}


@pytest.mark.slow
def test_lanes_and_halving_come_to_a_page(places: Path) -> None:
    config, out = write_config(places, "halved", "encoder", "words"), places / "out" / "halved"
    done = run(places, config, "--lanes", "2", "--halving", "--out", str(out), "optim.evaluations=2")
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in out.glob("runs/*.json")]
    assert sorted(record["status"] for record in records) == ["done"] * 4 + ["halted"] * 2
    assert "halted at step" in (out / "report.html").read_text()
    warnings = json.loads((out / "comparison.json").read_text())["warnings"]
    assert not any("diverged" in line for line in warnings)
    assert json.loads((out / "sweep.json").read_text())["command"].endswith("--lanes 2 --halving")
    assert not list(out.glob("checkpoints/*")), "nothing is left in progress"
    refused = run(places, config, "--lanes", "1", "--halving", "--out", str(places / "out" / "refused"))
    assert refused.returncode == 2
    assert "optim.evaluations is 1" in refused.stderr


@pytest.mark.parametrize(
    ("base", "task", "arguments", "words"),
    [
        ("encoder", "words", ["optim.epoch=3"], "nearest: 'optim.epochs'"),
        ("encoder", "words", ["--only", "lora"], "has no method 'lora'"),
        (
            "encoder",
            "words",
            ["--lanes", "0"],
            "--lanes is '0', but it must be a whole number from 1 to 65,536",
        ),
        ("nowhere", "words", [], "is neither a model that can be fetched"),
        ("encoder", "echo", [], "is an encoder, and files:tasks/echo asks for text"),
        ("encoder", "words", ["task.max_tokens=30"], "context of models/encoder is 24"),
        ("encoder", "word", [], "tasks/word"),
    ],
)
def test_a_mistake_is_one_line(places: Path, base: str, task: str, arguments: list[str], words: str) -> None:
    config = write_config(places, f"mistake_{base}_{task}", base, task)
    done = run(places, config, "--out", str(places / "out" / "mistakes"), *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (places / "out" / "mistakes" / "sweep.json").exists()
