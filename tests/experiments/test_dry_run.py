"""--dry-run: what would fail in the run fails there, in the same line, and nothing is left behind."""

import importlib.util
import json
from collections.abc import Callable
from types import ModuleType

import pytest

from lora_jax.config import digest, to_dict
from lora_jax.runs.experiment import load_experiment
from tests.experiments.place import ROOT, Place

Call = Callable[..., tuple[int, str]]


def load_driver(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_driver", ROOT / "experiments" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def call(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a driver with --dry-run in this process; return its status and its last line."""
    monkeypatch.setenv("LORA_JAX_CACHE", str(place.folder / "cache"))
    monkeypatch.delenv("LORA_JAX_TASKS", raising=False)
    monkeypatch.chdir(place.folder)

    def run(driver: str, *arguments: object) -> tuple[int, str]:
        status = load_driver(driver).main([*map(str, arguments), "--dry-run"])
        out, err = capsys.readouterr()
        return status, (err if status else out).splitlines()[-1]

    return run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data.sources=tfds:nope"], "has no dataset 'nope'"),
        (["data.sources=files:CORPUS/none-*.txt"], "matches no file"),
        (["data.sources=files:CORPUS/0.txt"], "second one is needed"),
        (["data.max_epochs=1"], "data.max_epochs"),
        (["data.tokenizer=none.json"], "none.json"),
        (["data.tokenizer=bpe:300"], "model.vocab_size is 256"),
        (["--mesh", "data=3"], "the mesh data=3 is of 3 devices"),
        (["--mesh", "rows=2", "--device", "h200"], "a mesh has no axis 'rows'"),
        (["--keep-models"], "which has no tokenizer.json to keep with a model"),
        (["--halving"], "--halving found no two runs"),
        (["--out", "corpus/0.txt"], "cannot be written"),
        (["--out", "corpus/0.txt/inside"], "cannot be written"),
        (["--out", "/proc/nowhere"], "cannot be written"),
    ],
)
def test_what_scaling_would_refuse(place: Place, call: Call, arguments: list[str], words: str) -> None:
    texts = [text.replace("CORPUS", str(place.corpus)) for text in arguments]
    before = sorted(place.folder.glob("*"))
    status, line = call("scaling", place.config, "--tracker", "off", *texts)
    assert status == 2
    assert words in line
    assert set(place.folder.glob("*")) - set(before) <= {place.folder / "cache"}


def test_a_set_that_is_not_there_is_looked_for_and_not_downloaded(
    place: Place, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("lora_jax.data.tfds._require_network", lambda name, *_: asked.append(str(name)))
    monkeypatch.setattr("lora_jax.data.tfds._download_and_prepare", pytest.fail)
    arguments = ("--device", "h200", "--out", place.folder / "new")
    status, line = call("scaling", place.config, "data.sources=tfds:lm1b", *arguments)
    assert status == 0, line
    assert asked == ["lm1b"]
    assert not (place.folder / "new").exists()


def test_text_that_has_changed_is_refused(place: Place, call: Call) -> None:
    [data] = {run.data for run in load_experiment(place.config).runs}
    folder = place.folder / "begun"
    (folder / "checkpoints" / "trunk").mkdir(parents=True)  # a state that training would go on from
    (folder / "sweep.json").write_text(json.dumps({"data": {digest(to_dict(data)): "other text"}}))
    status, line = call("scaling", place.config, "--out", folder)
    assert status == 2
    assert "saw other text" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["task.name=sst3"], "task.name is 'sst3'"),
        (["task.name=files:nowhere"], "nowhere"),
        (["base=nowhere"], "neither a model that can be fetched"),
        (["--lanes", "none"], "--lanes is 'none'"),
        (["--out", "corpus/0.txt"], "cannot be written"),
    ],
)
def test_what_finetune_would_refuse_before_a_base_is_loaded(
    place: Place, call: Call, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "--out" not in arguments:
        arguments = [*arguments, "--out", str(place.folder / "tuned")]
    monkeypatch.setattr("lora_jax.huggingface.pretrained.load_folder", pytest.fail)
    status, line = call("finetune", ROOT / "configs" / "peft_sample.py", *arguments)
    assert status == 2
    assert words in line


def test_what_incontext_would_refuse_before_a_base_is_loaded(
    place: Place, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second task is missing: that is said before the first one's base is loaded."""
    monkeypatch.setattr("lora_jax.huggingface.pretrained.load_folder", pytest.fail)
    config = (ROOT / "configs" / "incontext.py").read_text()
    config = config.replace('name="sst2"', 'name="sentiment-sample"').replace("n_pool=2000, ", "")
    config = config.replace('name="rte"', 'name="files:nowhere"')
    path = place.folder / "two_tasks.py"
    path.write_text(config)
    status, line = call("incontext", path, "--out", place.folder / "out")
    assert status == 2
    assert "nowhere" in line
    assert not (place.folder / "out").exists()
    status, line = call("incontext", path, "--out", place.corpus / "0.txt")
    assert status == 2
    assert "cannot be written" in line


def test_latency_says_what_it_would_time(place: Place, call: Call) -> None:
    out = place.folder / "latency"
    status, line = call("latency", "--divide", "8", "--out", out)
    assert status == 0
    assert line.startswith("100 trials of base, merged LoRA,")
    assert "at 32 x 64, 16 x 32, 1 x 16" in line
    assert not out.exists()
    assert call("latency", "--trials", "5")[0] == 2
    assert call("latency", "--out", place.corpus / "0.txt")[0] == 2


def test_a_task_file_with_a_mistake_is_named(place: Place, call: Call) -> None:
    folder = place.folder / "task"
    folder.mkdir()
    (folder / "train.tsv").write_text("text\tlabel\ngood\t1\nbad\t0\nworse\n")
    status, line = call(
        "finetune", ROOT / "configs" / "peft_sample.py", f"task.name=files:{folder}", "--out", folder / "out"
    )
    assert status == 2
    assert "Line 4 of" in line
