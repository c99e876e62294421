"""Config files: what they must hold, and how their mistakes are told."""

from pathlib import Path

import pytest

from lora_jax.commands.finetune_laws import ids_of
from lora_jax.config import run_id
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import finetune_id
from lora_jax.finetuning.experiment import load_finetuning, load_study
from lora_jax.prompting.incontext.experiment import load_incontext
from lora_jax.prompting.incontext.plan import list_shots
from lora_jax.runs.experiment import load_experiment

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
HEAD = '''"""Why?"""
from lora_jax.config import ModelConfig, RunConfig
MODEL = ModelConfig(d_model=8, n_layers=1, n_heads=1, vocab_size=256, context=128)
'''
BODY = "def runs():\n    return [RunConfig(model=MODEL, n_tokens=10**6, seed=s) for s in (0, 1)]\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_loads_and_says_what_it_asks(path: Path) -> None:
    if "def sweep()" in path.read_text():
        experiment = load_finetuning(path)
        ids = [finetune_id(run) for run in experiment.sweep.runs()]
    elif "def comparison()" in path.read_text():
        experiment = load_incontext(path)
        ids = [run.run_id for run in list_shots(experiment.config)]
    elif "def study()" in path.read_text():
        experiment = load_study(path)
        ids = ids_of(experiment)
    else:
        experiment = load_experiment(path)
        ids = [run_id(run) for run in experiment.runs]
    assert experiment.name == path.stem
    assert len(set(ids)) == len(ids) >= 1
    first, *rest = experiment.question.split("\n\n")[0].split("command:")
    assert "?" in first
    assert not rest, "the question comes first, in a paragraph of its own"
    for name in ("command:", "expected time:", "expected answer:"):
        [line] = [line for line in experiment.question.splitlines() if line.startswith(name)]
        assert line.removeprefix(name).strip()
    command = next(x for x in experiment.question.splitlines() if x.startswith("command:"))
    assert "./launch.sh" in command
    assert path.stem in command


def test_a_config_gives_name_question_runs_and_device(tmp_path: Path) -> None:
    experiment = load_experiment(write(tmp_path, HEAD + 'DEVICE = "h200"\n' + BODY))
    assert (experiment.name, experiment.question, experiment.device) == ("mine", "Why?", "h200")
    assert [run.seed for run in experiment.runs] == [0, 1]


def test_runs_may_be_a_generator(tmp_path: Path) -> None:
    text = (
        HEAD
        + "def runs():\n    for s in (0, 1, 2):\n"
        + "        yield RunConfig(model=MODEL, n_tokens=10**6, seed=s)\n"
    )
    assert [run.seed for run in load_experiment(write(tmp_path, text)).runs] == [0, 1, 2]


def test_overrides_reach_every_run_and_merge_those_that_become_equal(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + BODY)
    runs = load_experiment(path, ["model.d_model=16", "optim.learning_rate=0.5"]).runs
    assert [(run.model.d_model, run.optim.learning_rate, run.seed) for run in runs] == [
        (16, 0.5, 0),
        (16, 0.5, 1),
    ]
    assert [run.seed for run in load_experiment(path, ["seed=7"]).runs] == [7]
    with pytest.raises(LoraJaxError, match=r"nearest: 'seed'"):
        load_experiment(path, ["sed=7"])


def test_a_missing_config_is_named_with_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, HEAD + BODY)
    with pytest.raises(LoraJaxError, match=r"no config file .*mien\.py.*nearest: .*mine\.py"):
        load_experiment(tmp_path / "mien.py")
    with pytest.raises(LoraJaxError, match="no config file"):
        load_experiment(tmp_path / "nowhere" / "x.py")
    with pytest.raises(LoraJaxError, match="no config file"):
        load_experiment(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD, "no function `runs\\(\\)`"),
        (HEAD + "runs = 3\n", "no function `runs\\(\\)`"),
        (HEAD + "def runs(): return []\n", "returned no run"),
        (HEAD + "def runs(): return None\n", "returned NoneType"),
        (HEAD + "def runs(): return MODEL\n", "returned ModelConfig"),
        (HEAD + "def runs(): return [MODEL]\n", "returned ModelConfig"),
        (HEAD + "def runs(): return (x for x in [])\n", "returned no run"),
        (HEAD + "def runs(:\n", "line 4: .*mend"),
        (HEAD + "import nothing_of_the_kind\n" + BODY, "line 4: ModuleNotFoundError: No module"),
        (HEAD + "def runs():\n    return [\n        1 // 0]\n", "line 6: ZeroDivisionError"),
        (
            HEAD + "def runs(): return [RunConfig(model=MODEL, tokens=3)]\n",
            "line 4: TypeError.*'tokens' .nearest: 'n_tokens'.",
        ),
        (
            HEAD + "MODEL = ModelConfig(d_model=8, n_layers=1, n_heads=3, vocab_size=9, context=8)\n",
            "n_heads",
        ),
        (HEAD + "raise ValueError('two\\nlines')\n", "line 4: ValueError: two lines"),
        ("\0", "mend the config file"),
    ],
)
def test_a_mistake_in_a_config_is_told_with_its_file_and_line(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(LoraJaxError, match=words) as caught:
        load_experiment(path)
    assert "\n" not in str(caught.value)
    if "n_heads" not in words:
        assert str(path) in str(caught.value)


def test_a_mistake_in_a_module_of_the_config_is_told_with_the_configs_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_part.py").write_text("def f():\n    return {}['x']\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = write(tmp_path, HEAD + "import broken_part\n\ndef runs():\n    return broken_part.f()\n")
    with pytest.raises(LoraJaxError, match=r"mine\.py, line 7: KeyError: 'x'"):
        load_experiment(path)


def test_a_config_that_imports_an_older_name_is_told_the_new_one(tmp_path: Path) -> None:
    config = tmp_path / "older.py"
    config.write_text("from lora_jax.finetune.config import FinetuneSweep\n")
    with pytest.raises(LoraJaxError, match=r"lora_jax\.finetuning since version 0\.2"):
        load_experiment(config)


def test_a_device_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoraJaxError, match=r"DEVICE is 8, but it must be the name of an accelerator"):
        load_experiment(write(tmp_path, HEAD + "DEVICE = 8\n" + BODY))
