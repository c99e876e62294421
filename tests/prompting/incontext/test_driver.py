"""./launch.sh incontext, as its users run it: from a config file to the page, and what mistakes give."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.prompting.incontext.experiment import keep, load_incontext

ROOT = Path(__file__).parents[3]
CONFIG = '''"""Does a word tell the label?"""

from lora_jax.finetuning.config import TuneConfig
from lora_jax.peft.methods.lora import LoRA
from lora_jax.prompting.incontext.config import BackwardPlan, InContextConfig, ShotPlan, TaskPlan, TunePlan
from lora_jax.prompting.prompt import Prompt


def comparison():
    methods = {"LoRA r 2": LoRA(rank=2)}
    optim = TuneConfig(batch_size=4, epochs=1, evaluations=1)
    prompt = Prompt("{text} is", ("bad", "good"))
    task = TaskPlan(name="files:tasks/feel", prompt=prompt, n_dev=8, n_test=12, max_tokens=64)
    return InContextConfig(
        tasks={"feel": task},
        shots=(ShotPlan(base="models/decoder", ks=(0, 2), draws=(0,)),),
        tunings=(
            TunePlan(
                base="models/decoder", methods=methods, n_train=(4,), draws=(0,), optim=optim, n_steps=2,
                rates={"LoRA r 2": (1e-3,)},
            ),
        ),
        backward=BackwardPlan(base="models/decoder", methods=methods, batch_size=2, seq_len=8, repeats=2),
    )
'''


def run(places: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "experiments" / "incontext.py"), *arguments],
        cwd=places,
        capture_output=True,
        text=True,
        timeout=500,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def write_config(folder: Path, content: str = CONFIG) -> Path:
    path = folder / "tiny.py"
    path.write_text(content)
    return path


@pytest.mark.slow
def test_a_config_becomes_a_page_and_a_second_call_makes_no_run(places: Path, tmp_path: Path) -> None:
    config, out = str(write_config(tmp_path)), tmp_path / "out"
    first = run(places, config, "--out", str(out))
    assert first.returncode == 0, first.stderr
    assert "the best prompt is models/decoder" in first.stdout
    assert "A gradient over a forward pass" in first.stdout
    assert (out / "report.html").stat().st_size > 10_000
    found = json.loads((out / "incontext.json").read_text())
    assert (found["n_prompts"], found["n_runs"]) == (2, 1)
    files = [*out.glob("runs/*.json"), *out.glob("prompts/*.json"), out / "backward.json"]
    assert len(files) == 4
    assert not list(out.glob("checkpoints/*"))
    times = {path: path.stat().st_mtime_ns for path in files}
    assert run(places, config, "--out", str(out)).returncode == 0
    assert times == {path: path.stat().st_mtime_ns for path in files}
    other = write_config(tmp_path, CONFIG.replace("ks=(0, 2)", "ks=(0, 4)"))
    mistaken = run(places, str(other), "--out", str(out))
    assert mistaken.returncode == 2
    assert "1 prompts of another config" in mistaken.stderr
    assert len(mistaken.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x = 1", "has no function `comparison\\(\\)`: define one that returns an InContextConfig"),
        ("def sweep(): pass", "it has `sweep\\(\\)`, run it with ./launch.sh finetune"),
        ("def comparison(): return 3", "returned int, but it must return an InContextConfig"),
    ],
)
def test_a_config_that_is_none_is_a_sentence(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(LoraJaxError, match=words):
        load_incontext(write_config(tmp_path, content))


def test_a_part_is_kept_by_its_name(tmp_path: Path) -> None:
    config = load_incontext(write_config(tmp_path)).config
    part = keep(config, ["feel"], ["prompts"])
    assert (part.shots, part.tunings, part.backward) == (config.shots, (), None)
    assert keep(config, [], []) == config
    with pytest.raises(LoraJaxError, match=r"has no task 'feal'.*feel"):
        keep(config, ["feal"], [])
    with pytest.raises(LoraJaxError, match=r"--stage is 'prompt'.*prompts"):
        keep(config, [], ["prompt"])


@pytest.mark.parametrize("name", ["incontext", "incontext_gpu"])
def test_the_configs_here_say_what_they_ask(name: str) -> None:
    experiment = load_incontext(ROOT / "configs" / f"{name}.py")
    for word in ("?", "command:", "expected time:", "expected answer:"):
        assert word in experiment.question
    assert set(experiment.config.tasks) == {"SST-2", "RTE"}


@pytest.mark.slow
def test_two_workers_make_one_comparison(places: Path, tmp_path: Path) -> None:
    config, one, two = str(write_config(tmp_path)), tmp_path / "one", tmp_path / "two"
    assert run(places, config, "--out", str(one)).returncode == 0
    assert run(places, config, "--out", str(two), "--workers", "0").returncode == 0
    command = [sys.executable, "-m", "lora_jax.cli", "work", str(two)]
    workers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [worker.communicate(timeout=500) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    printed = sorted(f"Report: {two / 'report.html'}" in out for out, _ in said)
    assert printed == [False, True], "the worker that wrote the report prints it, the other says a line"
    assert sum("finished and reported" in out or "Another worker wrote" in out for out, _ in said) == 1
    found, alone = (json.loads((folder / "incontext.json").read_text()) for folder in (two, one))
    assert (found["n_prompts"], found["n_runs"]) == (alone["n_prompts"], alone["n_runs"]) == (2, 1)
    for path in [*one.glob("runs/*.json"), *one.glob("prompts/*.json")]:
        first, second = (
            json.loads((folder / path.parent.name / path.name).read_text()) for folder in (one, two)
        )
        for field in ("config", "heldout_loss", "demonstrations"):
            assert first.get(field) == second.get(field)
