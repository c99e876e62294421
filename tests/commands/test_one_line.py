"""`lora-jax finetune --base --data`: the sweep of a config, and commands that run as they are printed."""

import json
import re
import shlex
from pathlib import Path

import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import finetune_id
from lora_jax.finetuning.experiment import load_finetuning
from lora_jax.finetuning.one_line import Asked, choose_method, make_experiment
from lora_jax.peft.methods.lora import LoRA
from tests.commands.conftest import Mistake, Run
from tests.finetuning.conftest import fill_places

CHATML = "{% for m in messages %}{{ m.content }}{{ ' -> ' if m.role == 'user' else ' <eos>' }}{% endfor %}"
CONFIG = """
from lora_jax.config import TaskConfig
from lora_jax.finetuning.config import FinetuneSweep, TuneConfig
from lora_jax.peft.methods.lora import LoRA

def sweep():
    return FinetuneSweep(
        base={base!r}, task=TaskConfig(name="files:{data}", max_tokens=32, data_seed=3),
        methods={{"lora": LoRA(rank=2, alpha=4.0, targets=("all",))}}, seeds=(3,), rates={{"lora": (0.01,)}},
        optim=TuneConfig(steps=4, evaluations=5, n_completions=16),
    )
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = fill_places(tmp_path_factory.mktemp("one-line"))
    (root / "models" / "decoder" / "chat_template.jinja").write_text(CHATML)
    return root


def test_it_is_the_sweep_that_a_config_would_return(places: Path, tmp_path: Path) -> None:
    base, data = str(places / "models" / "decoder"), places / "tasks" / "echo" / "train.jsonl"
    asked = Asked(base=base, data=data, rank=2, steps=4, rates=(0.01,), seed=3, form="plain")
    config = tmp_path / "config.py"
    config.write_text(CONFIG.format(base=base, data=data))
    found, wanted = make_experiment(asked).sweep, load_finetuning(config).sweep
    assert found == wanted
    assert [finetune_id(run) for run in found.runs()] == [finetune_id(run) for run in wanted.runs()]


@pytest.mark.slow  # a training, and the commands that it prints
def test_what_it_prints_can_be_typed(places: Path, run: Run, tmp_path: Path) -> None:
    """A chat model on prompts: trained, shown before and after, and used by the commands that are printed."""
    base, data = places / "models" / "decoder", tmp_path / "my rows.jsonl"
    rows = [json.loads(line) for line in (places / "tasks" / "echo" / "train.jsonl").read_text().splitlines()]
    data.write_text("".join(json.dumps({**row, "prompt": row["prompt"][:-3]}) + "\n" for row in rows))
    out = tmp_path / "out"
    options = ["--rank", 4, "--steps", 6, "--rate", 0.01, "--tracker", "off", "--out", out]
    status, said, _ = run("finetune", "--base", base, "--data", data, *options, "optim.batch_size=8")
    assert status == 0, said
    for words in (
        f"test; dev and test cut from {data} with seed 0",
        "a prompt is asked as the user",
        "parameters train (",
        "batches of 8",
    ):
        assert words in said
    curve = re.findall(r"^  step +(\d+)  loss (\S+)", said, re.MULTILINE)
    (record,) = [json.loads(path.read_text()) for path in out.glob("runs/*.json")]
    assert [[int(step), float(loss)] for step, loss in curve] == [
        [step, round(loss, 4)] for step, loss, _ in record["finetuning"]["dev_curve"]
    ]
    assert int(curve[-1][0]) == 6
    assert said.count("  wanted  ") == said.count("  before  ") == said.count("  after   ") == 3
    lines = [line.strip() for line in said.splitlines() if line.startswith("  lora-jax ")]
    assert [shlex.split(line)[1] for line in lines] == ["generate", "merge"]
    for line in lines:
        status, _, wrong = run(*shlex.split(line)[1:])
        assert status == 0, f"{line}: {wrong}"
    after = re.findall(r"^  after   (.*)$", said, re.MULTILINE)[0]
    printed = run(*shlex.split(lines[0])[1:])[1].split()
    assert printed[: len(after.split())] == after.split(), "the first sample, from the printed command"
    assert (out / "merged" / "model.safetensors").is_file()
    again = run("finetune", "--base", base, "--data", data, *options, "optim.batch_size=8")[1]
    assert "runs to train" not in again
    assert re.findall(r"^  step .*", again, re.MULTILINE) == re.findall(r"^  step .*", said, re.MULTILINE)


@pytest.mark.slow  # three further trainings
@pytest.mark.parametrize(
    ("base", "rows", "method", "commands"),
    [
        ("encoder", "words", "lora", ["merge", "export"]),
        ("decoder", "echo", "prefix", ["generate", "export"]),
        ("decoder", "echo", "adapterh", ["generate"]),
    ],
)
def test_commands_are_those_that_the_method_has(
    places: Path, run: Run, tmp_path: Path, base: str, rows: str, method: str, commands: list[str]
) -> None:
    options = ["--base", places / "models" / base, "--data", places / "tasks" / rows / "train.jsonl"]
    rest = ["--method", method, "--steps", 2, "--tracker", "off", "--out", tmp_path / "out"]
    status, said, wrong = run("finetune", *options, *rest)
    assert status == 0, wrong
    lines = [line.strip() for line in said.splitlines() if line.startswith("  lora-jax ")]
    assert [shlex.split(line)[1] for line in lines] == commands
    for line in lines:
        status, _, wrong = run(*shlex.split(line)[1:])
        assert status == 0, f"{line}: {wrong}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["got nothing", "--base and --data"]),
        (["--base", "BASE"], ["got --base", "--base and --data"]),
        (["config.py", "--data", "ROWS"], ["config.py is a config file", "--data"]),
        (["--base", "BASE", "--data", "none.jsonl"], ["there is no none.jsonl"]),
        (["--base", "BASE", "--data", "ROWS", "--epochs", 1, "--steps", 2], ["both say how long"]),
        (["--base", "BASE", "--data", "ROWS", "--method", "lara"], ["--method is 'lara'", "lora"]),
        (["--base", "BASE", "--data", "ROWS", "--method", "full", "--rank", 2], ["Full has no rank"]),
        (["--base", "BASE", "--data", "EIGHT"], ["has 8 rows", "at least 20"]),
        (["--base", "BASE", "--data", "WORDS", "--form", "chat"], ["has labels"]),
    ],
)
def test_mistakes_are_one_line(
    places: Path, mistake: Mistake, tmp_path: Path, options: list[object], words: list[str]
) -> None:
    rows = places / "tasks" / "echo" / "train.jsonl"
    (tmp_path / "eight.jsonl").write_text("".join(rows.read_text().splitlines(keepends=True)[:8]))
    named = {
        "BASE": places / "models" / "decoder",
        "ROWS": rows,
        "EIGHT": tmp_path / "eight.jsonl",
        "WORDS": places / "tasks" / "words" / "train.jsonl",
    }
    mistake(["finetune", *(named.get(str(word), word) for word in options)], *words)


def test_rows_that_are_cut_are_counted(places: Path, run: Run) -> None:
    base, rows = places / "models" / "decoder", places / "tasks" / "echo" / "train.jsonl"
    options = ["--max-tokens", 9, "--form", "plain", "--dry-run"]
    said = run("finetune", "--base", base, "--data", rows, *options)[1]
    assert re.search(r"\d+ of \d+ rows of train are longer than task.max_tokens \(9\) and are cut", said)


def test_defaults_of_a_method() -> None:
    assert choose_method("LoRA", None) == LoRA(rank=16, alpha=32.0, targets=("all",))
    assert choose_method("lora", 4) == LoRA(rank=4, alpha=8.0, targets=("all",))
    assert type(choose_method("ia3", None)).__name__ == "IA3"
    with pytest.raises(LoraJaxError, match="it must be one of"):
        choose_method("combined", None)
